/**
 * The journal: the durable state of a coordinator, behind one interface that an embedded store and a database server
 * both fit. `test/contract/journal.ts` is the suite that every implementation passes.
 *
 * Owns: which shards there are, in which state, under which epoch; pipelines; the log of events; counters.
 * Leaves to the coordinator: lease deadlines (they live in its memory), who asks, and what time it is.
 *
 * Invariants
 *  1. What a call has answered is durable: it survives the loss of the process and of power.
 *  2. Each call is one atomic transition; its events are in the same transition and get ids without gaps.
 *  3. A shard's epoch only goes up, by one with each lease; what comes under an older one is refused with PDL_LEASE_LOST.
 *  4. The cost of a lease grows neither with the number of shards that wait, nor with that of their groups or priorities.
 *  5. Each transition checks in its transaction that its writer took the newest term: of two writers the older one writes nothing.
 *  6. Time is handed in. `Moment.ms` never goes back, not even over restarts (`clockMs`), and alone is judged by; `at` is for people.
 */
import type { WireError } from '../contracts/errors.js';
import type { EventType, PodlineEvent } from '../contracts/events.js';
import type { Complete, Lease, ShardAtEpoch } from '../contracts/line-api.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Shard, ShardState, Submission } from '../contracts/shard.js';
import type { TraceContext } from '../contracts/trace.js';
import type { Counts } from '../contracts/views.js';
import type { RetryPolicy, TimeLimits } from '../line/queue.js';

export interface Moment {
  ms: number;
  /** ISO 8601. */
  at: string;
}

/** The parts of a pipeline that transitions need, in numbers. */
export interface PipelineRules {
  retries: RetryPolicy;
  timeLimits: TimeLimits;
  /** Shards that may wait; beyond it submissions are refused. */
  pendingMax: number;
  /** Leases that may end with the loss of their line before the shard is given up. */
  lostLeasesMax: number;
}

export interface PipelineRecord {
  pipeline: Pipeline;
  rules: PipelineRules;
  paused: boolean;
  appliedAt: string;
  /** It is being removed, and is there for nobody else. */
  going?: true | undefined;
}

export interface NewShard extends Omit<Submission, 'resultDir' | 'group'> {
  resultDir: string;
  /** Of the pipeline: only its lines are leased the shard. */
  group: string;
}

export type SubmitOutcome =
  | { outcome: 'accepted'; id: string }
  | { outcome: 'duplicate'; id: string; state: ShardState }
  | { outcome: 'full'; pending: number };

export interface LeaseQuery {
  pipeline: string;
  line: string;
  /** Only shards of this group are leased: what the line prefers or reclaims of another one is passed over, or goes back. */
  group: string;
  /** Of the line: another one is another process, which knows nothing of the leases of this one. */
  instance: string;
  max: number;
  /** Of those that wait, at most so many. */
  freshMax: number;
  /** Shards to take first if they wait: their data lies on the line. */
  prefer: readonly string[];
  /** Shards that this line held before it was started anew: they are leased to it again under the next epoch; what is over `max` goes back. */
  reclaim: readonly string[];
}

export interface LeaseOutcome {
  leases: Lease[];
  /** Shards of the group that may be leased at once. */
  waiting: number;
  paused: boolean;
}

/** `false`: the same call was made before, and nothing was changed now. */
export interface Changed {
  changed: boolean;
}

export interface Ending extends Changed {
  pipeline: string;
  state: ShardState;
  trace?: TraceContext | undefined;
}

export interface CompleteOutcome extends Ending {
  waitedMs: number;
  ranMs: number;
}

export interface CompleteAndLeaseOutcome {
  completed: CompleteOutcome;
  /** Undefined where the pipeline of the query is not there, or is being removed: the completion stands by itself. */
  leased: LeaseOutcome | undefined;
}

export interface RemoveOutcome {
  /** Of those removed, the ones that had not ended. */
  cancelled: number;
  removed: number;
  /** The pipeline is still there: call again. */
  more: boolean;
}

export interface RunningShard extends ShardAtEpoch {
  pipeline: string;
  line: string;
  instance: string;
}

export interface NewEvent {
  type: EventType;
  pipeline: string;
  shardId?: string | undefined;
  line?: string | undefined;
  data: Record<string, unknown>;
}

export interface AdvanceOutcome {
  /** Pipelines that have work now which they had not. */
  woken: string[];
  /** Shards that were over a time limit while they ran. */
  stopped: string[];
  /** More is due: call again. */
  more: boolean;
}

export interface ListQuery {
  pipeline: string;
  state?: ShardState | undefined;
  /** `next` of the page before. */
  cursor?: string | undefined;
  max: number;
}

export interface LeaderRecord {
  term: number;
  /** `http://host:port`, if it is one that others can reach. */
  address?: string | undefined;
}

export interface Journal {
  /** The `ms` of the latest transition; a coordinator's clock goes on from here. */
  clockMs(): Promise<number>;

  /**
   * From here on this journal writes, and whoever wrote before is refused with PDL_NOT_LEADER, by the transaction itself.
   * Answers the new term, a number that only goes up. `address`: where the writer is found.
   */
  takeTerm(address?: string): Promise<number>;
  /** Who took the newest term. */
  leader(): Promise<LeaderRecord | undefined>;

  /** The revision counts up when the pipeline differs from what is there in anything but its revision. */
  applyPipeline(pipeline: Pipeline, rules: PipelineRules, now: Moment): Promise<PipelineRecord & Changed>;
  setPaused(pipeline: string, paused: boolean, now: Moment): Promise<Changed>;
  /**
   * Removes at most `max` of its shards, ended or not, and with the last of them the pipeline; with 0, it is only marked as going. From the first call on nothing of it is
   * submitted or leased. Throws PDL_PIPELINE_UNKNOWN, and PDL_PIPELINE_BUSY while shards wait or run that are not to be cancelled.
   */
  removePipeline(name: string, cancel: boolean, max: number, now: Moment): Promise<RemoveOutcome>;
  pipeline(name: string): Promise<PipelineRecord | undefined>;
  pipelines(): Promise<PipelineRecord[]>;

  /** One outcome per shard, in order, in one transition. */
  submit(pipeline: string, shards: readonly NewShard[], now: Moment): Promise<SubmitOutcome[]>;
  lease(query: LeaseQuery, now: Moment): Promise<LeaseOutcome>;
  /** What lines tell of their shards, and events. Shards that are not theirs are passed over. */
  report(
    line: string,
    shards: readonly (ShardAtEpoch & { stagesDone: string[] })[],
    events: readonly NewEvent[],
    now: Moment,
  ): Promise<void>;
  complete(line: string, complete: Complete, now: Moment): Promise<CompleteOutcome>;
  /**
   * A completion and the leases that follow it, in one transition. Throws PDL_LEASE_LOST; then nothing is leased. The same call again is
   * answered as to the completion, and leases anew.
   */
  completeAndLease(line: string, complete: Complete, query: LeaseQuery, now: Moment): Promise<CompleteAndLeaseOutcome>;
  /** `counts: false` gives the shard back without an attempt being counted. */
  fail(
    line: string,
    shard: ShardAtEpoch,
    failure: { error: WireError; stage?: string | undefined; counts: boolean },
    now: Moment,
  ): Promise<Ending>;
  /** The line of these leases is lost: they go back to the queue. Those that ended meanwhile are passed over. Answers which went back. */
  expire(shards: readonly ShardAtEpoch[], reason: string, now: Moment): Promise<RunningShard[]>;
  cancel(shardId: string, now: Moment): Promise<Ending>;
  /** failed or cancelled → pending, with its attempts forgotten. */
  retry(shardId: string, now: Moment): Promise<Ending>;
  /** Any but running → pending; the next leases run `stage` and what follows it again. */
  resume(shardId: string, stage: string, now: Moment): Promise<Ending>;
  /** Carries out what is due at `now`: ends of back-offs, time limits, the removal of what is kept no longer; at most `max` of each. */
  advance(now: Moment, max: number): Promise<AdvanceOutcome>;
  /** When `advance` is next of use. */
  nextDueMs(): Promise<number | undefined>;

  shard(id: string): Promise<Shard | undefined>;
  shardByKey(pipeline: string, key: string): Promise<Shard | undefined>;
  /** In the order of submission, without reports. */
  list(query: ListQuery): Promise<{ shards: Shard[]; next?: string | undefined }>;
  counts(pipeline: string): Promise<Counts>;
  /** Shards of the pipeline that may be leased at once, by group; a group with none is absent. What backs off is not among them. */
  queued(pipeline: string): Promise<Record<string, number>>;
  running(line?: string): Promise<RunningShard[]>;

  /** Notices of completion were sent, or given up, of all events up to this one; the mark goes up only. */
  notice(untilEventId: number, now: Moment): Promise<Changed>;
  /** Undefined: no notice was ever sent. */
  noticedUntil(): Promise<number | undefined>;

  /** Durable events with ids above `after`, oldest first. Those that are kept no longer are left out. */
  events(after: number, max: number): Promise<PodlineEvent[]>;
  lastEventId(): Promise<number>;
  /**
   * Called with new events, each once and in order, when they are durable: as a rule before the call that made them is answered,
   * and a little later when another one writes or wrote just before. Returns what ends the subscription.
   */
  subscribe(listener: (events: readonly PodlineEvent[]) => void): () => void;

  /** sha256 over everything that is kept, events' contents aside: the same after a restart, and in every store. */
  stateHash(): Promise<string>;
  /** Waits for what is under way. Idempotent. */
  close(): Promise<void>;
}
