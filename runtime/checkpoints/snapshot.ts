/** A stream of the scratch as it is committed at one moment, and which stretches of which segments it stands on. */
import type { BlockExtent, BlockRecord, BufferRef, StageProgress, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Scratch } from '../scratch/types.js';
import type { Piece } from './manifest.js';

export interface StreamSnapshot {
  record: StreamRecord;
  blocks: BlockRecord[];
  progress: StageProgress | undefined;
}

/** Reads of a stream while its stage commits; a few suffice, because each compares two moments microseconds apart. */
const triesMax = 64;

/**
 * Record, blocks and progress of one moment: read, and read again, until nothing was committed in between.
 * Undefined when the scratch has no such stream.
 */
export function snapshotStream(scratch: Scratch, shardId: string, stream: string): StreamSnapshot | undefined {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const before = scratch.stream(shardId, stream);
    if (before === undefined) return undefined;
    const progress = scratch.progress(shardId, stream);
    const blocks = scratch.blocks(shardId, stream);
    const record = scratch.stream(shardId, stream);
    const still =
      record?.blocks === before.blocks &&
      record.sealed === before.sealed &&
      record.lineage.digest === before.lineage.digest &&
      blocks.length === record.blocks &&
      scratch.progress(shardId, stream)?.consumed === progress?.consumed;
    if (still) return { record, blocks, progress };
  }
  throw new PodlineError('PDL_INTERNAL', `stream ${stream} of shard ${shardId} changes faster than it can be read`);
}

/** Every buffer that a block stands on. */
export function buffersOf(block: BlockRecord): BufferRef[] {
  const buffers = block.columns.flatMap((column) => [
    column.values,
    column.validity,
    column.offsets,
    column.dictionary?.offsets,
    column.dictionary?.values,
  ]);
  return [...buffers, block.payload, block.extent].filter((buffer) => buffer !== undefined);
}

/** For each segment that the blocks refer to: up to where. */
export function stretches(blocks: readonly BlockRecord[]): Map<string, number> {
  const ends = new Map<string, number>();
  for (const block of blocks) {
    for (const { segment, offset, length } of buffersOf(block)) {
      ends.set(segment, Math.max(ends.get(segment) ?? 0, offset + length));
    }
  }
  return ends;
}

/** The block with every buffer in the segment that `rename` gives for its own. */
export function renameSegments(block: BlockRecord, rename: (segment: string) => string): BlockRecord {
  const move = <T extends BufferRef>(buffer: T): T => ({ ...buffer, segment: rename(buffer.segment) });
  return {
    ...block,
    columns: block.columns.map((column) => ({
      ...column,
      values: move(column.values),
      ...(column.validity === undefined ? {} : { validity: move(column.validity) }),
      ...(column.offsets === undefined ? {} : { offsets: move(column.offsets) }),
      ...(column.dictionary === undefined
        ? {}
        : {
            dictionary: {
              length: column.dictionary.length,
              offsets: move(column.dictionary.offsets),
              values: move(column.dictionary.values),
            },
          }),
    })),
    ...(block.payload === undefined ? {} : { payload: move(block.payload) }),
    ...(block.extent === undefined ? {} : { extent: move(block.extent) }),
  };
}

/**
 * Tiles [from, to) with the extents that lie wholly in it; what lies between them comes out with crc32 0 and mark 0, to be
 * computed while it is copied.
 */
export function tile(from: number, to: number, extents: readonly Pick<BlockExtent, 'offset' | 'length' | 'crc32'>[]): Piece[] {
  const pieces: Piece[] = [];
  let at = from;
  const inside = extents
    .filter(({ offset, length }) => length > 0 && offset >= from && offset + length <= to)
    .sort((a, b) => a.offset - b.offset);
  for (const { offset, length, crc32 } of inside) {
    if (offset < at) continue;
    if (offset > at) pieces.push([at, offset - at, 0, 0]);
    pieces.push([offset, length, crc32, 1]);
    at = offset + length;
  }
  if (at < to) pieces.push([at, to - at, 0, 0]);
  return pieces;
}
