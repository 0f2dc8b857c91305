/**
 * Columns in memory: cutting, joining and re-blocking `ColumnData`, which lies in Arrow's layout.
 *
 * Invariants
 *  1. A cut never copies fixed-width values or utf8 bytes; it copies bits (validity, bool) and rebases offsets.
 *  2. Utf8 offsets that leave this file start at 0.
 *  3. `reblock` yields blocks of exactly `blockRows` rows, the last one aside: block n starts at row n × blockRows.
 *  4. Dictionaries of one column only grow, so the last part's dictionary holds the codes of all parts.
 */
import type { ColumnSchema, ColumnType } from '../contracts/block.js';
import { physicalTypes } from '../scratch/arrow/types.js';
import type { ColumnData, ColumnToWrite } from '../scratch/types.js';

/** Some rows of a table; columns in the order of the reader's schema. */
export interface Batch {
  rows: number;
  columns: ColumnData[];
}

export type FixedArray =
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

/** An array for `rows` values of a type. bool: a byte array of bits; utf8 and lists: not fixed, refused. */
export function fixedArray(type: ColumnType, rows: number): FixedArray {
  if (type === 'bool') return new Uint8Array(bitBytes(rows));
  const { array, width } = physicalTypes[type];
  if (width === 0) throw new RangeError(`${type} has no fixed width`);
  return new array(rows);
}

export const bitBytes = (bits: number): number => (bits + 7) >> 3;

/** Bits [from, to) of `bits`, from bit 0 of a new array on; bits behind the last are 0. */
export function sliceBits(bits: Uint8Array, from: number, to: number): Uint8Array {
  const count = to - from;
  const out = new Uint8Array(bitBytes(count));
  const shift = from & 7;
  const start = from >> 3;
  for (let i = 0; i < out.length; i++) {
    const low = bits[start + i] ?? 0;
    out[i] = shift === 0 ? low : (low >> shift) | ((bits[start + i + 1] ?? 0) << (8 - shift));
  }
  const rest = count & 7;
  if (rest !== 0) out[out.length - 1] = (out[out.length - 1] ?? 0) & ((1 << rest) - 1);
  return out;
}

/** Sets bits [at, at + count) of `into` to those of `from` (its bits 0 …). The target bits must be 0. */
export function placeBits(into: Uint8Array, at: number, from: Uint8Array, count: number): void {
  const shift = at & 7;
  const start = at >> 3;
  const bytes = bitBytes(count);
  for (let i = 0; i < bytes; i++) {
    let byte = from[i] ?? 0;
    const left = count - i * 8;
    if (left < 8) byte &= (1 << left) - 1;
    into[start + i] = (into[start + i] ?? 0) | (byte << shift);
    if (shift !== 0 && byte >> (8 - shift) !== 0) into[start + i + 1] = (into[start + i + 1] ?? 0) | (byte >> (8 - shift));
  }
}

export function setBits(into: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    if ((i & 7) === 0 && to - i >= 8) {
      const bytes = (to - i) >> 3;
      into.fill(255, i >> 3, (i >> 3) + bytes);
      i += bytes * 8 - 1;
    } else {
      into[i >> 3] = (into[i >> 3] ?? 0) | (1 << (i & 7));
    }
  }
}

const popCounts = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length);
export function countBits(bits: Uint8Array, count: number): number {
  let ones = 0;
  const whole = count >> 3;
  for (let i = 0; i < whole; i++) ones += popCounts[bits[i] ?? 0] ?? 0;
  if ((count & 7) !== 0) ones += popCounts[(bits[whole] ?? 0) & ((1 << (count & 7)) - 1)] ?? 0;
  return ones;
}

/** Rows [from, to) of a column. */
export function sliceColumn(column: ColumnData, from: number, to: number): ColumnData {
  const rows = to - from;
  if (from === 0 && rows === column.rows) return column;
  let validity: Uint8Array | undefined;
  let nullCount = 0;
  if (column.validity !== undefined && column.nullCount > 0) {
    validity = sliceBits(column.validity, from, to);
    nullCount = rows - countBits(validity, rows);
    if (nullCount === 0) validity = undefined;
  }
  const common = { type: column.type, rows, nullCount, validity };
  if (column.type === 'utf8' || column.items !== undefined) {
    const offsets = column.offsets ?? new Int32Array(column.rows + 1);
    const base = offsets[from] ?? 0;
    const end = offsets[to] ?? base;
    let cut = offsets.subarray(from, to + 1);
    if (base !== 0) cut = cut.map((offset) => offset - base);
    if (column.items !== undefined)
      return { ...common, offsets: cut, values: column.values, items: sliceColumn(column.items, base, end) };
    return { ...common, offsets: cut, values: (column.values as Uint8Array).subarray(base, end) };
  }
  if (column.type === 'bool') return { ...common, values: sliceBits(column.values as Uint8Array, from, to) };
  const values = (column.values as FixedArray).subarray(from, to);
  return column.dictionary === undefined ? { ...common, values } : { ...common, values, dictionary: column.dictionary };
}

/** Parts of one column, one after another. */
export function joinColumns(parts: readonly ColumnData[]): ColumnData {
  const [first] = parts;
  if (first === undefined) throw new RangeError('nothing to join');
  if (parts.length === 1) return first;
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const nullCount = parts.reduce((sum, part) => sum + part.nullCount, 0);
  let validity: Uint8Array | undefined;
  if (nullCount > 0) {
    validity = new Uint8Array(bitBytes(rows));
    let at = 0;
    for (const part of parts) {
      if (part.validity === undefined || part.nullCount === 0) setBits(validity, at, at + part.rows);
      else placeBits(validity, at, part.validity, part.rows);
      at += part.rows;
    }
  }
  const common = { type: first.type, rows, nullCount, validity };
  if (first.type === 'utf8') {
    const offsets = joinOffsets(parts, rows);
    const values = new Uint8Array(offsets[rows] ?? 0);
    let base = 0;
    for (const part of parts) {
      const length = part.offsets?.[part.rows] ?? 0;
      values.set((part.values as Uint8Array).subarray(0, length), base);
      base += length;
    }
    return { ...common, offsets, values };
  }
  if (first.items !== undefined) {
    const items = parts.flatMap((part) =>
      part.items === undefined ? [] : [sliceColumn(part.items, 0, part.offsets?.[part.rows] ?? 0)],
    );
    return { ...common, offsets: joinOffsets(parts, rows), values: first.values, items: joinColumns(items) };
  }
  const values = fixedArray(first.type, rows);
  let at = 0;
  for (const part of parts) {
    if (first.type === 'bool') placeBits(values as Uint8Array, at, part.values as Uint8Array, part.rows);
    else (values as Float64Array).set((part.values as Float64Array).subarray(0, part.rows), at);
    at += part.rows;
  }
  const dictionary = parts.at(-1)?.dictionary;
  return dictionary === undefined ? { ...common, values } : { ...common, values, dictionary };
}

function joinOffsets(parts: readonly ColumnData[], rows: number): Int32Array {
  const total = parts.reduce((sum, part) => sum + (part.offsets?.[part.rows] ?? 0), 0);
  if (total > 0x7fffffff) throw new RangeError('more than 2 GiB of text, or items of lists, in one block of a column');
  const offsets = new Int32Array(rows + 1);
  let row = 0;
  let base = 0;
  for (const { offsets: own = new Int32Array(1), rows: count } of parts) {
    for (let i = 1; i <= count; i++) offsets[row + i] = base + (own[i] ?? 0);
    row += count;
    base += own[count] ?? 0;
  }
  return offsets;
}

export const sliceBatch = (batch: Batch, from: number, to: number): Batch =>
  from === 0 && to === batch.rows
    ? batch
    : { rows: to - from, columns: batch.columns.map((column) => sliceColumn(column, from, to)) };

/** Rows [from, to) of a run of batches. */
export async function* limitRows(batches: AsyncIterable<Batch>, from: number, to: number): AsyncGenerator<Batch> {
  let at = 0;
  for await (const batch of batches) {
    const start = Math.max(from - at, 0);
    const end = Math.min(to - at, batch.rows);
    if (start < end) yield sliceBatch(batch, start, end);
    at += batch.rows;
    if (at >= to) return;
  }
}

/** The same rows in blocks of `blockRows`; a block that lies within one batch is cut from it without copying its values. */
export async function* reblock(batches: AsyncIterable<Batch>, blockRows: number): AsyncGenerator<Batch> {
  let parts: Batch[] = [];
  let rows = 0;
  const join = (): Batch => {
    const [first] = parts;
    if (first === undefined) throw new RangeError('no rows to join');
    const block: Batch =
      parts.length === 1
        ? first
        : { rows, columns: first.columns.map((_, index) => joinColumns(parts.flatMap((part) => part.columns[index] ?? []))) };
    parts = [];
    rows = 0;
    return block;
  };
  for await (const batch of batches) {
    let at = 0;
    while (at < batch.rows) {
      const take = Math.min(blockRows - rows, batch.rows - at);
      parts.push(sliceBatch(batch, at, at + take));
      rows += take;
      at += take;
      if (rows === blockRows) yield join();
    }
  }
  if (rows > 0) yield join();
}

/** A batch as a writer of streams takes it. */
export function toWrite(schema: readonly ColumnSchema[], batch: Batch): ColumnToWrite[] {
  return schema.map((column, index) => {
    const data = batch.columns[index];
    if (data === undefined || data.rows !== batch.rows || data.type !== column.type) {
      throw new RangeError(`column ${column.name} of a batch does not fit its schema`);
    }
    return { name: column.name, data };
  });
}
