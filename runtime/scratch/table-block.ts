/**
 * One block of a table on its way into a segment: its columns in the order of the stream, checked, and its bytes and references laid out.
 * Nothing is written here; invariants of `writer.ts`.
 */
import type { BlockRecord, BufferRef, ColumnRef, ColumnSchema, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { encodeSchema, type BodyBuffer } from './arrow/encode.js';
import { checkColumn, layDictionary, layRecordBatch, type PlacedUtf8 } from './arrow/layout.js';
import { valueBytes } from './arrow/types.js';
import type { SegmentEntry } from './index-store.js';
import type { WrittenDictionary } from './open-segment.js';
import type { ColumnData, ColumnToWrite } from './types.js';
import { sameDictionary } from './utf8.js';

/** A column of the stream's schema with what the block has for it: data or a reference. */
export interface OrderedColumn {
  schema: ColumnSchema;
  data?: ColumnData | undefined;
  ref?: ColumnRef | undefined;
}
export type DataColumn = OrderedColumn & { data: ColumnData };
export const isData = (column: OrderedColumn): column is DataColumn => column.data !== undefined;

/** The columns in the order of the schema. Throws PDL_STAGE_OUTPUT unless each is there once, of its type, rows and nulls. */
export function orderColumns(
  stream: StreamRecord,
  place: string,
  rows: number,
  columns: readonly ColumnToWrite[],
): OrderedColumn[] {
  const given = new Map(columns.map((column) => [column.name, column]));
  const ordered = stream.schema.map((column): OrderedColumn => {
    const found = given.get(column.name);
    if (!found) {
      throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${column.name}\` of stream \`${stream.stream}\` is missing`, {
        place,
      });
    }
    given.delete(column.name);
    if ('data' in found) {
      checkColumn(place, column, rows, found.data);
      return { schema: column, data: found.data };
    }
    checkRef(place, column, rows, found.ref);
    return { schema: column, ref: found.ref };
  });
  const [extra] = given.keys();
  if (extra !== undefined || columns.length !== stream.schema.length) {
    const name = extra ?? columns.at(-1)?.name ?? '';
    throw new PodlineError('PDL_STAGE_OUTPUT', `stream \`${stream.stream}\` has no column \`${name}\`, or it was given twice`, {
      place,
    });
  }
  return ordered;
}

/** A block's bytes, to be written at the segment's `committedBytes`, and its columns as they will lie there. */
export interface LaidTable {
  pieces: Uint8Array[];
  bytes: number;
  columns: Map<string, ColumnRef>;
  /** By column: those of this block, new or used again. */
  dictionaries: Map<string, WrittenDictionary>;
}

/** Schema (if the segment is empty), dictionaries that it has not yet, record batch. */
export function layTable(
  segment: SegmentEntry,
  known: ReadonlyMap<string, WrittenDictionary>,
  rows: number,
  data: readonly DataColumn[],
): LaidTable {
  const start = segment.committedBytes;
  const pieces: Uint8Array[] = start === 0 ? [encodeSchema(data.map((column) => column.schema))] : [];
  let at = start + (pieces[0]?.length ?? 0);
  const dictionaries = new Map<string, WrittenDictionary>();
  for (const [index, { schema, data: values }] of data.entries()) {
    if (!values.dictionary) continue;
    const before = known.get(schema.name);
    if (before && sameDictionary(before.data, values.dictionary)) {
      dictionaries.set(schema.name, before);
      continue;
    }
    const laid = layDictionary(index, values.dictionary);
    pieces.push(...laid.pieces);
    dictionaries.set(schema.name, { data: values.dictionary, placed: movedUtf8(laid.placed, at) });
    at += laid.bytes;
  }
  const values = data.map((column) => column.data);
  const batch = layRecordBatch(rows, values);
  pieces.push(...batch.pieces);
  const ref = (buffer: BodyBuffer, by = at): BufferRef => ({
    segment: segment.id,
    offset: by + buffer.offset,
    length: buffer.length,
  });
  const columns = data.map(({ schema: { name, type } }, index): [string, ColumnRef] => {
    const placed = batch.placed[index];
    if (!placed) throw new PodlineError('PDL_INTERNAL', `column \`${name}\` was not laid out`);
    const dictionary = dictionaries.get(name)?.placed;
    const column: ColumnRef = { name, type, nullCount: placed.nullCount, values: ref(placed.values) };
    if (placed.validity) column.validity = ref(placed.validity);
    if (placed.offsets) column.offsets = ref(placed.offsets);
    if (dictionary) {
      column.dictionary = { length: dictionary.length, offsets: ref(dictionary.offsets, 0), values: ref(dictionary.values, 0) };
    }
    return [name, column];
  });
  return { pieces, bytes: at + batch.bytes - start, columns: new Map(columns), dictionaries };
}

/** A column taken from elsewhere, under the name that it has in this stream. */
export function renamed(schema: ColumnSchema, ref: ColumnRef | undefined): ColumnRef {
  if (!ref) throw new PodlineError('PDL_INTERNAL', `column \`${schema.name}\` is neither data nor a reference`);
  return { ...ref, name: schema.name };
}

/** Segments that a block refers to. */
export function segmentsOf(block: Omit<BlockRecord, 'seq'>): Set<string> {
  const segments = new Set<string>();
  const add = (ref: BufferRef | undefined): void => {
    if (ref && ref.segment !== '') segments.add(ref.segment);
  };
  for (const { values, validity, offsets, dictionary } of block.columns) {
    for (const ref of [values, validity, offsets, dictionary?.offsets, dictionary?.values]) add(ref);
  }
  add(block.payload);
  add(block.extent);
  return segments;
}

function checkRef(place: string, schema: ColumnSchema, rows: number, ref: ColumnRef): void {
  const fault = (what: string): never => {
    throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${schema.name}\`, taken from \`${ref.name}\` by reference, ${what}`, {
      place,
    });
  };
  if (ref.type !== schema.type) fault(`is ${ref.type}, where the stream has ${schema.type}`);
  if (ref.nullCount > 0 && !schema.nullable) fault(`has ${String(ref.nullCount)} nulls and is not nullable`);
  const bytes = schema.type === 'utf8' ? (rows === 0 ? 0 : 4 * (rows + 1)) : (valueBytes(schema.type, rows) ?? 0);
  if (((schema.type === 'utf8' ? ref.offsets : ref.values)?.length ?? 0) < bytes) fault(`has fewer than ${String(rows)} rows`);
}

const movedUtf8 = (placed: PlacedUtf8, by: number): PlacedUtf8 => ({
  length: placed.length,
  offsets: { offset: placed.offsets.offset + by, length: placed.offsets.length },
  values: { offset: placed.values.offset + by, length: placed.values.length },
});
