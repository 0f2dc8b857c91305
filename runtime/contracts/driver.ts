/**
 * What starts lines and swaps slots: the one part that differs between a laptop (`runtime/local`) and a cluster.
 *
 * The coordinator calls it and never asks how. Invariants
 *  1. `swap` resolves when the order is taken, not when the stage is there: the shim's hello with the step's id is the proof.
 *  2. Every method may be called again with the same arguments after a failure: the second call changes nothing that the first one did.
 *  3. A driver restarts what exits by itself, as a kubelet does, and says so with an event.
 */
import type { Pipeline } from './manifest.js';
import type { SwapRequest } from './line-api.js';
import type { WireError } from './errors.js';

export interface SwapOrder extends SwapRequest {
  line: string;
  pipeline: Pipeline;
}

export type DriverEvent =
  | { type: 'lineStarted'; pipeline: string; line: string; group?: string | undefined }
  /** The line's agent or pod ended. `gone`: it will not come back under this name, so its shards may go to other lines at once. */
  | { type: 'lineEnded'; pipeline: string; line: string; reason: string; gone: boolean }
  | { type: 'slotEnded'; pipeline: string; line: string; slot: number; reason: string }
  /** An order that was taken could not be carried out. */
  | { type: 'swapFailed'; pipeline: string; line: string; slot: number; step: string; error: WireError };

export interface ScaleOrder {
  /** Of the pipeline's groups; `default` without it. */
  group?: string | undefined;
  /** Which lines end, where the driver can choose; otherwise those of the highest numbers do. */
  going?: readonly string[] | undefined;
}

export interface LineDriver {
  /** `local`, `kruise`, `native`: for logs and `doctor`. */
  readonly kind: string;
  /** It can end any line of a group, and not the last ones only. */
  readonly choosesLines?: boolean | undefined;
  /** Brings up `lines` lines of a group of the pipeline, or as many more as are missing. Of the group `default` without one. */
  start(pipeline: Pipeline, lines: number, group?: string): Promise<void>;
  /** Brings the number of a group's lines down to `lines`. Those that go checkpoint what they have and give it back. */
  scale(pipeline: string, lines: number, order?: ScaleOrder): Promise<void>;
  /** Puts a stage into a slot. Throws PDL_SWAP_FAILED; PDL_SWAP_NOT_TAKEN, when it may be ordered again and nobody is to blame. */
  swap(order: SwapOrder): Promise<void>;
  /** Ends the lines of one pipeline, or all. Idempotent. */
  stop(pipeline?: string): Promise<void>;
  /** Returns what ends the subscription. */
  subscribe(listener: (event: DriverEvent) => void): () => void;
}
