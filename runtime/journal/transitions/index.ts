/** The calls of a journal that are transitions, over whatever carries them out. */
import type { Journal, LeaseQuery } from '../journal.js';
import type { Transition } from '../transition.js';
import { advance } from './advance.js';
import { applyPipeline } from './apply-pipeline.js';
import { cancel } from './cancel.js';
import { completeAndLease } from './complete-and-lease.js';
import { complete } from './complete.js';
import { expire } from './expire.js';
import { fail } from './fail.js';
import { lease } from './lease.js';
import { notice } from './notice.js';
import { removePipeline } from './remove-pipeline.js';
import { report } from './report.js';
import { resume } from './resume.js';
import { retry } from './retry.js';
import { setPaused } from './set-paused.js';
import { submit } from './submit.js';

export type TransitionName =
  | 'applyPipeline'
  | 'setPaused'
  | 'removePipeline'
  | 'submit'
  | 'lease'
  | 'report'
  | 'complete'
  | 'completeAndLease'
  | 'fail'
  | 'expire'
  | 'cancel'
  | 'retry'
  | 'resume'
  | 'advance'
  | 'notice';

/** Runs a transition with others that wait, and resolves once it is durable. `reads`: what it will look at. */
export type Transact = <T>(nowMs: number, run: (transition: Transition) => T, reads: Reads) => Promise<T>;

/** What a transition looks at, for stores that have to fetch it first. */
export interface Reads {
  pipeline?: string;
  /** Shards, as far as they are there. */
  ids?: readonly string[];
  keys?: readonly string[];
  /** Of the queue of a group of the pipeline, at most so many. */
  queued?: { group: string; max: number };
  /** Any of the pipeline, at most so many. */
  all?: number;
  /** What is due or kept no longer: of each kind at most so much. */
  due?: { nowMs: number; max: number };
}

export function transitionsOf(transact: Transact): Pick<Journal, TransitionName> {
  return {
    applyPipeline: (pipeline, rules, now) =>
      transact(now.ms, (transition) => applyPipeline(transition, pipeline, rules, now), { pipeline: pipeline.name }),
    notice: (untilEventId, now) => transact(now.ms, (transition) => notice(transition, untilEventId), {}),
    setPaused: (pipeline, paused, now) =>
      transact(now.ms, (transition) => setPaused(transition, pipeline, paused, now), { pipeline }),
    removePipeline: (pipeline, cancel, max, now) =>
      transact(now.ms, (transition) => removePipeline(transition, pipeline, cancel, max, now), { pipeline, all: max }),
    submit: (pipeline, shards, now) =>
      transact(now.ms, (transition) => submit(transition, pipeline, shards, now), {
        pipeline,
        keys: shards.map(({ key }) => key),
      }),
    lease: (query, now) => transact(now.ms, (transition) => lease(transition, query, now), leaseReads(query)),
    report: (line, shards, events, now) =>
      transact(
        now.ms,
        (transition) => {
          report(transition, line, shards, events, now);
        },
        { ids: idsOf(shards) },
      ),
    complete: (line, completed, now) =>
      transact(now.ms, (transition) => complete(transition, line, completed, now), { ids: [completed.shardId] }),
    completeAndLease: (line, completed, query, now) => {
      const reads = leaseReads(query, [completed.shardId]);
      return transact(now.ms, (transition) => completeAndLease(transition, line, completed, query, now), reads);
    },
    fail: (line, shard, failure, now) =>
      transact(now.ms, (transition) => fail(transition, line, shard, failure, now), { ids: [shard.shardId] }),
    expire: (shards, reason, now) =>
      transact(now.ms, (transition) => expire(transition, shards, reason, now), { ids: idsOf(shards) }),
    cancel: (id, now) => transact(now.ms, (transition) => cancel(transition, id, now), { ids: [id] }),
    retry: (id, now) => transact(now.ms, (transition) => retry(transition, id, now), { ids: [id] }),
    resume: (id, stage, now) => transact(now.ms, (transition) => resume(transition, id, stage, now), { ids: [id] }),
    advance: (now, max) => transact(now.ms, (transition) => advance(transition, now, max), { due: { nowMs: now.ms, max } }),
  };
}

const leaseReads = ({ pipeline, group, max, freshMax, prefer, reclaim }: LeaseQuery, besides: readonly string[] = []): Reads => ({
  pipeline,
  ids: [...besides, ...reclaim, ...prefer],
  queued: { group, max: Math.min(max, freshMax) },
});

const idsOf = (shards: readonly { shardId: string }[]): string[] => shards.map(({ shardId }) => shardId);
