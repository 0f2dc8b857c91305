/**
 * Takes an Arrow IPC file or stream that another program wrote over as a segment: checked, summed, renamed, committed.
 *
 * Its buffers lie where that program put them (pyarrow: multiples of 8), and the extents of its blocks cover the whole file, the
 * last one with the footer, so that a copy of the extents is the file.
 */
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ArrayRef, BlockRecord, BufferRef, ColumnRef, ColumnSchema } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { columnTypeInPlace, unsupportedField, walkArrow, type ArrowWalk, type ColumnAt } from './arrow/walk.js';
import type { SegmentEntry } from './index-store.js';
import { checksumRange } from './positioned.js';
import { asFull, removeFile, sizeOf, withFile, type SegmentFiles } from './segment-files.js';

export interface Adoption {
  schema: readonly ColumnSchema[];
  shardId: string;
  files: SegmentFiles;
  newSegment(): SegmentEntry;
  reserve(segment: SegmentEntry, bytes: number): SegmentEntry;
  forget(segment: SegmentEntry): void;
  /** `endedAt`: where the file ends by itself. */
  commit(blocks: Omit<BlockRecord, 'seq'>[], endedAt: number): BlockRecord[];
}

/** Nothing is changed, and the file stays, when it throws. A file without batches yields no blocks and stays too. */
export async function adoptArrowFile(path: string, adoption: Adoption): Promise<BlockRecord[]> {
  const { files, shardId } = adoption;
  const fresh = adoption.newSegment();
  const { walk, blocks } = await withFile(path, async (fd) => {
    const found = walkArrow(fd, path);
    checkSchema(path, found, adoption.schema);
    return { walk: found, blocks: await blocksOf(fd, found, adoption.schema, fresh.id) };
  });
  if (blocks.length === 0) return [];
  const reserved = adoption.reserve(fresh, walk.bytes);
  const target = files.path(shardId, reserved);
  try {
    move(path, target);
    if (sizeOf(target) !== walk.bytes)
      throw new PodlineError('PDL_STAGE_OUTPUT', `${path} was changed while it was taken over`, { place: path });
    return adoption.commit(blocks, walk.bytes);
  } catch (error) {
    if (sizeOf(path) === undefined && sizeOf(target) !== undefined) move(target, path);
    removeFile(target);
    adoption.forget(reserved);
    throw asFull(error, target);
  }
}

/** The columns that a file or stream has, as a stream of Podline would declare them to adopt it. Throws PDL_FORMAT_UNSUPPORTED. */
export async function arrowSchemaInPlace(path: string): Promise<ColumnSchema[]> {
  const { fields } = await withFile(path, (fd) => walkArrow(fd, path));
  return fields.map((field) => {
    const type = columnTypeInPlace(field);
    if (!type) throw unsupportedField(path, field);
    return { name: field.name, type, nullable: field.nullable };
  });
}

function checkSchema(path: string, walk: ArrowWalk, schema: readonly ColumnSchema[]): void {
  for (const column of schema) {
    const index = walk.fields.findIndex((field) => field.name === column.name);
    const field = walk.fields[index];
    if (!field) throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${column.name}\` is missing`, { place: path });
    const type = columnTypeInPlace(field);
    if (!type) throw unsupportedField(path, field);
    if (type !== column.type)
      throw new PodlineError(
        'PDL_STAGE_OUTPUT',
        `column \`${column.name}\` is ${type}, where the stage declares ${column.type}`,
        { place: path },
      );
    const nulls = walk.batches.reduce((sum, batch) => sum + (batch.columns[index]?.nullCount ?? 0), 0);
    if (nulls > 0 && !column.nullable)
      throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${column.name}\` has ${String(nulls)} nulls and is not nullable`, {
        place: path,
      });
  }
  const extra = walk.fields.find((field) => !schema.some((column) => column.name === field.name));
  if (extra)
    throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${extra.name}\` is not among those that the stage declares`, {
      place: path,
    });
}

async function blocksOf(
  fd: number,
  walk: ArrowWalk,
  schema: readonly ColumnSchema[],
  segment: string,
): Promise<Omit<BlockRecord, 'seq'>[]> {
  const blocks: Omit<BlockRecord, 'seq'>[] = [];
  // A file's footer may name its batches in any order; extents follow the bytes.
  const ends = walk.batches.map((batch) => batch.end).toSorted((one, other) => one - other);
  for (const [number, batch] of walk.batches.entries()) {
    const offset = number === 0 ? 0 : (ends[number - 1] ?? 0);
    const end = number === walk.batches.length - 1 ? walk.bytes : (ends[number] ?? walk.bytes);
    const columns = schema.map((column): ColumnRef => {
      const at = batch.columns.find((candidate) => candidate.field.name === column.name);
      if (!at) throw new PodlineError('PDL_INTERNAL', `column \`${column.name}\` was checked and is missing`);
      return columnRef(column, at, segment);
    });
    blocks.push({
      rows: batch.rows,
      columns,
      extent: { segment, offset, length: end - offset, crc32: await checksumRange(fd, offset, end - offset) },
    });
  }
  return blocks;
}

function columnRef({ name, type }: ColumnSchema, at: ColumnAt, segment: string): ColumnRef {
  const ref = (buffer: { offset: number; length: number }): BufferRef => ({ segment, ...buffer });
  const array = (of: ColumnAt): ArrayRef => ({
    nullCount: of.nullCount,
    ...(of.validity && { validity: ref(of.validity) }),
    ...(of.offsets && { offsets: ref(of.offsets) }),
    values: ref(of.values),
  });
  return {
    name,
    type,
    ...array(at),
    ...(at.dictionary && {
      dictionary: { length: at.dictionary.length, offsets: ref(at.dictionary.offsets), values: ref(at.dictionary.values) },
    }),
    ...(at.items && { items: { ...array(at.items), rows: at.items.rows } }),
  };
}

/** By rename; by copy only where the two lie in different file systems. */
function move(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    copyFileSync(from, to);
    removeFile(from);
  }
}
