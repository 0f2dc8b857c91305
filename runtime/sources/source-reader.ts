/**
 * One source, opened for reading: a file, an http(s) address or bytes in memory, behind one face that counts.
 *
 * Owns: the handle, the counting of bytes by medium and of passes over the content. Leaves formats to the readers.
 *
 * Invariants
 *  1. Every byte that is read is counted once, at the medium that it came from; a file's is asked of its file system when it is opened.
 *  2. `passes` counts how often the content was begun anew: 1 for a reader that goes forward only, whatever
 *     footers and headers (`metadata`) it looked at on the side.
 *  3. A read gives exactly the range that was asked for, or throws: a source that shrinks is told, not guessed at.
 *  4. An identity is size and time of change (file), or ETag, Last-Modified and length (http).
 */
import { open, realpath, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { noBytes, type BytesByMedium, type Medium } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { mediumOf } from '../platform/medium-of.js';

/** Content is streamed in pieces of this size: large enough that a call costs nothing against it, small enough to hold two. */
export const pieceBytes = 1024 * 1024;

export interface SourceStat {
  /** Absent where a server does not say. */
  sizeBytes: number | undefined;
  identity: string;
}

export interface SourceReader {
  readonly uri: string;
  /** How errors call it: the file's name, or the address without query and credentials. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly identity: string;
  readonly counts: ReadCounts;
  /** Exactly the bytes [from, to). Throws PDL_SOURCE_UNREADABLE when the source is shorter. */
  readAt(from: number, to: number, purpose?: 'content' | 'metadata'): Promise<Buffer>;
  /** The bytes [from, to) in pieces, in order; a piece is valid until the next one is asked for. */
  stream(from: number, to: number): AsyncIterable<Buffer>;
  /** Where there is something better than gathering pieces: the same in pieces of exactly `bytes`, the last one aside. */
  blocks?(from: number, to: number, bytes: number): AsyncIterable<Buffer>;
  /** Idempotent. */
  close(): Promise<void>;
}

export class ReadCounts {
  readonly bytes: BytesByMedium = noBytes();
  #passes = 0;
  #highest = -1;

  get passes(): number {
    return this.#passes;
  }

  /** Bytes [from, to) came from `medium`. */
  count(medium: Medium, from: number, to: number, purpose: 'content' | 'metadata' = 'content'): void {
    if (to <= from) return;
    this.bytes[medium].read += to - from;
    if (purpose === 'metadata') return;
    if (from < this.#highest || this.#passes === 0) {
      this.#passes += 1;
      this.#highest = to;
    } else {
      this.#highest = Math.max(this.#highest, to);
    }
  }
}

export const fileIdentity = (found: { size: bigint; mtimeNs: bigint }): string =>
  `size ${String(found.size)}, changed ${String(found.mtimeNs / 1_000_000n)}`;

export function fileError(uri: string, thrown: unknown): PodlineError {
  if (thrown instanceof PodlineError) return thrown;
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new PodlineError('PDL_SOURCE_MISSING', `${uri} is not there`, { place: uri, cause: thrown });
  if (code === 'EACCES' || code === 'EPERM') {
    return new PodlineError('PDL_SOURCE_UNREADABLE', `${uri} may not be read`, {
      place: uri,
      cause: thrown,
      hint: 'Give the user of Podline the right to read it.',
    });
  }
  return PodlineError.from(thrown, 'PDL_SOURCE_UNREADABLE', { place: uri });
}

export function shorter(name: string, wanted: number, got: number): PodlineError {
  return new PodlineError(
    'PDL_SOURCE_UNREADABLE',
    `${name} ends at byte ${String(got)}; bytes up to ${String(wanted)} were expected`,
    {
      place: name,
      hint: 'The source is truncated or was replaced while it was read: restore it and submit it again.',
    },
  );
}

/** Blocks out of pieces of any size, each valid until the next one is asked for. */
export async function* gatherBlocks(pieces: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  const block = Buffer.alloc(bytes);
  let filled = 0;
  for await (const piece of pieces) {
    for (let used = 0; used < piece.length;) {
      const copied = piece.copy(block, filled, used);
      used += copied;
      filled += copied;
      if (filled < bytes) continue;
      yield block;
      filled = 0;
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}

/** A path to what is open, whatever its name leads to by now, where the system has one. */
const placeOf = ({ fd }: FileHandle, uri: string): string => (process.platform === 'linux' ? `/proc/self/fd/${String(fd)}` : uri);

/** A file. Reads beside one another are allowed. */
export class FileSource implements SourceReader {
  readonly name: string;
  readonly counts = new ReadCounts();
  #closed: Promise<void> | undefined;

  private constructor(
    readonly uri: string,
    private readonly handle: FileHandle,
    readonly sizeBytes: number,
    readonly identity: string,
    /** What its bytes come from. */
    readonly medium: 'memory' | 'ssd',
    private readonly signal: AbortSignal | undefined,
  ) {
    this.name = basename(uri);
  }

  static async open(uri: string, signal?: AbortSignal): Promise<FileSource> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(uri, 'r');
      const found = await handle.stat({ bigint: true });
      if (!found.isFile()) throw new PodlineError('PDL_SOURCE_UNREADABLE', `${uri} is not a file`, { place: uri });
      const medium = await mediumOf(placeOf(handle, uri));
      return new FileSource(uri, handle, Number(found.size), fileIdentity(found), medium, signal);
    } catch (thrown) {
      await handle?.close();
      throw fileError(uri, thrown);
    }
  }

  /** Where what is open lies now, whatever its path leads to by now; exact where the system tells it (Linux). */
  realPath(): Promise<string> {
    return realpath(placeOf(this.handle, this.uri));
  }

  async readAt(from: number, to: number, purpose: 'content' | 'metadata' = 'content'): Promise<Buffer> {
    // Not from Buffer's pool: readers put typed arrays over it, which must be aligned.
    const into = Buffer.from(new ArrayBuffer(Math.max(to - from, 0)));
    const got = await this.#fill(into, from);
    this.counts.count(this.medium, from, from + got, purpose);
    if (got < into.length) throw shorter(this.name, to, from + got);
    return into;
  }

  async *stream(from: number, to: number): AsyncGenerator<Buffer> {
    const buffer = Buffer.from(new ArrayBuffer(Math.min(pieceBytes, Math.max(to - from, 0))));
    for (let at = from; at < to;) {
      const piece = buffer.subarray(0, Math.min(buffer.length, to - at));
      const got = await this.#fill(piece, at);
      this.counts.count(this.medium, at, at + got);
      if (got < piece.length) throw shorter(this.name, to, at + got);
      at += got;
      yield piece;
    }
  }

  /** The next block is read while the caller works on the one that it was given. */
  async *blocks(from: number, to: number, bytes: number): AsyncGenerator<Buffer> {
    const buffers = [Buffer.alloc(0), Buffer.alloc(0)];
    const read = async (at: number, number: number): Promise<Buffer> => {
      const length = Math.min(bytes, to - at);
      const had = buffers[number & 1];
      const buffer = had?.length === length ? had : Buffer.from(new ArrayBuffer(length));
      buffers[number & 1] = buffer;
      const got = await this.#fill(buffer, at);
      this.counts.count(this.medium, at, at + got);
      if (got < length) throw shorter(this.name, to, at + got);
      return buffer;
    };
    let ahead = from < to ? read(from, 0) : undefined;
    try {
      for (let at = from, number = 1; ahead !== undefined; number++) {
        const block: Buffer = await ahead;
        at += block.length;
        ahead = at < to ? read(at, number) : undefined;
        // It is awaited in the next round, or below.
        ahead?.catch(() => undefined);
        yield block;
      }
    } finally {
      await ahead?.catch(() => undefined);
    }
  }

  /** Exactly as many bytes as there is room for. */
  async readInto(into: Buffer, from: number): Promise<void> {
    const got = await this.#fill(into, from);
    this.counts.count(this.medium, from, from + got);
    if (got < into.length) throw shorter(this.name, from + into.length, from + got);
  }

  async #fill(into: Buffer, from: number): Promise<number> {
    let got = 0;
    try {
      while (got < into.length) {
        this.signal?.throwIfAborted();
        const { bytesRead } = await this.handle.read(into, got, into.length - got, from + got);
        if (bytesRead === 0) break;
        got += bytesRead;
      }
    } catch (thrown) {
      if (this.signal?.aborted === true) throw thrown;
      throw fileError(this.uri, thrown);
    }
    return got;
  }

  close(): Promise<void> {
    this.#closed ??= this.handle.close();
    return this.#closed;
  }
}

/** Bytes that are in memory already, e.g. an inline payload: reading them costs no medium. */
export class BytesSource implements SourceReader {
  readonly counts = new ReadCounts();
  readonly sizeBytes: number;
  readonly identity: string;

  constructor(
    readonly uri: string,
    private readonly bytes: Buffer,
  ) {
    this.sizeBytes = bytes.length;
    this.identity = `inline ${String(bytes.length)}`;
  }

  get name(): string {
    return this.uri;
  }

  readAt(from: number, to: number): Promise<Buffer> {
    if (to > this.sizeBytes) return Promise.reject(shorter(this.name, to, this.sizeBytes));
    return Promise.resolve(
      Buffer.from(this.bytes.buffer.slice(this.bytes.byteOffset + from, this.bytes.byteOffset + to) as ArrayBuffer),
    );
  }

  async *stream(from: number, to: number): AsyncGenerator<Buffer> {
    for (let at = from; at < to; at += pieceBytes) yield this.bytes.subarray(at, Math.min(at + pieceBytes, to));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
