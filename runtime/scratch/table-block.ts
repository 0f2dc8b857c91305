/**
 * One block of a table on its way into a segment: its columns in the order of the stream, checked, and its bytes and references laid out.
 * Nothing is written here; invariants of `writer.ts`.
 */
import type { ArrayRef, BlockRecord, BufferRef, ColumnRef, ColumnSchema, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { encodeSchema, type BodyBuffer } from './arrow/encode.js';
import { bytesOf, checkColumn, layDictionary, layRecordBatch, type PlacedColumn, type PlacedUtf8 } from './arrow/layout.js';
import type { WrittenDictionary } from './open-segment.js';
import { rowsHeld, type Selections } from './selection.js';
import type { ColumnData, ColumnToWrite } from './types.js';
import { sameDictionary } from './utf8.js';

/** A column of the stream's schema with what the block has for it: data or a reference. */
export interface OrderedColumn {
  schema: ColumnSchema;
  data?: ColumnData | undefined;
  ref?: ColumnRef | undefined;
  /** Number of the selection that `ref` gets in this block. */
  selection?: number | undefined;
}
export type DataColumn = OrderedColumn & { data: ColumnData };
export const isData = (column: OrderedColumn): column is DataColumn => column.data !== undefined;

/** The columns in the order of the schema. Throws PDL_STAGE_OUTPUT unless each is there once, of its type, rows and nulls. */
export function orderColumns(
  stream: Pick<StreamRecord, 'stream' | 'schema'>,
  place: string,
  rows: number,
  columns: readonly ColumnToWrite[],
  selections: Selections,
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
    return takeRef(place, column, rows, found.ref, found.select, selections);
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

/** A block's bytes, to be written at the position that it was laid out for, and its columns as they will lie there. */
export interface LaidTable {
  pieces: Uint8Array[];
  bytes: number;
  columns: ColumnRef[];
  /** By column: those of this block, new or used again. */
  dictionaries: Map<string, WrittenDictionary>;
}

/** Schema (if the segment is empty), dictionaries that it has not yet, record batch; selections lie in the body of that. */
export function layTable(
  segment: string,
  start: number,
  known: ReadonlyMap<string, WrittenDictionary>,
  rows: number,
  ordered: readonly OrderedColumn[],
  selections: readonly Uint32Array[],
): LaidTable {
  const data = ordered.filter(isData);
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
  const batch = layRecordBatch(
    rows,
    data.map((column) => column.data),
    selections.map(bytesOf),
  );
  pieces.push(...batch.pieces);
  const ref = (buffer: BodyBuffer, by = at): BufferRef => ({ segment, offset: by + buffer.offset, length: buffer.length });
  const array = (placed: PlacedColumn): ArrayRef => ({
    nullCount: placed.nullCount,
    ...(placed.validity && { validity: ref(placed.validity) }),
    ...(placed.offsets && { offsets: ref(placed.offsets) }),
    values: ref(placed.values),
  });
  let next = 0;
  const columns = ordered.map((column): ColumnRef => {
    if (!isData(column)) return renamed(column, (number) => ref(batch.placed.beside[number] ?? nothing));
    const { name, type } = column.schema;
    const placed = batch.placed.columns[next++];
    if (!placed) throw new PodlineError('PDL_INTERNAL', `column \`${name}\` was not laid out`);
    const dictionary = dictionaries.get(name)?.placed;
    const laid: ColumnRef = { name, type, ...array(placed) };
    if (dictionary) {
      laid.dictionary = { length: dictionary.length, offsets: ref(dictionary.offsets, 0), values: ref(dictionary.values, 0) };
    }
    if (placed.items) laid.items = { ...array(placed.items), rows: placed.items.rows };
    return laid;
  });
  return { pieces, bytes: at + batch.bytes - start, columns, dictionaries };
}

const nothing: BodyBuffer = { offset: 0, length: 0 };

/** A column taken from elsewhere, under the name that it has in this stream; `place` says where a selection of the block lies. */
export function renamed({ schema, ref, selection }: OrderedColumn, place: (selection: number) => BufferRef): ColumnRef {
  if (!ref) throw new PodlineError('PDL_INTERNAL', `column \`${schema.name}\` is neither data nor a reference`);
  if (selection === undefined) return { ...ref, name: schema.name };
  const rows = ref.selection?.rows ?? rowsHeld(ref.type, ref);
  return { ...ref, name: schema.name, selection: { rows, indices: place(selection) } };
}

/** Calls `see` with every buffer that a block refers to; those of no bytes that lie nowhere are left out. */
export function eachBuffer(block: Omit<BlockRecord, 'seq'>, see: (buffer: BufferRef) => void): void {
  for (const column of block.columns) {
    eachBufferOf(column, see);
    if (column.selection) see(column.selection.indices);
  }
  if (block.payload && block.payload.segment !== '') see(block.payload);
  if (block.extent) see(block.extent);
}

/** The buffers of a column, without those of its selection, which other columns may share. */
export function eachBufferOf(column: ColumnRef, see: (buffer: BufferRef) => void): void {
  const { dictionary, items } = column;
  for (const array of [column, ...(items ? [items] : [])]) {
    see(array.values);
    if (array.validity) see(array.validity);
    if (array.offsets) see(array.offsets);
  }
  if (!dictionary) return;
  see(dictionary.offsets);
  see(dictionary.values);
}

/** Segments that a block refers to. */
export function segmentsOf(block: Omit<BlockRecord, 'seq'>): Set<string> {
  const segments = new Set<string>();
  eachBuffer(block, ({ segment }) => segments.add(segment));
  return segments;
}

function takeRef(
  place: string,
  schema: ColumnSchema,
  rows: number,
  ref: ColumnRef,
  select: Uint32Array | undefined,
  selections: Selections,
): OrderedColumn {
  const fault = (what: string): never => {
    throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${schema.name}\`, taken from \`${ref.name}\` by reference, ${what}`, {
      place,
    });
  };
  if (ref.type !== schema.type) fault(`is ${ref.type}, where the stream has ${schema.type}`);
  if (select) {
    if (select.length !== rows) fault(`selects ${String(select.length)} rows for a block of ${String(rows)}`);
    return { schema, ref, selection: selections.add(ref, select, schema.nullable, fault) };
  }
  if (ref.selection && ref.selection.indices.length !== rows * 4)
    fault(`has ${String(ref.selection.indices.length / 4)} rows in a block of ${String(rows)}`);
  if (!ref.selection && rowsHeld(ref.type, ref) < rows) fault(`has fewer than ${String(rows)} rows`);
  const nulls = ref.nullCount > 0 && !schema.nullable ? selections.nulls(ref) : 0;
  if (nulls > 0) fault(`has ${String(nulls)} nulls and is not nullable`);
  return { schema, ref };
}

const movedUtf8 = (placed: PlacedUtf8, by: number): PlacedUtf8 => ({
  length: placed.length,
  offsets: { offset: placed.offsets.offset + by, length: placed.offsets.length },
  values: { offset: placed.values.offset + by, length: placed.values.length },
});
