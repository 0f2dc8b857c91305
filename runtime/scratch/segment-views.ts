/**
 * Bytes of segments in memory: views of a private map, or copies.
 *
 * Owns: the maps of one reader, from the first look at a segment to `close`. Leaves to others: which bytes are committed;
 * only those may be asked for.
 *
 * Invariants
 *  1. A map is looked into only where its file has bytes (`validBytes`): beyond the end of a file lies SIGBUS.
 *  2. A map may reach beyond the end of its file, for what is still to come; when that is not far enough, a larger one is made
 *     and the former stays until `close`, because views of it were given out.
 *  3. After `close` the buffers are detached: their views are empty, and making new ones throws.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { PodlineError } from '../contracts/errors.js';
import { wholePages } from './accounts.js';
import type { NativeFunctions } from './native.js';
import { readExactly } from './positioned.js';

export interface View {
  buffer: ArrayBufferLike;
  byteOffset: number;
}
export interface SegmentPlace {
  path: string;
  medium: 'memory' | 'ssd';
}

interface Mapped {
  buffer: ArrayBuffer;
  validBytes: number;
  inode: number;
  medium: 'memory' | 'ssd';
}
interface Opened {
  fd: number;
  medium: 'memory' | 'ssd';
}

/** Address space that is mapped at least, so that a growing segment is not mapped again for each of its blocks. */
const mapBytesMin = 4 * 1024 * 1024;
/** File descriptors that a copying reader keeps open. */
const filesOpenMax = 64;

export class SegmentViews {
  readonly #mapped = new Map<string, Mapped>();
  readonly #outgrown: ArrayBuffer[] = [];
  readonly #opened = new Map<string, Opened>();
  #closed = false;
  readonly read = { memory: 0, ssd: 0 };

  /** `locate`: the present place of a segment; undefined when there is no such segment. `native` absent: copies. */
  constructor(
    private readonly locate: (segment: string) => SegmentPlace | undefined,
    private readonly native: NativeFunctions | undefined,
  ) {}

  /** [offset, offset + length) of a segment. Throws PDL_SCRATCH_CORRUPT when the bytes are not there, PDL_SCRATCH_CLOSED. */
  view(segment: string, offset: number, length: number): View {
    if (this.#closed)
      throw new PodlineError('PDL_SCRATCH_CLOSED', `segment ${segment} was looked into after its reader was closed`);
    if (!this.native || length === 0) return this.#copy(segment, offset, length);
    let mapped = this.#mapped.get(segment);
    if (!mapped || offset + length > mapped.validBytes) mapped = this.#map(this.native, segment, offset + length);
    if (!mapped) return this.#copy(segment, offset, length);
    this.read[mapped.medium] += length;
    return { buffer: mapped.buffer, byteOffset: offset };
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const buffer of [...this.#outgrown, ...[...this.#mapped.values()].map((mapped) => mapped.buffer)])
      this.native?.unmap(buffer);
    for (const { fd } of this.#opened.values()) closeSync(fd);
    this.#outgrown.length = 0;
    this.#mapped.clear();
    this.#opened.clear();
  }

  /** Maps a segment, or sees that its map already reaches far enough; undefined when the system has no more maps to give. */
  #map(native: NativeFunctions, segment: string, end: number): Mapped | undefined {
    const { fd, medium } = this.#open(segment);
    try {
      const { size, ino } = fstatSync(fd);
      if (size < end) throw tooShort(segment, end, size);
      const before = this.#mapped.get(segment);
      if (before?.inode === ino && before.buffer.byteLength >= end) {
        before.validBytes = Math.min(size, before.buffer.byteLength);
        return before;
      }
      const bytes = before ? Math.max(wholePages(size), 2 * before.buffer.byteLength) : Math.max(wholePages(size), mapBytesMin);
      let buffer: ArrayBuffer;
      try {
        buffer = native.map(fd, 0, bytes);
      } catch {
        return undefined;
      }
      if (before) this.#outgrown.push(before.buffer);
      const mapped = { buffer, validBytes: size, inode: ino, medium };
      this.#mapped.set(segment, mapped);
      return mapped;
    } finally {
      closeSync(fd);
    }
  }

  #copy(segment: string, offset: number, length: number): View {
    if (length === 0) return { buffer: new ArrayBuffer(0), byteOffset: 0 };
    let opened = this.#opened.get(segment);
    if (opened) {
      this.#opened.delete(segment);
    } else {
      opened = this.#open(segment);
      for (const [oldest, { fd }] of this.#opened) {
        if (this.#opened.size < filesOpenMax) break;
        closeSync(fd);
        this.#opened.delete(oldest);
      }
    }
    this.#opened.set(segment, opened); // last used, last to be closed
    try {
      const { buffer } = readExactly(opened.fd, offset, length);
      this.read[opened.medium] += length;
      return { buffer, byteOffset: 0 };
    } catch (error) {
      if (error instanceof RangeError) throw tooShort(segment, offset + length, fstatSync(opened.fd).size);
      throw error;
    }
  }

  #open(segment: string): Opened {
    // The segment may be spilled between the look into the index and the opening: then it is looked up again.
    for (let tries = 0; ; tries += 1) {
      const place = this.locate(segment);
      if (!place) throw new PodlineError('PDL_SCRATCH_CORRUPT', `segment ${segment} is not in the scratch any more`);
      try {
        return { fd: openSync(place.path, 'r'), medium: place.medium };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        if (tries > 0)
          throw new PodlineError('PDL_SCRATCH_CORRUPT', `the file of segment ${segment} is missing`, {
            place: place.path,
            cause: error,
          });
      }
    }
  }
}

const tooShort = (segment: string, end: number, size: number): PodlineError =>
  new PodlineError(
    'PDL_SCRATCH_CORRUPT',
    `segment ${segment} ends at byte ${String(size)}, before ${String(end)} that a block refers to`,
  );
