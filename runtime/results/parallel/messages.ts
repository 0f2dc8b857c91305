/** What a thread that makes text and the delivery's thread say to each other. */
import type { WireError } from '../../contracts/errors.js';
import type { ScratchOptions } from '../../scratch/types.js';
import type { TextName } from '../text-format.js';

/** A block of a table, to be made into text. */
export interface TextTask {
  /** The thread opens it as a stage does. */
  scratch: Omit<ScratchOptions, 'role'>;
  shardId: string;
  stream: string;
  seq: number;
  format: TextName;
}

/** The text of a block, in pieces of about a MiB, and what was read for it. */
export interface BlockText {
  pieces: Uint8Array<ArrayBuffer>[];
  read: { memory: number; ssd: number };
}

export interface ToTextThread {
  id: number;
  task: TextTask;
}
export type FromTextThread = { id: number; text: BlockText } | { id: number; error: WireError };
