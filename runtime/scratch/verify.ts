/** Recomputes the checksums of blocks from the file of their segment. */
import type { BlockExtent } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { checksumRange } from './positioned.js';
import { withFile } from './segment-files.js';

/** Throws PDL_SCRATCH_CORRUPT with the first block that does not match, or whose bytes are not there. */
export async function verifyExtents(
  path: string,
  place: string,
  extents: readonly (BlockExtent & { seq: number })[],
): Promise<void> {
  const corrupt = (seq: number, what: string, cause?: unknown): PodlineError =>
    new PodlineError('PDL_SCRATCH_CORRUPT', `block ${String(seq)} ${what}`, { place: `${place}/${String(seq)}`, cause });
  const first = extents[0]?.seq ?? 0;
  const check = async (fd: number): Promise<void> => {
    for (const { seq, offset, length, crc32 } of extents) {
      const found = await checksumRange(fd, offset, length).catch((error: unknown) => {
        throw corrupt(seq, `cannot be read: ${String(error)}`, error);
      });
      if (found !== crc32) throw corrupt(seq, `has checksum ${hex(found)}, its record says ${hex(crc32)}`);
    }
  };
  try {
    await withFile(path, check);
  } catch (error) {
    if (error instanceof PodlineError) throw error;
    throw corrupt(first, `lies in ${path}, which cannot be opened`, error);
  }
}

const hex = (checksum: number): string => checksum.toString(16).padStart(8, '0');
