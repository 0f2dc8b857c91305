/** Whole reads and writes at a position: short ones are gone on with, ends and full disks become errors that say where. */
import { read, readSync, writev, writevSync } from 'node:fs';
import { promisify } from 'node:util';
import { crc32 } from './checksum.js';

const writevAsync = promisify(writev) as (
  fd: number,
  pieces: readonly Uint8Array[],
  at: number,
) => Promise<{ bytesWritten: number }>;
const readAsync = promisify(read);

/** Below this a call into libuv's thread pool costs more than the write itself (about 50 µs). */
const asyncFromBytes = 256 * 1024;

/** Exactly `length` bytes in memory of their own. Throws RangeError where the file ends before. */
export function readExactly(fd: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const got = readSync(fd, bytes, done, length - done, offset + done);
    if (got === 0) throw endsBefore(offset + done, offset + length);
    done += got;
  }
  return bytes;
}

/** Writes the pieces one after another from `offset` on. Throws the system's error (ENOSPC); what was written then lies there. */
export function writePieces(fd: number, pieces: readonly Uint8Array[], offset: number): void {
  let at = offset;
  for (let rest = pieces; rest.length > 0;) {
    const wrote = writevSync(fd, rest, at);
    at += wrote;
    rest = restAfter(rest, wrote);
  }
}

/** The same without holding up the thread. The pieces must not change until it resolves. */
export async function writePiecesAside(fd: number, pieces: readonly Uint8Array[], offset: number): Promise<void> {
  let at = offset;
  for (let rest = pieces; rest.length > 0;) {
    const { bytesWritten } = await writevAsync(fd, rest, at);
    at += bytesWritten;
    rest = restAfter(rest, bytesWritten);
  }
}

function restAfter(pieces: readonly Uint8Array[], written: number): readonly Uint8Array[] {
  let left = written;
  for (const [index, piece] of pieces.entries()) {
    if (left < piece.length) return [piece.subarray(left), ...pieces.slice(index + 1)];
    left -= piece.length;
  }
  return [];
}

export const checksumOf = (pieces: readonly Uint8Array[]): number => pieces.reduce((sum, piece) => crc32(piece, sum), 0);

/** The same as `checksumRange`, holding up the thread. */
export function checksumRangeNow(fd: number, offset: number, length: number): number {
  const piece = Buffer.allocUnsafe(Math.min(length, 1024 * 1024));
  let sum = 0;
  for (let done = 0; done < length;) {
    const got = readSync(fd, piece, 0, Math.min(piece.length, length - done), offset + done);
    if (got === 0) throw endsBefore(offset + done, offset + length);
    sum = crc32(piece.subarray(0, got), sum);
    done += got;
  }
  return sum;
}

/** crc32 of a stretch of a file; throws RangeError where the file ends before. */
export async function checksumRange(fd: number, offset: number, length: number): Promise<number> {
  const piece = Buffer.allocUnsafe(Math.min(length, 4 * 1024 * 1024));
  let sum = 0;
  for (let done = 0; done < length;) {
    const wanted = Math.min(piece.length, length - done);
    const bytesRead =
      wanted < asyncFromBytes
        ? readSync(fd, piece, 0, wanted, offset + done)
        : (await readAsync(fd, piece, 0, wanted, offset + done)).bytesRead;
    if (bytesRead === 0) throw endsBefore(offset + done, offset + length);
    sum = crc32(piece.subarray(0, bytesRead), sum);
    done += bytesRead;
  }
  return sum;
}

const endsBefore = (at: number, end: number): RangeError =>
  new RangeError(`the file ends at byte ${String(at)}, before ${String(end)}`);
