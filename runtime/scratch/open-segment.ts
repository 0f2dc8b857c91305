/**
 * The segment that a writer has open: a file, how far it is committed and reserved, and what an Arrow stream in it has said already.
 *
 * Invariants
 *  1. Bytes are written behind `committedBytes` only, and never further than what is reserved in the index.
 *  2. A failed write leaves the segment as it was: the next one goes to the same place.
 */
import { closeSync } from 'node:fs';
import type { ColumnSchema } from '../contracts/block.js';
import { endOfStream } from './arrow/encode.js';
import type { PlacedUtf8 } from './arrow/layout.js';
import type { SegmentEntry } from './index-store.js';
import { writePieces } from './positioned.js';
import { asFull, type SegmentFiles } from './segment-files.js';
import type { Utf8Data } from './types.js';

/** A dictionary that was written into a segment, for blocks that use it again. */
export interface WrittenDictionary {
  data: Utf8Data;
  /** Offsets within the segment. */
  placed: PlacedUtf8;
}

export class OpenSegment {
  /** By column. Only what is committed. */
  readonly dictionaries = new Map<string, WrittenDictionary>();
  #fd: number | undefined;

  constructor(
    private readonly files: SegmentFiles,
    private readonly shardId: string,
    public entry: SegmentEntry,
    /** Columns of its Arrow schema; empty for bytes. */
    readonly schema: readonly ColumnSchema[],
    /** kind files: the file that it holds. */
    readonly file?: string,
  ) {}

  /** Writes behind the committed bytes; returns the crc32. Throws PDL_SCRATCH_FULL (invariant 2). */
  async write(pieces: readonly Uint8Array[]): Promise<number> {
    try {
      this.#fd ??= this.files.create(this.shardId, this.entry);
      return await writePieces(this.#fd, pieces, this.entry.committedBytes);
    } catch (error) {
      if (this.#fd !== undefined) this.files.releaseTail(this.#fd, this.entry.committedBytes);
      throw asFull(error, this.files.path(this.shardId, this.entry));
    }
  }

  /** Puts Arrow's end-of-stream mark behind the committed bytes; false when there is no room for it. */
  async end(): Promise<boolean> {
    if (this.#fd === undefined || this.entry.committedBytes === 0) return false;
    try {
      await writePieces(this.#fd, [endOfStream], this.entry.committedBytes);
      return true;
    } catch {
      return false;
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
