/**
 * What the agent sees of checkpoints.
 *
 * A *place* is a folder that stands for the SSD of the node or for the persistent volume. In it, each shard has
 * `<root>/<pipeline>/<shardId>/` with
 *
 *     manifest-<epoch>.<n>.json   what a checkpoint is made of, with a checksum of itself
 *     <segment>.<epoch>-<id>.seg  the committed stretch of a segment; appended to while its segment grows
 *     fence-<epoch>               an agent of this epoch works here: lower ones keep their hands off
 *
 * The newest manifest that is whole counts; each is complete in itself.
 */
import type { BytesByMedium } from '../contracts/block.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { CheckpointPlace, PlaceState } from '../line/checkpoint-policy.js';
import type { Holding, ResumePlan } from '../line/resume.js';
import type { KnownStream, Lineages } from '../line/types.js';
import type { Logger } from '../platform/logger.js';
import type { Scratch } from '../scratch/types.js';

export interface CheckpointsOptions {
  /** Must exist, as must `volumeDir`: what is missing is reported and never made, because a volume may not be mounted. */
  ssdDir: string;
  volumeDir?: string | undefined;
  logger: Logger;
  /** Monotonic, for durations and for `PlaceState.lastAtMs`. */
  nowMs: () => number;
}

export interface WriteRequest {
  place: CheckpointPlace;
  shardId: string;
  pipeline: Pick<Pipeline, 'name' | 'revision' | 'stages'>;
  scratch: Scratch;
  /** Streams to take as they are committed now; those of the checkpoint before are carried over while they are still needed. */
  streams: readonly string[];
  /** Streams that are the result. */
  results: Iterable<string>;
  /** Lineages that are wanted now: what has another is not carried over. */
  lineages: Lineages;
  epoch: number;
  /** Manifests to keep. */
  retain: number;
  /** Work that went into each stream so far; given back in `PlaceState.written`. */
  workMs?: Record<string, number> | undefined;
}

export interface Written {
  place: CheckpointPlace;
  /** File name of the manifest. */
  manifest: string;
  /** Streams that it holds. */
  streams: string[];
  /** Bytes that were copied for it; what was there already is not counted. */
  bytes: BytesByMedium;
  writtenBytes: number;
  ms: number;
}

export interface RestoreRequest {
  shardId: string;
  pipeline: string;
  scratch: Scratch;
  epoch: number;
  plan: ResumePlan;
}

export interface Restored {
  streams: string[];
  bytes: BytesByMedium;
  ms: number;
}

export interface Checkpoints {
  /**
   * Writes a checkpoint in the background. What is committed when this is called is what it will hold: streams may be
   * dropped or go on right after the call. Writes of one shard to one place happen one after another; at most
   * `writesQueuedMax` wait.
   *
   * Rejects with PDL_CHECKPOINT_FULL or PDL_CHECKPOINT_MISSING (the line goes on without it), PDL_LEASE_LOST (a higher
   * epoch works on the shard).
   */
  write(request: WriteRequest): Promise<Written>;
  /** What the policy wants to know of a place; the agent adds the cadence. */
  state(shardId: string, place: CheckpointPlace): Omit<PlaceState, 'cadence'>;
  /** What SSD and volume hold of a shard, from the newest whole manifest of each. Never throws for what is missing or torn: it says so in `refused`. */
  inventory(pipeline: string, shardId: string): Promise<Record<CheckpointPlace, Holding>>;
  /**
   * Puts the streams that the plan restores into the scratch and verifies their checksums on the way. A manifest that proves
   * corrupt is left out of every later inventory of this shard. Throws PDL_CHECKPOINT_CORRUPT, PDL_SCRATCH_FULL.
   */
  restore(request: RestoreRequest): Promise<Restored>;
  /** Removes what both places hold of a shard: it is finished. Waits for its writes. */
  forget(pipeline: string, shardId: string): Promise<void>;
  /** The line has the shard no more: what is known of it is let go, what was written stays. Waits for its writes. */
  leave(shardId: string): Promise<void>;
  /** Waits for writes under way. Idempotent. */
  close(): Promise<void>;
}

/** What `recover` found for a shard, and did. */
export interface Recovery {
  plan: ResumePlan;
  /** Streams that are in the scratch now. */
  known: KnownStream[];
  resumedFrom: ResumePlan['resumedFrom'];
  /** The plan's words, and those about checkpoints that proved corrupt while they were restored. */
  refused: string[];
  bytes: BytesByMedium;
  ms: number;
}
