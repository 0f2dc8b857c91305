/** Who works on the blocks of a run, and what they give: the part of a run that may be one thread or many. */
import type { Lineage } from '../contracts/block.js';
import type { WrittenBlock, WriterRequest } from '../scratch/types.js';
import type { RoomAnswer } from './room.js';
import type { Reading } from './run-input.js';
import type { RunSetup, RunVoice } from './context.js';

/** What became of one block of the input. */
export type Outcome =
  /** Its output is written, and seen by nobody before it is committed. */
  | { kind: 'written'; block: WrittenBlock }
  /** It gave nothing to write, as when a filter lets no row through: only progress. */
  | { kind: 'nothing' }
  /** The state of an aggregation over this block alone. */
  | { kind: 'partial'; state: unknown };

/** A run as every thread that works for it knows it: plain data. */
export interface RunPlan extends RunSetup {
  inputs: string[];
  growing: string[] | undefined;
  lineage: Lineage;
  combine: 'zip' | 'concat';
  output: WriterRequest;
}

export interface Job {
  plan: RunPlan;
  /** The first block to work on. */
  from: number;
  /** Opens the stream of the output, once; parts of it may be opened when the call returns. */
  open: () => Promise<unknown>;
  signal: AbortSignal;
  voice: RunVoice;
  /** The scratch has no room for so many bytes. */
  room: (bytes: number) => Promise<RoomAnswer>;
  /** What is read, as the thread of the runner has seen it. */
  reading: Reading;
  /** Its first blocks may be long in coming, and then are waited for. */
  isHeld: boolean;
  /** Whether somebody waits for every block. */
  isFollowed: () => boolean;
}

/** Bytes that were read for a run, by medium. */
export interface ReadBytes {
  memory: number;
  ssd: number;
  network: { read: number; written: number };
}

export const nothingRead = (): ReadBytes => ({ memory: 0, ssd: 0, network: { read: 0, written: 0 } });

export function addRead(into: ReadBytes, more: ReadBytes): void {
  into.memory += more.memory;
  into.ssd += more.ssd;
  into.network.read += more.network.read;
  into.network.written += more.network.written;
}

/**
 * Turns blocks into outcomes, for one run at a time: begin, grow and next by turns, end.
 *
 * Invariants
 *  1. Outcomes come in the order of the blocks.
 *  2. Asking for the next outcomes says that those given before are committed. What is under way and not committed is bounded.
 *  3. What failed is told behind the outcomes of all blocks before it.
 */
export interface Workers {
  begin(job: Job): Promise<void>;
  /** The input has so many blocks; `isWhole`: and will have no more. */
  grow(blocks: number, isWhole: boolean): void;
  /** The first block is there, and may not be worked on yet: what it lies in is made ready. */
  touch(): void;
  /** At least one, and all that there are; none when the input is whole and all was given. Throws what the first failed block threw. */
  next(): Promise<readonly Outcome[]>;
  /** When the stage's code was first called in this run, in ms of `performance.now`. */
  readonly firstCallAtMs: number | undefined;
  /** Ends the run, after its last commit; what is still under way is given up. Tells what was read. May be called twice. */
  end(): Promise<ReadBytes>;
  close(): Promise<void>;
}
