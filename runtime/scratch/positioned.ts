/** Whole reads and writes at a position: short ones are gone on with, ends and full disks become errors that say where. */
import { read, readSync, writev, writevSync } from 'node:fs';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';

const writevAsync = promisify(writev);
const readAsync = promisify(read);

/** Below this a call into libuv's thread pool costs more than the write itself (about 50 µs). */
const asyncFromBytes = 256 * 1024;

/** Exactly `length` bytes in memory of their own. Throws RangeError where the file ends before. */
export function readExactly(fd: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const got = readSync(fd, bytes, done, length - done, offset + done);
    if (got === 0) throw new RangeError(`the file ends at byte ${String(offset + done)}, before ${String(offset + length)}`);
    done += got;
  }
  return bytes;
}

/**
 * Writes the pieces one after another from `offset` on, and returns the crc32 over them, which is computed meanwhile.
 * The pieces must not change until it resolves. Throws the system's error (ENOSPC); what was written then lies there, uncommitted.
 */
export async function writePieces(fd: number, pieces: readonly Uint8Array[], offset: number): Promise<number> {
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (bytes < asyncFromBytes) {
    let at = offset;
    for (let rest = [...pieces]; rest.length > 0;) {
      const wrote = writevSync(fd, rest, at);
      at += wrote;
      rest = restAfter(rest, wrote);
    }
    return checksumOf(pieces);
  }
  const writing = writeAll(fd, [...pieces], offset);
  // Held here so that a failure during the checksum is not reported as unhandled; it is awaited below.
  writing.catch(() => undefined);
  const checksum = checksumOf(pieces);
  await writing;
  return checksum;
}

async function writeAll(fd: number, pieces: Uint8Array[], offset: number): Promise<void> {
  let at = offset;
  for (let rest = pieces; rest.length > 0;) {
    const { bytesWritten } = await writevAsync(fd, rest, at);
    at += bytesWritten;
    rest = restAfter(rest, bytesWritten);
  }
}

function restAfter(pieces: Uint8Array[], written: number): Uint8Array[] {
  let left = written;
  for (const [index, piece] of pieces.entries()) {
    if (left < piece.length) return [piece.subarray(left), ...pieces.slice(index + 1)];
    left -= piece.length;
  }
  return [];
}

const checksumOf = (pieces: readonly Uint8Array[]): number => pieces.reduce((sum, piece) => crc32(piece, sum), 0);

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
    if (bytesRead === 0)
      throw new RangeError(`the file ends at byte ${String(offset + done)}, before ${String(offset + length)}`);
    sum = crc32(piece.subarray(0, bytesRead), sum);
    done += bytesRead;
  }
  return sum;
}
