/**
 * Copies between a scratch and a place, synchronous: it runs in `copy-thread.ts`, so that the agent stays responsive.
 *
 * Invariants
 *  1. A save is on the disk (fsync) before it is answered.
 *  2. What a save appended is taken back when it fails, so that a full disk is not fuller afterwards.
 *  3. A load writes nothing that does not match its checksum without saying so.
 */
import { closeSync, fdatasyncSync, fsyncSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { loadNative } from '../scratch/native.js';

/** Appends bytes [from, to) of an open file to `target`, at the same offset. */
export interface SaveJob {
  kind: 'save';
  sourceFd: number;
  target: string;
  from: number;
  to: number;
  /** Stretches whose crc32 is wanted: [offset, length]. */
  sums: [number, number][];
}
/** Copies a stored file to `target` and holds it against its pieces: [offset, length, crc32], which tile it. */
export interface LoadJob {
  kind: 'load';
  source: string;
  target: string;
  pieces: [number, number, number][];
}
export type CopyJob = SaveJob | LoadJob;
/** `PDL_…` of a load that does not match, else the errno of the system call. */
export type CopyAnswer = { ok: true; sums: number[] } | { ok: false; code: string; message: string };

const chunkBytes = 1024 * 1024;
/** Of one call into the kernel: between calls the thread can be ended. */
const rangeBytes = 16 * 1024 * 1024;

export function runCopyJob(job: CopyJob): CopyAnswer {
  try {
    return { ok: true, sums: job.kind === 'save' ? save(job) : load(job) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'UNKNOWN';
    return { ok: false, code, message: error instanceof Error ? error.message : String(error) };
  }
}

function save(job: SaveJob): number[] {
  const target = openSync(job.target, job.from === 0 ? 'w' : 'r+');
  try {
    const chunk = Buffer.allocUnsafe(chunkBytes);
    const native = loadNative().functions;
    for (let at = job.from; at < job.to;) {
      const left = job.to - at;
      const length =
        native?.copyRange(job.sourceFd, at, target, at, Math.min(rangeBytes, left)) ??
        copyChunk(job.sourceFd, target, at, chunk.subarray(0, Math.min(chunkBytes, left)));
      if (length === 0) throw new Error(`the segment ends at ${String(at)}, before what is committed of it`);
      at += length;
    }
    const sums = job.sums.map(([offset, length]) => sumOf(job.sourceFd, offset, length, chunk));
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

function copyChunk(source: number, target: number, at: number, chunk: Buffer): number {
  const length = readSync(source, chunk, 0, chunk.length, at);
  writeAll(target, chunk.subarray(0, length), at);
  return length;
}

function load(job: LoadJob): number[] {
  const source = openSync(job.source, 'r');
  try {
    const target = openSync(job.target, 'w');
    try {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      for (const [offset, length, wanted] of job.pieces) {
        let sum = 0;
        for (let at = offset; at < offset + length;) {
          const read = readSync(source, chunk, 0, Math.min(chunkBytes, offset + length - at), at);
          if (read === 0) throw new Mismatch(`${job.source} ends at byte ${String(at)}, before what the checkpoint says`);
          const part = chunk.subarray(0, read);
          sum = crc32(part, sum);
          writeAll(target, part, at);
          at += read;
        }
        if (sum !== wanted)
          throw new Mismatch(
            `${job.source} does not match its checksum in bytes ${String(offset)} to ${String(offset + length)}`,
          );
      }
      fsyncSync(target);
      return [];
    } finally {
      closeSync(target);
    }
  } finally {
    closeSync(source);
  }
}

class Mismatch extends Error {
  readonly code = 'PDL_CHECKPOINT_CORRUPT';
}

function sumOf(fd: number, offset: number, length: number, chunk: Buffer): number {
  let sum = 0;
  for (let at = offset; at < offset + length;) {
    const read = readSync(fd, chunk, 0, Math.min(chunk.length, offset + length - at), at);
    if (read === 0) throw new Error(`the segment ends at ${String(at)}, before what is committed of it`);
    sum = crc32(chunk.subarray(0, read), sum);
    at += read;
  }
  return sum;
}

function writeAll(fd: number, bytes: Uint8Array, at: number): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
}
