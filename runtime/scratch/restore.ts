/** Brings the segments of a restored stream into the scratch, in memory as far as there is room, the rest on SSD. */
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlockRecord, SegmentRecord, StageProgress, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { forgetSegment, reserve, wholePages } from './accounts.js';
import { endOfStream } from './arrow/encode.js';
import { arrowContainer } from './arrow/walk.js';
import type { IndexStore, SegmentEntry } from './index-store.js';
import { asFull, sizeOf, type SegmentFiles } from './segment-files.js';

export interface RestoredStream {
  stream: StreamRecord;
  segments: SegmentRecord[];
  blocks: BlockRecord[];
  progress?: StageProgress | undefined;
}

export interface Placement {
  index: IndexStore;
  files: SegmentFiles;
  sizeBytesMax: number;
  shardId: string;
  segments: readonly SegmentRecord[];
  place: (segment: SegmentRecord, path: string) => Promise<void>;
}

/**
 * Places each segment that the scratch does not hold already (a name never means other bytes). The entries are reserved but not
 * committed: the caller puts them into the index with the blocks, or calls `undo`.
 */
export async function placeSegments(placement: Placement): Promise<{ entries: SegmentEntry[]; undo: () => void }> {
  const { index, files, shardId } = placement;
  const reserved: SegmentEntry[] = [];
  const undo = (): void => {
    index.transact((txn) => {
      for (const entry of reserved) forgetSegment(txn, shardId, entry);
    });
    files.remove(shardId, reserved);
  };
  try {
    const entries: SegmentEntry[] = [];
    for (const segment of placement.segments) {
      const held = index.get('segment', shardId, segment.id);
      if (held && held.committedBytes >= segment.committedBytes) continue;
      if (held) {
        throw new PodlineError(
          'PDL_SCRATCH_CORRUPT',
          `segment ${segment.id} is in the scratch with ${String(held.committedBytes)} bytes, to be restored with ${String(segment.committedBytes)}`,
          { place: shardId },
        );
      }
      const entry = reserveSomewhere(placement, segment);
      reserved.push(entry);
      const { committedBytes } = segment;
      const ended = await placeFile(placement, segment, entry);
      entries.push({ ...entry, committedBytes, ...(ended && { endedAt: committedBytes }) });
    }
    return { entries, undo };
  } catch (error) {
    undo();
    throw error;
  }
}

function reserveSomewhere({ index, sizeBytesMax, shardId }: Placement, segment: SegmentRecord): SegmentEntry {
  const bytes = wholePages(segment.committedBytes + endOfStream.length);
  const fresh = { id: segment.id, stream: segment.stream, committedBytes: 0, reservedBytes: 0 };
  return index.transact((txn) => {
    try {
      return reserve(txn, shardId, { ...fresh, place: 'dir' }, bytes, sizeBytesMax);
    } catch {
      return reserve(txn, shardId, { ...fresh, place: 'spill' }, bytes, sizeBytesMax);
    }
  });
}

/** Returns whether the file is ended: a stream gets its end mark anew, a file has its footer within the committed bytes. */
async function placeFile({ files, shardId, place }: Placement, segment: SegmentRecord, entry: SegmentEntry): Promise<boolean> {
  const path = files.path(shardId, entry);
  await mkdir(dirname(path), { recursive: true });
  try {
    await place({ ...files.record(shardId, entry), committedBytes: segment.committedBytes, ended: segment.ended }, path);
    const size = sizeOf(path) ?? 0;
    if (size < segment.committedBytes) {
      throw new PodlineError(
        'PDL_SCRATCH_CORRUPT',
        `segment ${segment.id} was restored with ${String(size)} of ${String(segment.committedBytes)} bytes`,
        { place: path },
      );
    }
    if (segment.ended && arrowContainer(path) === 'stream') {
      const file = await open(path, 'r+');
      try {
        await file.write(endOfStream, 0, endOfStream.length, segment.committedBytes);
      } finally {
        await file.close();
      }
    }
    return segment.ended;
  } catch (error) {
    throw asFull(error, path);
  }
}
