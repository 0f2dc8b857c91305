/**
 * What a transition reads and writes: the tables of a journal, as one group of transitions sees them. Each store brings its
 * own; the transitions are the same for all, and so is what comes of them.
 *
 * Invariants
 *  1. What was written is read by the transitions that come after it in the group.
 *  2. Nothing of it is to be seen outside of the group before the group is durable, and nothing ever when it is not.
 */
import type { PodlineEvent } from '../contracts/events.js';
import type { Counts } from '../contracts/views.js';
import type { PipelineRecord } from './journal.js';
import type { BodyRecord, OutcomeRecord, StateRecord } from './records.js';

/** `queued`: by group, those that may be leased at once. */
export type CountsRecord = Counts & { submitted: number; queued: Record<string, number> };

/** Of the whole journal. */
export interface Numbers {
  /** What ids of its shards begin with. */
  readonly idPrefix: string;
  /** Of its writer: the journal refuses who was the writer under an older one. */
  term: number;
  /** Of the latest transition. */
  clockMs: number;
  lastSeq: number;
  firstEventId: number;
  lastEventId: number;
  /** Up to which event notices of completion were sent or given up; absent until the first. */
  noticedUntil?: number | undefined;
  /** Goes up with each group of transitions that is written. */
  commits: number;
  /** Shards that are kept although they have ended. */
  ended: Record<EndedKind, number>;
}

/** Retention counts dead letters apart from what completed or was cancelled. */
export type EndedKind = 'done' | 'failed';

export interface Tables {
  /** Changed in place, and written with the group. */
  readonly numbers: Numbers;

  pipeline(name: string): PipelineRecord | undefined;
  counts(pipeline: string): CountsRecord | undefined;
  state(id: string): StateRecord | undefined;
  body(id: string): BodyRecord | undefined;
  idOf(pipeline: string, key: string): string | undefined;
  /** Shards that may be leased to the lines of a group: the lowest priority number first, then the oldest. */
  queued(pipeline: string, group: string, max: number): string[];
  /** Any shards of the pipeline. */
  ofPipeline(pipeline: string, max: number): string[];
  /** Shards to which something happens at `nowMs` or before, the earliest first. */
  due(nowMs: number, max: number): string[];
  /** Shards that have ended at `untilMs` or before, the earliest first. */
  ended(kind: EndedKind, untilMs: number, max: number): string[];
  /** The last of the oldest `max` events, as far as they are of `untilMs` or before. */
  eventsUntil(untilMs: number, max: number): number | undefined;

  putPipeline(record: PipelineRecord): void;
  putCounts(pipeline: string, counts: CountsRecord): void;
  /** And its counters. No shard of it is left. */
  removePipeline(name: string): void;
  /** A new shard, to be found by its key from here on. */
  add(id: string, body: BodyRecord, state: StateRecord): void;
  putState(id: string, before: StateRecord, after: StateRecord): void;
  putOutcome(id: string, outcome: OutcomeRecord | undefined): void;
  /** Its key is free again. */
  remove(id: string, state: StateRecord, body: BodyRecord): void;
  /** Of one group, in order; `ms` is the journal's time. */
  putEvents(events: readonly PodlineEvent[], ms: number): void;
  /** Those from the first that is kept to before `untilId`. */
  dropEvents(fromId: number, untilId: number): void;
}

export const noCounts = (): CountsRecord => ({
  pending: 0,
  running: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
  submitted: 0,
  queued: {},
});

export const newNumbers = (idPrefix: string): Numbers => ({
  idPrefix,
  term: 0,
  clockMs: 0,
  lastSeq: 0,
  firstEventId: 1,
  lastEventId: 0,
  commits: 0,
  ended: { done: 0, failed: 0 },
});
