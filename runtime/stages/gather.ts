/** Rows of a column picked into a new one: what a filter does to the columns that it keeps. */
import type { ColumnData } from '../scratch/types.js';
import type { AnyColumn } from './columns.js';

/** Row numbers of the ones in a mask with a byte for each row. */
export function rowsOfMask(mask: Uint8Array): Uint32Array {
  let count = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0) count++;
  const rows = new Uint32Array(count);
  for (let i = 0, at = 0; i < mask.length; i++) if (mask[i] !== 0) rows[at++] = i;
  return rows;
}

/** A new column with the rows named, in that order. The dictionary of a dictionary column is taken over as it is. */
export function gather(column: AnyColumn, rows: Uint32Array): ColumnData {
  const data = column.toData();
  const { validity, nullCount } = gatherValidity(data.validity, rows);
  const picked = { type: data.type, rows: rows.length, nullCount, validity };
  if (column.type === 'utf8') return { ...picked, ...gatherText(column.bytes, column.offsets, rows) };
  if (column.type === 'bool') return { ...picked, values: gatherBits(column.bits, rows) };
  const values = gatherNumbers(data.values as Numbers, rows);
  return { ...picked, values, ...(data.dictionary === undefined ? {} : { dictionary: data.dictionary }) };
}

type Numbers =
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

function gatherNumbers(values: Numbers, rows: Uint32Array): Numbers {
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
    // As pairs of 32-bit halves: a bigint would be made for every row.
    const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
    const out = new Int32Array(rows.length * 2);
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      out[i * 2] = halves[row * 2]!;
      out[i * 2 + 1] = halves[row * 2 + 1]!;
    }
    return values instanceof BigInt64Array ? new BigInt64Array(out.buffer) : new BigUint64Array(out.buffer);
  }
  const make = values.constructor as new (length: number) => Exclude<Numbers, BigInt64Array | BigUint64Array>;
  const out = new make(rows.length);
  for (let i = 0; i < rows.length; i++) out[i] = values[rows[i]!]!;
  return out;
}

function gatherBits(bits: Uint8Array, rows: Uint32Array): Uint8Array {
  const out = new Uint8Array((rows.length + 7) >> 3);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (((bits[row >> 3] ?? 0) & (1 << (row & 7))) !== 0) out[i >> 3] = (out[i >> 3] ?? 0) | (1 << (i & 7));
  }
  return out;
}

function gatherValidity(
  bits: Uint8Array | undefined,
  rows: Uint32Array,
): { validity: Uint8Array | undefined; nullCount: number } {
  if (bits === undefined) return { validity: undefined, nullCount: 0 };
  const validity = gatherBits(bits, rows);
  let held = 0;
  for (let byte of validity) for (; byte !== 0; byte &= byte - 1) held++;
  const nullCount = rows.length - held;
  return { validity: nullCount === 0 ? undefined : validity, nullCount };
}

function gatherText(bytes: Uint8Array, offsets: Int32Array, rows: Uint32Array): { values: Uint8Array; offsets: Int32Array } {
  const starts = new Int32Array(rows.length + 1);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    starts[i + 1] = starts[i]! + (offsets[row + 1]! - offsets[row]!);
  }
  const values = new Uint8Array(starts[rows.length]!);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    const from = offsets[row]!;
    const to = offsets[row + 1]!;
    const at = starts[i]!;
    // Words are short: a loop is quicker than a call of set().
    if (to - from > 48) values.set(bytes.subarray(from, to), at);
    else for (let k = from; k < to; k++) values[at + k - from] = bytes[k]!;
  }
  return { values, offsets: starts };
}
