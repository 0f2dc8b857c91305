/** Moves a segment to `spillDir`: copied, then switched in the index, then removed; at any moment one whole file is the one that counts. */
import { constants } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { reserve } from './accounts.js';
import type { IndexStore, SegmentEntry } from './index-store.js';
import { asFull, removeFile, type SegmentFiles } from './segment-files.js';

/** Returns the bytes freed in `dir`. Throws PDL_SCRATCH_FULL when the disk below `spillDir` is full; nothing is changed then. */
export async function spillSegment(
  index: IndexStore,
  files: SegmentFiles,
  shardId: string,
  segment: SegmentEntry,
): Promise<number> {
  const from = files.path(shardId, segment);
  const to = files.path(shardId, { id: segment.id, place: 'spill' });
  await mkdir(dirname(to), { recursive: true });
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  } catch (error) {
    removeFile(to);
    throw asFull(error, to);
  }
  const spilled = index.transact((txn) => {
    const current = txn.get('segment', shardId, segment.id);
    if (current?.place !== 'dir') return false;
    reserve(txn, shardId, current, 0, Number.MAX_SAFE_INTEGER);
    reserve(txn, shardId, { ...current, place: 'spill', reservedBytes: 0 }, current.reservedBytes, Number.MAX_SAFE_INTEGER);
    return true;
  });
  removeFile(spilled ? from : to);
  return spilled ? segment.reservedBytes : 0;
}
