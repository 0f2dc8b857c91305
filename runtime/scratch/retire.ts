/**
 * Gives back what earlier writers of a stream had reserved and did not commit: they are fenced by now, or dead.
 *
 * A writer that gave out room in the file itself (`allocate`) holds a lock on it, which goes with its process and its maps. As long as
 * it holds it, its pages are its own to give back, as it does when it leaves the segment: were they taken from under a map, a write to
 * it could find no memory, and end its process. No writer goes on in a segment of another.
 */
import { closeSync, openSync } from 'node:fs';
import { forgetSegment, reserve, wholePages } from './accounts.js';
import { endOfStream } from './arrow/encode.js';
import type { IndexStore, SegmentEntry } from './index-store.js';
import { loadNative } from './native.js';
import type { SegmentFiles } from './segment-files.js';

export function retireSegments(place: { index: IndexStore; files: SegmentFiles; shardId: string }, stream: string): void {
  for (const { value } of place.index.list('segment', [place.shardId])) {
    if (value.stream === stream && value.reservedBytes > keptBytes(value)) retireSegment(place, value);
  }
}

function retireSegment(
  { index, files, shardId }: { index: IndexStore; files: SegmentFiles; shardId: string },
  segment: SegmentEntry,
): void {
  const fd = openIfThere(files.path(shardId, segment));
  try {
    if (fd !== undefined && loadNative().functions?.take(fd) === false) return;
    const isEmpty = index.transact((txn) => {
      const entry = txn.get('segment', shardId, segment.id);
      if (!entry) return false;
      if (entry.committedBytes === 0) forgetSegment(txn, shardId, entry);
      else reserve(txn, shardId, entry, Math.min(keptBytes(entry), entry.reservedBytes), Number.MAX_SAFE_INTEGER);
      return entry.committedBytes === 0;
    });
    if (isEmpty) files.remove(shardId, [segment]);
    else if (fd !== undefined) files.releaseTail(fd, keptBytes(segment));
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** What is committed, and room for an end mark. */
const keptBytes = ({ committedBytes, endedAt }: SegmentEntry): number =>
  wholePages(committedBytes + (endedAt === undefined || committedBytes === 0 ? 0 : endOfStream.length));

/** A segment that was reserved has no file yet, if its writer died at once. */
function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}
