/**
 * State, events and effects of a line: the vocabulary of its heart (`line.ts`), which is a function
 * (state, event, nowMs) → effects without I/O, clock or randomness. The agent runs it, and so does the simulator.
 */
import type { Lease } from '../contracts/line-api.js';
import type { Lineage } from '../contracts/block.js';
import type { ResolvedStage } from '../contracts/manifest.js';
import type { WireError } from '../contracts/errors.js';

export interface LineConfig {
  slots: number;
  /** Shards that may be resident at once. */
  residentsMax: number;
  /** cpu-bound runs at once, all slots together. */
  cores: number;
  /** Back-off between tries of a stage on one shard. */
  stageBackoff: { initialMs: number; factor: number; maxMs: number };
  /** Bytes of the scratch, and how much of them a new shard is assumed to need: admission waits for room. */
  scratchBytesMax: number;
}

/** What is already known of a stream when a shard is taken in: from the scratch, or after a restore. */
export interface KnownStream {
  stream: string;
  sealed: boolean;
}

export type SlotState =
  | { phase: 'empty' }
  | { phase: 'swapping'; stage: string; step: string; sinceMs: number; tries: number }
  | { phase: 'idle'; stage: string; step: string; sinceMs: number }
  | { phase: 'running'; stage: string; step: string; shardId: string; runId: string; sinceMs: number; deadlineMs: number | undefined }
  /** The container is away although nobody asked: it comes back by itself (kubelet, local driver) and says hello. */
  | { phase: 'lost'; stage: string; step: string; sinceMs: number };

export type StageState =
  /** Its inputs are not there yet. */
  | { phase: 'waiting' }
  /** It could begin; `sinceMs` is when its last input was there. */
  | { phase: 'ready'; sinceMs: number; attempt: number; notBeforeMs: number }
  | { phase: 'running'; slot: number; runId: string; attempt: number }
  | { phase: 'done'; how: 'ran' | 'restored' | 'skipped' };

export interface ResidentState {
  lease: Lease;
  phase: 'loading' | 'stages' | 'delivering' | 'ending';
  /** Set when the first stage may begin. */
  stages: Map<string, StageState>;
  /** Assumed need of scratch, bytes. */
  needBytes: number;
  admittedAtMs: number;
}

export interface LineState {
  config: LineConfig;
  revision: number;
  stages: readonly ResolvedStage[];
  slots: SlotState[];
  /** In order of admission. */
  residents: Map<string, ResidentState>;
  /** A request for leases is under way. */
  leasing: boolean;
  draining: boolean;
  paused: boolean;
  /** Shards that wait at the coordinator, as last heard. */
  queued: number;
  /** Numbers steps and runs; with the line's instance they are unique. */
  counter: number;
  instance: string;
  swaps: number;
}

export type LineEvent =
  | { type: 'tick' }
  | { type: 'leased'; leases: { lease: Lease; needBytes: number }[]; queued: number }
  | { type: 'leaseRequestEnded'; queued: number }
  /** The shard's input is in the scratch, and these streams too (after a resume). `lineages` lets the report say why. */
  | { type: 'loaded'; shardId: string; known: KnownStream[] }
  | { type: 'loadFailed'; shardId: string; error: WireError }
  | { type: 'slotHello'; slot: number; stage: string; step: string }
  | { type: 'slotReady'; slot: number; step: string }
  | { type: 'slotUnusable'; slot: number; step: string; error: WireError }
  | { type: 'slotLost'; slot: number; error: WireError }
  | { type: 'swapFailed'; slot: number; step: string; error: WireError }
  | { type: 'runCommitted'; slot: number; runId: string }
  | { type: 'runFailed'; slot: number; runId: string; error: WireError }
  | { type: 'delivered'; shardId: string }
  | { type: 'deliverFailed'; shardId: string; error: WireError }
  /** The coordinator took complete or fail: the shard is no longer ours. */
  | { type: 'ended'; shardId: string }
  | { type: 'leaseLost'; shardId: string; reason: string }
  | { type: 'revised'; revision: number; stages: readonly ResolvedStage[]; known: Map<string, KnownStream[]> }
  | { type: 'drain' }
  | { type: 'paused'; paused: boolean };

export type LineEffect =
  /** Ask the coordinator for up to `max` shards; `wait`: long poll. Ends with `leased` or `leaseRequestEnded`. */
  | { type: 'lease'; max: number; wait: boolean }
  /** Restore what can be, load the rest. Ends with `loaded` or `loadFailed`. */
  | { type: 'load'; shardId: string }
  | { type: 'swap'; slot: number; stage: string; step: string; replaces: string | undefined }
  | { type: 'start'; slot: number; shardId: string; stage: string; runId: string; attempt: number; readySinceMs: number }
  | { type: 'cancelRun'; slot: number; runId: string; reason: string; kill: boolean }
  /** A stream is sealed: the policy may want a checkpoint. */
  | { type: 'stageDone'; shardId: string; stage: string }
  /** No stage that is still to run reads this stream, and it is no result. */
  | { type: 'release'; shardId: string; stream: string }
  | { type: 'deliver'; shardId: string }
  | { type: 'complete'; shardId: string }
  | { type: 'fail'; shardId: string; error: WireError; stage: string | undefined; counts: boolean }
  | { type: 'free'; shardId: string }
  /** A line may want to look again at this time, although nothing happened. */
  | { type: 'wakeAt'; atMs: number };

/** Lineages of all streams of a shard under a revision of the pipeline; made by `lineage.ts`. */
export type Lineages = Map<string, Lineage>;
