/**
 * The segment that a part of a stream has open: a file, how far it is written and reserved, and what an Arrow stream in it has said.
 *
 * Invariants
 *  1. Bytes are written behind `position` only, and never further than what is reserved in the index.
 *  2. A failed write leaves the segment as it was: the next one goes to the same place.
 *  3. A buffer that `allocate` gave out reaches its own bytes alone, and none as soon as these belong to a block.
 */
import { closeSync } from 'node:fs';
import { alignUp, type ColumnSchema } from '../contracts/block.js';
import { endOfStream } from './arrow/encode.js';
import type { PlacedUtf8 } from './arrow/layout.js';
import { crc32 } from './checksum.js';
import type { SegmentEntry } from './index-store.js';
import { loadNative } from './native.js';
import { checksumOf, writePieces, writePiecesAside } from './positioned.js';
import { asFull, type SegmentFiles } from './segment-files.js';
import type { Utf8Data } from './types.js';

/** A dictionary that was written into a segment, for blocks that use it again. */
export interface WrittenDictionary {
  data: Utf8Data;
  /** Offsets within the segment. */
  placed: PlacedUtf8;
}

/** Below this a call into libuv's thread pool costs more than the write itself (about 50 µs). */
const asideFromBytes = 256 * 1024;

/** Room that was given out, at `offset` of the file. */
interface Allocated {
  buffer: ArrayBuffer;
  offset: number;
}

export class OpenSegment {
  /** By column. */
  readonly dictionaries = new Map<string, WrittenDictionary>();
  /** End of what was written for blocks. */
  position = 0;
  /** What the index counts for it, as far as its writer knows. */
  reservedBytes = 0;
  /** Whether the index knows it. */
  isKnown = false;
  #fd: number | undefined;
  #allocated: Allocated | undefined;

  constructor(
    private readonly files: SegmentFiles,
    private readonly shardId: string,
    readonly fresh: SegmentEntry,
    /** Columns of its Arrow schema; empty for bytes. */
    readonly schema: readonly ColumnSchema[],
    /** kind files: the file that it holds. */
    readonly file?: string,
  ) {}

  /** Writes behind `position` and moves that; returns the crc32. Throws PDL_SCRATCH_FULL (invariant 2). */
  write(pieces: readonly Uint8Array[], bytes: number): number {
    this.discard();
    try {
      writePieces(this.#open(), pieces, this.position);
    } catch (error) {
      throw this.#failed(error);
    }
    this.position += bytes;
    return checksumOf(pieces);
  }

  /**
   * The same, the copying done by another thread where the bytes are many; the checksum is computed meanwhile. The pieces must not change
   * until it resolves, and nothing else may be asked of the segment.
   */
  async writeAside(pieces: readonly Uint8Array[], bytes: number): Promise<number> {
    if (bytes < asideFromBytes) return this.write(pieces, bytes);
    this.discard();
    try {
      const writing = writePiecesAside(this.#open(), pieces, this.position);
      // Held here so that a failure during the checksum is not reported as unhandled; it is awaited below.
      writing.catch(() => undefined);
      const checksum = checksumOf(pieces);
      await writing;
      this.position += bytes;
      return checksum;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Whether a payload lies in what `allocate` gave out and has not taken back. */
  holds(payload: Uint8Array): boolean {
    return this.#allocated !== undefined && payload.buffer === this.#allocated.buffer;
  }

  /** Bytes from `position` on up to where a payload of `allocate` would end. */
  endOfAllocation(bytes: number): number {
    return alignUp(this.position) + bytes;
  }

  /** `bytes` of the file itself, aligned, behind `position`; undefined where the native part is absent. Throws PDL_SCRATCH_FULL. */
  allocate(bytes: number): Uint8Array | undefined {
    this.discard();
    const native = loadNative().functions;
    if (!native) return undefined;
    const offset = alignUp(this.position);
    try {
      const fd = this.#open();
      // Held until the descriptor and the map are gone: nobody takes the pages from under it (`retire.ts`).
      native.take(fd);
      native.reserve(fd, this.position, offset + bytes - this.position);
      this.#allocated = { buffer: native.mapOutput(fd, offset, bytes), offset };
    } catch (error) {
      throw this.#failed(error);
    }
    return new Uint8Array(this.#allocated.buffer);
  }

  /**
   * Makes a payload that lies in what `allocate` gave out part of the written bytes, and takes the buffer away; undefined when it lies
   * elsewhere. The extent begins at the former position, so that a gap before the payload belongs to it.
   */
  keep(payload: Uint8Array): { offset: number; crc32: number } | undefined {
    if (!this.#allocated || !this.holds(payload)) return undefined;
    const { buffer, offset } = this.#allocated;
    const gap = new Uint8Array(offset - this.position);
    const head = new Uint8Array(buffer, 0, payload.byteOffset);
    try {
      if (gap.length > 0) writePieces(this.#open(), [gap], this.position);
    } catch (error) {
      throw this.#failed(error);
    }
    const checksum = crc32(payload, crc32(head, crc32(gap)));
    const at = offset + payload.byteOffset;
    this.position = at + payload.length;
    this.discard();
    return { offset: at, crc32: checksum };
  }

  /** Takes back what `allocate` gave out: its views hold zeros from now on. */
  discard(): void {
    if (this.#allocated) loadNative().functions?.unmap(this.#allocated.buffer);
    this.#allocated = undefined;
  }

  /** Forgets what was written behind `position`, which nobody has committed. */
  goBack(position: number): void {
    this.position = position;
    this.dictionaries.clear();
  }

  /** Puts Arrow's end-of-stream mark behind the written bytes; false when there is no room for it, or nothing before it. */
  end(): boolean {
    if (this.#fd === undefined || this.position === 0) return false;
    try {
      writePieces(this.#fd, [endOfStream], this.position);
      return true;
    } catch {
      return false;
    }
  }

  /** Gives the pages behind `bytes` back. */
  releaseTail(bytes: number): void {
    if (this.#fd !== undefined) this.files.releaseTail(this.#fd, bytes);
  }

  /** Idempotent. */
  close(): void {
    this.discard();
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    this.#fd ??= this.files.create(this.shardId, this.fresh);
    return this.#fd;
  }

  #failed(error: unknown): unknown {
    this.releaseTail(this.position);
    return asFull(error, this.files.path(this.shardId, this.fresh));
  }
}
