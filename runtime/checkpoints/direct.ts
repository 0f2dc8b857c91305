/**
 * Direct I/O (O_DIRECT): between a file and memory without the page cache. What it needs of alignment, and where the memory comes from.
 *
 * A checkpoint passes the page cache by because it would be copied into it, would push other things out of it, and is read only when
 * a line was lost. Not every file system can do it: whoever asks goes on with buffered calls then.
 */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { loadNative } from '../scratch/native.js';

/** Offsets, lengths and addresses of direct I/O are multiples of this. */
export const pageBytes = 4096;
export const pageBelow = (bytes: number): number => Math.floor(bytes / pageBytes) * pageBytes;
export const pageAbove = (bytes: number): number => Math.ceil(bytes / pageBytes) * pageBytes;

/** Undefined where the file system has no direct I/O. Throws as `openSync` does for every other reason. */
export function openDirect(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags | constants.O_DIRECT);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** Whether a call failed because this file or this memory is not made for direct I/O; the buffered call may succeed. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && ['EINVAL', 'EFAULT', 'EOPNOTSUPP', 'ENODEV'].includes(String(error.code));

/** Memory at an address that direct I/O takes, where the native part is there; ordinary memory else. `release` it once. */
export function alignedMemory(bytes: number): { memory: Uint8Array; aligned: boolean; release: () => void } {
  const native = loadNative().functions;
  if (native === undefined) return { memory: new Uint8Array(bytes), aligned: false, release: () => undefined };
  // A private map of /dev/zero is fresh memory that begins on a page.
  const zero = openSync('/dev/zero', 'r');
  try {
    const buffer = native.map(zero, 0, bytes);
    return { memory: new Uint8Array(buffer), aligned: true, release: () => void native.unmap(buffer) };
  } finally {
    closeSync(zero);
  }
}

/** As much of `into` as the file has from `at` on; less only at its end. */
export function readFully(fd: number, into: Uint8Array, at: number): number {
  let done = 0;
  while (done < into.length) {
    const read = readSync(fd, into, done, into.length - done, at + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}

export function writeFully(fd: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
}

/** Writes bytes of a file that are at `at` in it; whole pages of zeros are left out, to be holes that read as zeros. */
export function writeButZeros(fd: number, bytes: Uint8Array, at: number): void {
  let from = 0;
  for (let page = 0, next: number; page < bytes.length; page = next) {
    next = Math.min(bytes.length, pageBelow(at + page) + pageBytes - at);
    if (!isZero(bytes.subarray(page, next))) continue;
    writeFully(fd, bytes.subarray(from, page), at + from);
    from = next;
  }
  writeFully(fd, bytes.subarray(from), at + from);
}

const zeros = Buffer.alloc(pageBytes);
const isZero = (page: Uint8Array): boolean => zeros.compare(page, 0, page.length, 0, page.length) === 0;
