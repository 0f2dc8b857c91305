/** What a decoding thread and its parent say to each other. */
import type { WireError } from '../../contracts/errors.js';
import type { ScratchOptions, WriterRequest, WrittenBlock } from '../../scratch/types.js';
import type { Batch } from '../columns.js';
import type { RangePlan } from '../table-reader.js';

/** A stretch of a source for one thread. */
export interface Part {
  /** Text: bytes, the records that begin in them. Parquet: a row group. */
  from: number;
  to: number;
  /** Text: where the first record begins, and how many come before it in the source. Absent: that is to be guessed. */
  known?: { start: number; records: number } | undefined;
}

export interface DecodePart {
  uri: string;
  identity: string;
  plan: RangePlan;
  part: Part;
}

export interface DecodedPart {
  batches: Batch[];
  /** Text: where its first record begins, and the first one behind its last; bytes of the source. */
  start: number;
  end: number;
  records: number;
  bytesRead: number;
}

/** The stream that bytes are copied into, for threads that write blocks of it. */
export interface CopyTarget {
  /** The thread opens it as a stage does. */
  scratch: ScratchOptions;
  request: WriterRequest;
}

/** Bytes [from, to) of a file as one block. */
export interface CopyBlock {
  uri: string;
  identity: string;
  from: number;
  to: number;
  target: CopyTarget;
}

/** `start` as above; a fault behind a start that was guessed wrong is none. */
export type Failed = { error: WireError; start: number; bytesRead: number };
export type FromDecoder =
  { id: number; done: DecodedPart } | { id: number; copied: WrittenBlock | undefined } | { id: number; failed: Failed };
export type Work =
  | { type: 'decode'; task: DecodePart }
  | { type: 'copy'; task: CopyBlock }
  /** No more blocks for that run: gives back what was written and not committed. */
  | { type: 'leave'; run: string };
export type ToDecoder = { id: number; work: Work } | { type: 'close' };
