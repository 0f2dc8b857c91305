/** The journal in an LMDB environment on local disk: one file per transition, one group commit for those that come together. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { limits } from '../../contracts/limits.js';
import type { PodlineEvent } from '../../contracts/events.js';
import { canonicalJson } from '../../line/lineage.js';
import type { Journal, RunningShard } from '../journal.js';
import { advance } from './advance.js';
import { applyPipeline } from './apply-pipeline.js';
import { cancel } from './cancel.js';
import { complete } from './complete.js';
import { expire } from './expire.js';
import { fail } from './fail.js';
import { lease } from './lease.js';
import { keyOf, toShard } from './records.js';
import { report } from './report.js';
import { resume } from './resume.js';
import { retry } from './retry.js';
import { setPaused } from './set-paused.js';
import { Store } from './store.js';
import { submit } from './submit.js';
import { noCounts } from './transition.js';
import type { Shard } from '../../contracts/shard.js';

export interface LmdbJournalOptions {
  /** Made when it is not there. One process at a time: the coordinator's work directory lock sees to that. */
  dir: string;
  eventsKept?: number | undefined;
  /** What ids of shards begin with: tells shards of this journal from those of another. Only used when the journal is made. */
  idPrefix?: string | undefined;
}

/** Opens a journal. Throws PDL_JOURNAL when its layout is another's. */
export function openLmdbJournal(options: LmdbJournalOptions): Journal {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  const listeners = new Set<(events: readonly PodlineEvent[]) => void>();
  const store = new Store(options.dir, {
    eventsKept: options.eventsKept ?? limits.eventsKept,
    idPrefix: options.idPrefix ?? randomBytes(3).toString('hex'),
    onEvents: (events) => {
      for (const listener of listeners) listener(events);
    },
  });
  const { meta, pipelines, counts, bodies, states, outcomes, index, events } = store.tables;

  const shardOf = (id: string, withReport: boolean): Shard | undefined => {
    const [body, state] = [bodies.get(id), states.get(id)];
    return body === undefined || state === undefined ? undefined : toShard(id, body, state, outcomes.get(id), withReport);
  };
  const countsOf = (pipeline: string): ReturnType<typeof noCounts> => counts.get(pipeline) ?? noCounts();

  return {
    clockMs: async () => Number(meta.get('clockMs') ?? 0),

    applyPipeline: (pipeline, rules, now) =>
      store.transact(now.ms, (transition) => applyPipeline(transition, pipeline, rules, now)),
    setPaused: (pipeline, paused, now) => store.transact(now.ms, (transition) => setPaused(transition, pipeline, paused, now)),
    pipeline: async (name) => pipelines.get(name),
    pipelines: async () => [...pipelines.getRange({})].map((entry) => entry.value),

    submit: (pipeline, shards, now) => store.transact(now.ms, (transition) => submit(transition, pipeline, shards, now)),
    lease: (query, now) => store.transact(now.ms, (transition) => lease(transition, query, now)),
    report: (line, shards, news, now) =>
      store.transact(now.ms, (transition) => {
        report(transition, line, shards, news, now);
      }),
    complete: (line, completed, now) => store.transact(now.ms, (transition) => complete(transition, line, completed, now)),
    fail: (line, shard, failure, now) => store.transact(now.ms, (transition) => fail(transition, line, shard, failure, now)),
    expire: (shards, reason, now) => store.transact(now.ms, (transition) => expire(transition, shards, reason, now)),
    cancel: (id, now) => store.transact(now.ms, (transition) => cancel(transition, id, now)),
    retry: (id, now) => store.transact(now.ms, (transition) => retry(transition, id, now)),
    resume: (id, stage, now) => store.transact(now.ms, (transition) => resume(transition, id, stage, now)),
    advance: (now, max) => store.transact(now.ms, (transition) => advance(transition, now, max)),
    nextDueMs: async () => {
      for (const key of index.getKeys({ start: ['timer'], end: ['timer', Number.POSITIVE_INFINITY], limit: 1 }))
        return Number(key[1]);
      return undefined;
    },

    shard: async (id) => shardOf(id, true),
    shardByKey: async (pipeline, key) => {
      const id = index.get(keyOf.unique(pipeline, key));
      return id === undefined ? undefined : shardOf(id, true);
    },
    list: async ({ pipeline, state, cursor, max }) => {
      const base = state === undefined ? ['all', pipeline] : ['state', pipeline, state];
      const after = cursor === undefined ? 0 : Number.parseInt(cursor, 36);
      const found = [
        ...index.getRange({ start: [...base, after + 1], end: [...base, Number.POSITIVE_INFINITY], limit: max + 1 }),
      ];
      const page = found.slice(0, max);
      const last = page.at(-1)?.key.at(-1);
      return {
        shards: page.map((entry) => shardOf(entry.value, false)).filter((shard) => shard !== undefined),
        ...(found.length > max && typeof last === 'number' ? { next: last.toString(36) } : {}),
      };
    },
    counts: async (pipeline) => {
      const { pending, running, completed, failed, cancelled } = countsOf(pipeline);
      return { pending, running, completed, failed, cancelled };
    },
    queued: async (pipeline) => ({ ...countsOf(pipeline).queued }),
    running: async (line) => {
      const base = line === undefined ? ['running'] : ['running', line];
      return [...index.getRange({ start: base, end: [...base, '\uffff'] })].flatMap(({ key, value }): RunningShard[] => {
        const state = states.get(value);
        return state?.state === 'running'
          ? [
              {
                shardId: value,
                epoch: state.epoch,
                pipeline: state.pipeline,
                line: String(key[1]),
                instance: state.instance ?? '',
              },
            ]
          : [];
      });
    },

    events: async (after, max) =>
      [...events.getRange({ start: after + 1, end: store.durableEventId + 1, limit: max })].map((entry) => entry.value),
    lastEventId: async () => store.durableEventId,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },

    stateHash: async () => {
      const hash = createHash('sha256');
      const add = (...parts: unknown[]): void => {
        hash.update(canonicalJson(JSON.parse(JSON.stringify(parts))));
        hash.update('\n');
      };
      for (const { value } of pipelines.getRange({})) add('pipeline', value);
      for (const { key, value } of counts.getRange({})) add('counts', key, value);
      for (const { key, value } of states.getRange({})) add('shard', key, value, bodies.get(key), outcomes.get(key) ?? null);
      for (const { key, value } of index.getRange({})) add('index', key, value);
      add('events', store.durableEventId);
      return hash.digest('hex');
    },
    close: () => store.close(),
  };
}
