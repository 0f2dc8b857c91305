/**
 * State, events and effects of a line: the vocabulary of its heart (`line.ts`), which is a function
 * (state, event, nowMs) → effects without I/O, clock or randomness. The agent runs it, and so does the simulator.
 */
import type { Lease } from '../contracts/line-api.js';
import type { Lineage } from '../contracts/block.js';
import type { Pipeline, ResolvedStage } from '../contracts/manifest.js';
import type { WireError } from '../contracts/errors.js';
import type { Graph } from './graph.js';

export interface LineConfig {
  slots: number;
  /** Shards that may be resident at once. */
  residentsMax: number;
  /** cpu-bound runs at once, all slots together. */
  cores: number;
  /** Back-off between tries of a stage on one shard. */
  stageBackoff: { initialMs: number; factor: number; maxMs: number };
  /** Bytes of the scratch: shards are loaded while their assumed needs together stay within it. */
  scratchBytesMax: number;
  /** What the driver waits before a container is reloaded (`swap.gracePeriodSeconds`); added to the time a swap may take. */
  swapGraceMs?: number | undefined;
}

/** The part of a `Pipeline` that a line needs; a `Pipeline` is one. */
export interface LinePipeline extends Pick<Pipeline, 'revision' | 'stages'> {
  spec: { result: { stages?: string[] | undefined }; streaming?: 'auto' | 'off' | undefined };
}

/** What is already known of a stream when a shard is taken in: from the scratch, or after a restore. */
export interface KnownStream {
  stream: string;
  sealed: boolean;
}

export type SlotState =
  /** Nothing that could be used: never filled, given up, or of an older revision. */
  | { phase: 'empty' }
  /** Asked for; `loading` once its shim has said hello, until it says ready. `tries` counts this stage's failed swaps before. */
  | { phase: 'swapping'; stage: string; step: string; sinceMs: number; tries: number; loading: boolean }
  | { phase: 'idle'; stage: string; step: string; sinceMs: number }
  /**
   * `cancelled`: the run is no longer wanted; the slot is free when its end is heard of, or killed at `deadlineMs`.
   * `stale`: the process holds the stage of an older revision, and is not used again.
   * `leadsSinceMs`: since when blocks of it are committed and more are to come, so that a stage that reads them may follow.
   */
  | {
      phase: 'running';
      stage: string;
      step: string;
      shardId: string;
      runId: string;
      sinceMs: number;
      deadlineMs: number | undefined;
      cancelled: boolean;
      stale: boolean;
      leadsSinceMs: number | undefined;
    }
  /** The container is away although nobody asked for a swap: it comes back by itself (kubelet, local driver) and says hello. */
  | { phase: 'lost'; stage: string; step: string; sinceMs: number };

export type StageState =
  /** Its inputs are not whole yet. `failed`: it followed one of them already, in vain. */
  | { phase: 'waiting'; failed?: { attempt: number; notBeforeMs: number; error: WireError } | undefined }
  /** Its inputs are whole and it could begin; `sinceMs` is when the last of them was. `error`: why it is tried again. */
  | { phase: 'ready'; sinceMs: number; attempt: number; notBeforeMs: number; error?: WireError | undefined }
  /** Where inputs are not whole yet, it follows what makes them (`streaming.ts`). */
  | { phase: 'running'; slot: number; runId: string; attempt: number }
  | { phase: 'done'; how: 'ran' | 'restored' | 'skipped' };

export interface ResidentState {
  lease: Lease;
  /** queued: leased, but the scratch has no room for it yet. ending: complete or fail was said, or the lease is gone. */
  phase: 'queued' | 'loading' | 'stages' | 'delivering' | 'ending';
  /** Of the stages of the line's revision; empty until the shard is loaded. */
  stages: Map<string, StageState>;
  /** Assumed need of scratch, bytes. */
  needBytes: number;
  admittedAtMs: number;
  /** Streams that `release` was said for. */
  released: Set<string>;
  /** Deliveries tried, and when the next may begin while one is to be repeated. */
  deliveries: number;
  deliverAtMs: number | undefined;
  /** ending: the coordinator no longer counts it as ours; it is freed when the last of its runs has ended. */
  letGo: boolean;
  /** Leased again, under a newer epoch, before the old runs had ended: taken in when they have. */
  next?: { lease: Lease; needBytes: number } | undefined;
}

/** How many residents stand where, of one stage. Kept beside the stage states so that a step need not count. */
export interface StageDemand {
  waiting: number;
  ready: number;
  running: number;
}

/** A run that its slot was told of beforehand (`prepare.ts`). */
export interface PreparedRun {
  stage: string;
  shardId: string;
  attempt: number;
  runId: string;
  /** Of the slot: another process knows nothing of it. */
  step: string;
  /** Of the lease and of the pipeline: under others it would be another run. */
  epoch: number | undefined;
  revision: number;
}

/** Failed swaps of a stage, until one succeeds. */
export interface SwapTrouble {
  tries: number;
  notBeforeMs: number;
  error: WireError;
}

export interface LineState {
  config: LineConfig;
  revision: number;
  graph: Graph<ResolvedStage>;
  /** Stages may follow others. */
  streaming: boolean;
  slots: SlotState[];
  /** By slot. */
  prepared: Map<number, PreparedRun>;
  /** In order of admission. */
  residents: Map<string, ResidentState>;
  demand: Map<string, StageDemand>;
  /** Stages of residents that back off, and until when; entries outlive their reason and are dropped when looked at. */
  backoffs: { shardId: string; stage: string; untilMs: number }[];
  troubles: Map<string, SwapTrouble>;
  /** A request for leases is under way, by itself or with a completion. */
  leasing: boolean;
  /** After an answer without leases: when to ask again. */
  leaseNotBeforeMs: number;
  leaseAskedAtMs: number;
  /** The last request was one that waits at the coordinator. */
  leaseWaited: boolean;
  /** The largest need that a lease came with: what the next one is assumed to need. */
  needBytesSeen: number | undefined;
  draining: boolean;
  /** While draining: when shards that are still here are given back. */
  drainDeadlineMs: number | undefined;
  paused: boolean;
  /** Shards that wait at the coordinator, as last heard. */
  queued: number;
  /** Numbers steps and runs; with the line's instance they are unique. */
  counter: number;
  instance: string;
  /** Swaps asked for. */
  swaps: number;
  /** The earliest `wakeAt` that was said and has not come. */
  wakeAtMs: number | undefined;
}

export type LineEvent =
  | { type: 'tick' }
  | { type: 'leased'; leases: { lease: Lease; needBytes: number }[]; queued: number }
  | { type: 'leaseRequestEnded'; queued: number }
  /** The shard's input is in the scratch (or not needed), and these streams too, valid under the line's present revision. */
  | { type: 'loaded'; shardId: string; known: KnownStream[] }
  | { type: 'loadFailed'; shardId: string; error: WireError }
  | { type: 'slotHello'; slot: number; stage: string; step: string }
  | { type: 'slotReady'; slot: number; step: string }
  | { type: 'slotUnusable'; slot: number; step: string; error: WireError }
  | { type: 'slotLost'; slot: number; error: WireError }
  | { type: 'swapFailed'; slot: number; step: string; error: WireError }
  /** Blocks of the run's stream are committed, and more are to come. */
  | { type: 'runGrew'; slot: number; runId: string }
  /** The stream of the run's stage is sealed, under the lineage that is wanted now. */
  | { type: 'runCommitted'; slot: number; runId: string }
  /** Also how a cancelled run ends. */
  | { type: 'runFailed'; slot: number; runId: string; error: WireError }
  | { type: 'delivered'; shardId: string }
  | { type: 'deliverFailed'; shardId: string; error: WireError }
  /** The coordinator took complete or fail under this epoch: the shard is no longer ours. */
  | { type: 'ended'; shardId: string; epoch?: number | undefined }
  /** `epoch` here and above: of the lease that is over. The shard may have been leased again meanwhile: then the news changes nothing. */
  | { type: 'leaseLost'; shardId: string; reason: string; epoch?: number | undefined }
  /**
   * `known`: per shard the streams that are valid under the new revision; `input` need not be named. `incomplete`: shards of which
   * something that is needed now was given back.
   */
  | { type: 'revised'; pipeline: LinePipeline; known: Map<string, KnownStream[]>; incomplete?: Set<string> | undefined }
  /** Take nothing new; at `deadlineMs`, if there is one, give back what is still here. */
  | { type: 'drain'; deadlineMs?: number | undefined }
  /** The line is wanted again. A drain with a deadline, of a process that ends, is not taken back. */
  | { type: 'stay' }
  | { type: 'paused'; paused: boolean };

export type LineEffect =
  /** Ask the coordinator for up to `max` shards; `wait`: long poll. Ends with `leased` or `leaseRequestEnded`. */
  | { type: 'lease'; max: number; wait: boolean }
  /**
   * Restore what can be, load the rest. An earlier load of the shard is void, and `lease` may be newer than the one under which the shard
   * was freed just before. Ends with `loaded` or `loadFailed`, unless the shard is freed before.
   */
  | { type: 'load'; shardId: string; lease: Lease }
  /** Put a stage into a slot. It replaces an earlier order for the same slot that is not carried out yet. Ends with `slotReady`, `swapFailed` or time. */
  | { type: 'swap'; slot: number; stage: string; step: string; replaces: string | undefined }
  /** `growing`: inputs that are not whole yet, whose makers work: it follows them. `readySinceMs`: when it could have begun at the earliest. */
  | {
      type: 'start';
      slot: number;
      shardId: string;
      stage: string;
      runId: string;
      attempt: number;
      readySinceMs: number;
      growing: string[];
    }
  /**
   * This run will be started in the slot when its inputs are whole, unless something comes between: the slot may make ready for it, and
   * begin it then by itself. `growing`: the inputs that are not. `start` with the same run confirms it.
   */
  | { type: 'prepare'; slot: number; shardId: string; stage: string; runId: string; attempt: number; growing: string[] }
  /** A prepared run will not be started after all. If it has begun nevertheless, what it does is void. */
  | { type: 'withdraw'; slot: number; runId: string }
  /** `kill`: end the slot's process now (it comes back and says hello); else ask, and expect `runFailed`. */
  | { type: 'cancelRun'; slot: number; runId: string; reason: string; kill: boolean }
  /** A stream is sealed: the policy may want a checkpoint. */
  | { type: 'stageDone'; shardId: string; stage: string }
  /** Nothing that is still to run reads this stream as it is, and it is no result: drop it when its checkpoint no longer needs it. */
  | { type: 'release'; shardId: string; stream: string }
  | { type: 'deliver'; shardId: string }
  /**
   * Ends with `ended` or `leaseLost`. `lease`: ask besides for up to `max` shards of what waits now; then `leased` or `leaseRequestEnded`
   * follows.
   */
  | { type: 'complete'; shardId: string; lease?: { max: number } | undefined }
  | { type: 'fail'; shardId: string; error: WireError; stage: string | undefined; counts: boolean }
  | { type: 'free'; shardId: string }
  /** A line may want to look again at this time, although nothing happened. */
  | { type: 'wakeAt'; atMs: number };

/** Lineages of all streams of a shard under a revision of the pipeline; made by `lineage.ts`. */
export type Lineages = Map<string, Lineage>;
