/**
 * Requests for leases, of lines that are known: each becomes a query of the journal, and its outcome leases that are held in memory.
 *
 * Owns nothing: lines and leases are the line desk's. `lease` and `completeAndLease` ask for the same, alone or behind a completion.
 */
import type { z } from 'zod';
import type { Complete, ShardAtEpoch, leaseAnswerSchema, leaseRequestSchema } from '../contracts/line-api.js';
import type { CompleteOutcome, Journal, LeaseOutcome, LeaseQuery, Moment, PipelineRecord } from '../journal/journal.js';
import { planGrant } from '../line/queue.js';
import type { Clock } from '../platform/clock.js';
import type { Leases } from './leases.js';
import type { Line, Lines } from './lines.js';

export type LeaseRequest = z.infer<typeof leaseRequestSchema>;
export type LeaseAnswer = z.infer<typeof leaseAnswerSchema>;
/** Asked for together with a completion: nobody waits for them. */
export type NextLeases = Omit<LeaseRequest, 'waitMs'>;

export interface GrantsParts {
  journal: Pick<Journal, 'queued' | 'lease' | 'complete' | 'completeAndLease'>;
  clock: Clock;
  leaseTtlMs: number;
  lines: Lines;
  leases: Leases;
  now: () => Moment;
  pipeline: (name: string) => Promise<PipelineRecord>;
  /** Something may be due earlier than was planned. */
  arm: (atMs: number) => void;
  takeBack: (line: string, leases: readonly ShardAtEpoch[]) => Promise<void>;
}

export interface CompletedAndGranted {
  completed: CompleteOutcome;
  /** Holds the leases and answers with them. Apart, because a completion counts whatever becomes of them; undefined: none could be asked for. */
  answer: (() => Promise<LeaseAnswer>) | undefined;
}

/** Functions, because both change while one waits, which a compiler does not see. */
const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;
const isDraining = (line: Line): boolean => line.draining;

export class Grants {
  constructor(private readonly parts: GrantsParts) {}

  /** Shards of the group that may be leased at once. */
  async waiting(pipeline: string, group: string): Promise<number> {
    return (await this.parts.journal.queued(pipeline))[group] ?? 0;
  }

  /** Of what waits now. An aborted request leaves nothing leased behind. */
  async lease(line: Line, request: NextLeases, signal: AbortSignal | undefined): Promise<LeaseAnswer> {
    const waiting = await this.waiting(line.hello.pipeline, line.group);
    if (isAborted(signal) || !mayGet(line, waiting)) return { leases: [], queued: waiting };
    const now = this.parts.now();
    const query = this.#query(line, request, waiting);
    const outcome = await this.#reclaiming(line, query, () => this.parts.journal.lease(query, now));
    return this.#hold(line, query, outcome, signal);
  }

  /** Throws what the completion is refused with; then nothing is leased. */
  async completeAndLease(line: Line, complete: Complete, next: NextLeases): Promise<CompletedAndGranted> {
    const { journal } = this.parts;
    const waiting = await this.waiting(line.hello.pipeline, line.group);
    const now = this.parts.now();
    if (!mayGet(line, waiting)) {
      const completed = await journal.complete(line.name, complete, now);
      return { completed, answer: () => Promise.resolve({ leases: [], queued: waiting }) };
    }
    const query = this.#query(line, next, waiting);
    const { completed, leased } = await this.#reclaiming(line, query, () =>
      journal.completeAndLease(line.name, complete, query, now),
    );
    return { completed, answer: leased === undefined ? undefined : () => this.#hold(line, query, leased, undefined) };
  }

  #query(line: Line, { max, residents }: NextLeases, waiting: number): LeaseQuery {
    const { name, group, reclaim } = line;
    const { pipeline, instance } = line.hello;
    const freshMax = planGrant(max, waiting, this.parts.lines.sharerCount(pipeline, group, this.parts.clock.nowMs()));
    return { pipeline, line: name, group, instance, max, freshMax, prefer: residents, reclaim };
  }

  /** What the line reclaims is asked for once, unless the journal refuses. */
  async #reclaiming<T>(line: Line, { reclaim }: LeaseQuery, ask: () => Promise<T>): Promise<T> {
    line.reclaim = [];
    try {
      return await ask();
    } catch (thrown) {
      line.reclaim = [...reclaim];
      throw thrown;
    }
  }

  async #hold(
    line: Line,
    { pipeline, instance, reclaim }: LeaseQuery,
    { leases, waiting }: LeaseOutcome,
    signal: AbortSignal | undefined,
  ): Promise<LeaseAnswer> {
    const deadlineMs = this.parts.clock.nowMs() + this.parts.leaseTtlMs;
    for (const shardId of reclaim) this.parts.leases.drop(shardId);
    for (const { shardId, epoch } of leases)
      this.parts.leases.hold({ shardId, epoch, pipeline, line: line.name, instance, deadlineMs });
    // Looked at behind the journal: whatever made these shards wait has changed the pipeline before.
    const record = await this.parts.pipeline(pipeline);
    this.parts.arm(record.rules.timeLimits.runningMs === undefined ? deadlineMs : 0);
    if (isAborted(signal) || isDraining(line) || this.parts.lines.find(line.name)?.hello.instance !== instance) {
      await this.parts.takeBack(line.name, leases);
      return { leases: [], queued: waiting };
    }
    const isNewer = leases.length > 0 && record.pipeline.revision !== line.revision;
    return { leases, queued: waiting, ...(isNewer ? { pipeline: record.pipeline } : {}) };
  }
}

const mayGet = (line: Line, waiting: number): boolean => !line.draining && (waiting > 0 || line.reclaim.length > 0);
