/**
 * Saves a stretch of a segment: from tmpfs to the disk of a place.
 *
 * The fast way is direct I/O from a mapping of the segment: the disk fetches the bytes from the pages that the stages wrote, so that no
 * processor copies them and no page cache holds them twice. Where that cannot be, they are read and written by the piece.
 *
 * Invariants
 *  1. What is answered is on the disk (fdatasync).
 *  2. What a save appended is taken back when it fails, so that a full disk is not fuller afterwards.
 *  3. Pages that were given back are never touched through a mapping: that would make them anew. A sparse segment is read by calls.
 */
import { closeSync, constants, fdatasyncSync, fstatSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';
import { alignedMemory, isRefusal, openDirect, pageAbove, pageBelow, readFully, writeButZeros, writeFully } from './direct.js';
import { crc32 } from '../scratch/checksum.js';
import { collectYoung } from '../platform/heap.js';
import { loadNative, type NativeFunctions } from '../scratch/native.js';

/** Makes `target` hold bytes [from, to) of an open segment at the same offsets, and ends it at `to`. */
export interface SaveJob {
  sourceFd: number;
  target: string;
  /** 0 makes the file; more appends to one that holds the same segment up to there. */
  from: number;
  to: number;
  /** Stretches of the segment may have been given back: they are read as zeros and become holes of the copy too. */
  sparse: boolean;
  /** Stretches whose crc32 is not known: [offset, length]. */
  sums: [number, number][];
}

/** The checksums that were wanted; or what the system call said, by its errno. */
export type SaveAnswer = { ok: true; sums: number[] } | { ok: false; code: string; message: string };

/**
 * Computes, and waits in the system, for long: it belongs into a thread (`saver.ts`). The answer is told as soon as it is true; what was
 * mapped is given back behind it, which takes the system a tenth of the time of the writing.
 */
export function runSave(job: SaveJob, tell: (answer: SaveAnswer) => void): void {
  const window = new Window(job.sourceFd);
  try {
    tell({ ok: true, sums: save(job, window) });
  } catch (error) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'UNKNOWN';
    tell({ ok: false, code, message: error instanceof Error ? error.message : String(error) });
  } finally {
    window.close();
  }
}

/** The one stretch of the segment that is mapped. */
class Window {
  #buffer: ArrayBuffer | undefined;

  constructor(private readonly fd: number) {}

  /** What was mapped before is not any more. */
  map(native: NativeFunctions, at: number, bytes: number): ArrayBuffer {
    this.close();
    return (this.#buffer = native.map(this.fd, at, bytes));
  }

  close(): void {
    if (this.#buffer === undefined) return;
    loadNative().functions?.unmap(this.#buffer);
    this.#buffer = undefined;
    collectYoung();
  }
}

/** Below this the calls of the fast way cost more than they save. */
const directBytesMin = 64 * 1024;
/** Mapped at once: seldom less than a segment, since the disk waits while one is given back for the next. */
const windowBytes = 1024 * 1024 * 1024;
/** Of one write: many requests for the disk at once, and between two the thread can be ended. */
const writeBytes = 16 * 1024 * 1024;
/** Small enough to stay in the processor's cache between read and write. */
const chunkBytes = 1024 * 1024;

/** The checksums that were asked for. Throws the system's error. */
function save(job: SaveJob, window: Window): number[] {
  const target = openSync(job.target, job.from === 0 ? 'w' : 'r+');
  try {
    const { size } = fstatSync(job.sourceFd);
    if (size < job.to) throw new Error(`the segment ends at ${String(size)}, before what is committed of it`);
    const sums = job.sums.map(([offset, length]) => sumOf(job.sourceFd, offset, length));
    if (!saveDirect(job, target, window)) saveBuffered(job, target);
    fdatasyncSync(target);
    return sums;
  } catch (error) {
    if (job.from === 0) unlinkSync(job.target);
    else ftruncateSync(target, job.from);
    throw error;
  } finally {
    closeSync(target);
  }
}

/** False when it cannot be done this way; the target is then to be written anew from `from` on. */
function saveDirect(job: SaveJob, target: number, window: Window): boolean {
  const native = loadNative().functions;
  if (native === undefined || job.sparse || job.to - job.from < directBytesMin) return false;
  const direct = openDirect(job.target, constants.O_RDWR);
  if (direct === undefined) return false;
  try {
    // The page in which the last save ended is written again, with the same bytes before them; what the last page has too much is cut off.
    const end = pageAbove(job.to);
    ftruncateSync(target, end);
    for (let at = pageBelow(job.from); at < end; at += windowBytes) {
      const buffer = window.map(native, at, Math.min(windowBytes, end - at));
      for (let done = 0; done < buffer.byteLength; done += writeBytes)
        writeFully(direct, new Uint8Array(buffer, done, Math.min(writeBytes, buffer.byteLength - done)), at + done);
    }
    ftruncateSync(target, job.to);
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  } finally {
    closeSync(direct);
  }
}

function saveBuffered(job: SaveJob, target: number): void {
  ftruncateSync(target, job.from);
  const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, job.to - job.from));
  for (let at = job.from; at < job.to;) {
    const length = readFully(job.sourceFd, chunk.subarray(0, job.to - at), at);
    if (length === 0) throw new Error(`the segment ends at ${String(at)}, before what is committed of it`);
    if (job.sparse) writeButZeros(target, chunk.subarray(0, length), at);
    else writeFully(target, chunk.subarray(0, length), at);
    at += length;
  }
  ftruncateSync(target, job.to);
}

function sumOf(fd: number, offset: number, length: number): number {
  const { memory, release } = alignedMemory(Math.min(chunkBytes, length));
  try {
    let sum = 0;
    for (let at = offset; at < offset + length;) {
      const part = memory.subarray(0, readFully(fd, memory.subarray(0, offset + length - at), at));
      if (part.length === 0) throw new Error(`the segment ends at ${String(at)}, before what is committed of it`);
      sum = crc32(part, sum);
      at += part.length;
    }
    return sum;
  } finally {
    release();
  }
}
