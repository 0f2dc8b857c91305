/** A stream of the scratch as it is committed at one moment, and which stretches of which segments it stands on. */
import type {
  ArrayRef,
  BlockExtent,
  BlockRecord,
  BufferRef,
  ColumnRef,
  StageProgress,
  StreamRecord,
} from '../contracts/block.js';
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
  const buffers: BufferRef[] = [];
  moveBuffers(block, (buffer) => {
    buffers.push(buffer);
    return buffer;
  });
  return buffers;
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
export const renameSegments = (block: BlockRecord, rename: (segment: string) => string): BlockRecord =>
  moveBuffers(block, (buffer) => ({ ...buffer, segment: rename(buffer.segment) }));

/** The block with every buffer that it names replaced by what `move` makes of it; the one place that knows where they all are. */
function moveBuffers(block: BlockRecord, move: <T extends BufferRef>(buffer: T) => T): BlockRecord {
  const array = <T extends ArrayRef>(from: T): T => ({
    ...from,
    values: move(from.values),
    ...(from.validity && { validity: move(from.validity) }),
    ...(from.offsets && { offsets: move(from.offsets) }),
  });
  const column = (from: ColumnRef): ColumnRef => ({
    ...array(from),
    ...(from.dictionary && {
      dictionary: { ...from.dictionary, offsets: move(from.dictionary.offsets), values: move(from.dictionary.values) },
    }),
    ...(from.items && { items: array(from.items) }),
    ...(from.selection && { selection: { ...from.selection, indices: move(from.selection.indices) } }),
  });
  return {
    ...block,
    columns: block.columns.map(column),
    ...(block.payload && { payload: move(block.payload) }),
    ...(block.extent && { extent: move(block.extent) }),
  };
}

/** Up to `to`, or to the end of the extent in which that lies: so that its checksum holds for what is copied. */
export const wholeExtents = (to: number, extents: readonly BufferRef[]): number =>
  extents.reduce((end, { offset, length }) => (offset < to && offset + length > end ? offset + length : end), to);

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
