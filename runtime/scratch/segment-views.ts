/**
 * Bytes of segments in memory: views of private maps, or copies.
 *
 * Owns: the maps of one reader, from the first look at a stretch of a segment to `settle` or `close`. A segment is mapped in windows,
 * a large buffer by itself: page tables and addresses are held for what is looked at, not for all that there is.
 *
 * Invariants
 *  1. Only committed bytes are reached: a buffer ends where the segment was committed to when it was mapped.
 *  2. A map is made only where its file has bytes: beyond the end of a file lies SIGBUS.
 *  3. A view stays what it is until the next `settle` or `close`; then it holds zeros and reaches no file.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { PodlineError } from '../contracts/errors.js';
import type { NativeFunctions } from './native.js';
import { readExactly } from './positioned.js';

export interface View {
  buffer: ArrayBufferLike;
  byteOffset: number;
}
export interface SegmentPlace {
  path: string;
  medium: 'memory' | 'ssd';
  committedBytes: number;
}

/** [from, to) of a segment. */
interface Window {
  buffer: ArrayBuffer;
  from: number;
  to: number;
  medium: 'memory' | 'ssd';
  /** Settles before it was last looked into. */
  usedAt: number;
  isGone?: true;
}
interface Opened {
  fd: number;
  place: SegmentPlace;
}

/** File descriptors that a reader keeps open. */
const filesOpenMax = 64;
/** Stretch of a segment that is mapped at once for small buffers; one that does not lie in one is mapped by itself. */
const windowBytes = 8 * 1024 * 1024;
/** A buffer of this size is mapped by itself: a map costs a few µs, and V8 walks over its young buffers the more often the more they hold. */
const aloneFromBytes = 256 * 1024;
/** Mapped after a `settle`, at most. */
const mappedBytesMax = 64 * 1024 * 1024;

export class SegmentViews {
  /** By segment and first byte. */
  readonly #windows = new Map<string, Map<number, Window>>();
  /** Windows in whose place larger ones came while they were in use. */
  #outgrown: Window[] = [];
  #mappedBytes = 0;
  #settles = 0;
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
    const window = this.#windowOf(this.native, segment, offset, offset + length);
    if (!window) return this.#copy(segment, offset, length);
    window.usedAt = this.#settles;
    this.read[window.medium] += length;
    return { buffer: window.buffer, byteOffset: offset - window.from };
  }

  /** Opens and maps what a view of it will need. */
  touch(segment: string, offset: number, length: number): void {
    if (this.#closed || length === 0) return;
    if (this.native === undefined) this.#file(segment, offset + length);
    else this.#windowOf(this.native, segment, offset, offset + length);
  }

  /** Nobody looks at a view any more that was given out before: what is mapped beyond a bound is unmapped, the oldest first. */
  settle(): void {
    this.#settles += 1;
    for (const window of this.#outgrown.splice(0)) this.#unmap(window);
    if (this.#mappedBytes <= mappedBytesMax) return;
    const all = [...this.#windows.values()].flatMap((windows) => [...windows.values()]);
    for (const window of all.sort((a, b) => a.usedAt - b.usedAt)) {
      if (this.#mappedBytes <= mappedBytesMax) break;
      this.#unmap(window);
    }
    for (const [segment, windows] of this.#windows) {
      for (const [from, window] of windows) if (window.isGone === true) windows.delete(from);
      if (windows.size === 0) this.#windows.delete(segment);
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const window of this.#outgrown) this.#unmap(window);
    for (const windows of this.#windows.values()) for (const window of windows.values()) this.#unmap(window);
    for (const { fd } of this.#opened.values()) closeSync(fd);
    this.#outgrown = [];
    this.#windows.clear();
    this.#opened.clear();
  }

  #unmap(window: Window): void {
    this.#mappedBytes -= window.to - window.from;
    window.isGone = true;
    this.native?.unmap(window.buffer);
  }

  /** The window that holds [offset, end); undefined when the system has no more maps to give. */
  #windowOf(native: NativeFunctions, segment: string, offset: number, end: number): Window | undefined {
    const base = offset - (offset % windowBytes);
    const isAlone = end - offset >= aloneFromBytes || end > base + windowBytes;
    const from = isAlone ? offset : base;
    const windows = this.#windows.get(segment);
    const known = windows?.get(from);
    if (known && end <= known.to) return known;
    const window = this.#map(native, segment, from, end, isAlone ? end : base + windowBytes);
    if (!window) return undefined;
    this.#mappedBytes += window.to - from;
    if (known) this.#outgrown.push(known);
    if (windows) windows.set(from, window);
    else this.#windows.set(segment, new Map([[from, window]]));
    return window;
  }

  /** Maps from `from` on what is committed by now, up to `limit`; that reaches to `end` at least. */
  #map(native: NativeFunctions, segment: string, from: number, end: number, limit: number): Window | undefined {
    const { fd, place } = this.#file(segment, end);
    const { committedBytes, medium } = place;
    const { size } = fstatSync(fd);
    if (size < committedBytes) throw tooShort(segment, committedBytes, size);
    const to = Math.min(committedBytes, Math.max(limit, end));
    try {
      return { buffer: native.map(fd, from, to - from), from, to, medium, usedAt: this.#settles };
    } catch {
      return undefined;
    }
  }

  #copy(segment: string, offset: number, length: number): View {
    if (length === 0) return { buffer: new ArrayBuffer(0), byteOffset: 0 };
    const { fd, place } = this.#file(segment, offset + length);
    try {
      const { buffer } = readExactly(fd, offset, length);
      this.read[place.medium] += length;
      return { buffer, byteOffset: 0 };
    } catch (error) {
      if (error instanceof RangeError) throw tooShort(segment, offset + length, fstatSync(fd).size);
      throw error;
    }
  }

  /** The open file of a segment that is committed up to `end` at least. */
  #file(segment: string, end: number): Opened {
    let opened = this.#opened.get(segment);
    this.#opened.delete(segment);
    if (opened && end > opened.place.committedBytes) {
      closeSync(opened.fd);
      opened = undefined;
    }
    opened ??= this.#open(segment, end);
    for (const [oldest, { fd }] of this.#opened) {
      if (this.#opened.size < filesOpenMax) break;
      closeSync(fd);
      this.#opened.delete(oldest);
    }
    this.#opened.set(segment, opened); // last used, last to be closed
    return opened;
  }

  /** Opens a segment that is committed up to `end` at least. */
  #open(segment: string, end: number): Opened {
    // The segment may be spilled between the look into the index and the opening: then it is looked up again.
    for (let tries = 0; ; tries += 1) {
      const place = this.locate(segment);
      if (!place) throw new PodlineError('PDL_SCRATCH_CORRUPT', `segment ${segment} is not in the scratch any more`);
      if (place.committedBytes < end) throw tooShort(segment, end, place.committedBytes);
      try {
        return { fd: openSync(place.path, 'r'), place };
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
