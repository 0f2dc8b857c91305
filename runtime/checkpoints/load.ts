/**
 * Loads a stored file: from the disk of a place into a segment of the scratch, checked on the way.
 *
 * By direct I/O into a few chunks of memory in turn: while the disk fills some of them, one is summed, and others are written to the
 * scratch; the speed is that of the disk. Reading and writing happen in the system's threads, and summing a chunk holds the caller up
 * for 0.2 ms (1 ms without the native part), so that no thread of its own has to be started for it, which would take 50 ms.
 *
 * Invariants
 *  1. It resolves only when every piece matches its checksum; whoever called it commits nothing of the target else.
 *  2. The memory is given back when no call of the system uses it any more.
 */
import { close, constants, open, read, write } from 'node:fs';
import { promisify } from 'node:util';
import { crc32 } from '../scratch/checksum.js';
import { alignedMemory, isRefusal, openDirect, writeButZeros } from './direct.js';

/** Chunks on their way: enough to keep the disk busy while others are summed and written. 4 of 2 MiB were as fast as more. */
const chunksInFlight = 4;
const chunkBytes = 2 * 1024 * 1024;

const readAsync = promisify(read);
const writeAsync = promisify(write);
const openAsync = promisify(open);
const closeAsync = promisify(close);

/** Copies a stored file into `target`, which exists, and holds it against the pieces that tile it. */
export interface LoadJob {
  source: string;
  target: string;
  /** [offset, length, crc32], in order and without gaps from 0 on. */
  pieces: readonly (readonly [offset: number, length: number, crc32: number, ...rest: unknown[]])[];
  /** Stretches of it were given back: pages of zeros become holes of the target. */
  sparse: boolean;
}

/** Rejects with PDL_CHECKPOINT_CORRUPT (as `code`), or the system's error. */
export async function load(job: LoadJob): Promise<void> {
  const { memory, aligned, release } = alignedMemory(chunksInFlight * chunkBytes);
  const target = await openAsync(job.target, 'r+');
  try {
    if (!aligned || !(await loadDirect(job, target, memory))) await loadBuffered(job, target, memory);
  } finally {
    release();
    await closeAsync(target);
  }
}

/** False when it cannot be done this way; what was written till then is to be written anew. */
async function loadDirect(job: LoadJob, target: number, memory: Uint8Array): Promise<boolean> {
  const source = openDirect(job.source, constants.O_RDONLY);
  if (source === undefined) return false;
  try {
    await copy(job, source, target, memory);
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  } finally {
    await closeAsync(source);
  }
}

async function loadBuffered(job: LoadJob, target: number, memory: Uint8Array): Promise<void> {
  const source = await openAsync(job.source, 'r');
  try {
    await copy(job, source, target, memory);
  } finally {
    await closeAsync(source);
  }
}

async function copy(job: LoadJob, source: number, target: number, memory: Uint8Array): Promise<void> {
  const bytes = job.pieces.reduce((end, [, length]) => end + length, 0);
  const chunks = Math.ceil(bytes / chunkBytes);
  const sums = new PieceSums(job);
  const slotOf = (chunk: number): Uint8Array => memory.subarray((chunk % chunksInFlight) * chunkBytes).subarray(0, chunkBytes);
  const fill = (chunk: number): Promise<number> =>
    chunk < chunks ? held(readChunk(source, slotOf(chunk), chunk * chunkBytes)) : Promise.resolve(0);
  /** Of each slot: how much of its next chunk is there. */
  const filling = Array.from({ length: chunksInFlight }, (_, chunk) => fill(chunk));
  try {
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      const at = chunk * chunkBytes;
      const has = (await filling[chunk % chunksInFlight]) ?? 0;
      const wanted = Math.min(chunkBytes, bytes - at);
      if (has < wanted) throw new Mismatch(`${job.source} ends at byte ${String(at + has)}, before what the checkpoint says`);
      const part = slotOf(chunk).subarray(0, wanted);
      sums.add(part);
      filling[chunk % chunksInFlight] = held(writePart(job, target, part, at).then(() => fill(chunk + chunksInFlight)));
    }
    await Promise.all(filling);
  } finally {
    // Invariant 2.
    await Promise.allSettled(filling);
  }
}

/** Of several calls under way one may fail before anybody waits for it: that is no unhandled rejection. */
function held<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Less than the chunk only at the end of the file. */
async function readChunk(source: number, into: Uint8Array, at: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await readAsync(source, into, done, into.length - done, at + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

async function writePart({ sparse }: LoadJob, target: number, bytes: Uint8Array, at: number): Promise<void> {
  if (sparse) {
    writeButZeros(target, bytes, at);
    return;
  }
  for (let done = 0; done < bytes.length;)
    done += (await writeAsync(target, bytes, done, bytes.length - done, at + done)).bytesWritten;
}

/** Sums up what comes in, in order, and holds each piece against its checksum when it is whole. */
class PieceSums {
  #piece = 0;
  #done = 0;
  #sum = 0;

  constructor(private readonly job: LoadJob) {}

  /** Throws Mismatch. */
  add(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const piece = this.job.pieces[this.#piece];
      if (piece === undefined) return;
      const [offset, length, wanted] = piece;
      const part = bytes.subarray(at, at + length - this.#done);
      this.#sum = crc32(part, this.#sum);
      this.#done += part.length;
      at += part.length;
      if (this.#done < length) return;
      if (this.#sum !== wanted)
        throw new Mismatch(
          `${this.job.source} does not match its checksum in bytes ${String(offset)} to ${String(offset + length)}`,
        );
      this.#piece += 1;
      this.#done = 0;
      this.#sum = 0;
    }
  }
}

class Mismatch extends Error {
  readonly code = 'PDL_CHECKPOINT_CORRUPT';
}
