/**
 * Rows of a column picked into a new one: what a selection means, and what a filter does to columns that it writes.
 *
 * Invariants
 *  1. The result owns its memory, its dictionary aside, which is the same object.
 *  2. Each loop sees one kind of array: values are picked by their width as unsigned integers, which keeps every bit (NaNs) and lets
 *     the engine compile one tight loop each.
 *  3. A row number beyond the column picks zeros; whoever takes numbers from others checks them first.
 */
import { itemTypeOf, physicalTypes } from './arrow/types.js';
import type { ColumnData } from './types.js';

/** A new column with the rows named, in that order. */
export function gather(column: ColumnData, rows: Uint32Array): ColumnData {
  const { type, dictionary } = column;
  const picked: ColumnData = { type, rows: rows.length, nullCount: 0, values: new Uint8Array(0) };
  if (column.validity && column.nullCount > 0) {
    const validity = gatherBits(column.validity, rows);
    picked.nullCount = rows.length - countOnes(validity);
    // Bits behind the last row are 0, and so count as rows without a value only where there are rows.
    if (picked.nullCount > 0) picked.validity = validity;
  }
  if (dictionary) picked.dictionary = dictionary;
  if (type === 'utf8') return { ...picked, ...gatherText(column.values as Uint8Array, offsetsOf(column), rows) };
  if (itemTypeOf(type)) return { ...picked, ...gatherLists(column, offsetsOf(column), rows) };
  if (type === 'bool') return { ...picked, values: gatherBits(column.values as Uint8Array, rows) };
  return { ...picked, values: gatherValues(column, rows) };
}

function gatherValues({ type, values }: ColumnData, rows: Uint32Array): ArrayBufferView {
  const { array, width } = physicalTypes[type];
  const { buffer, byteOffset, byteLength } = values;
  const out = new array(rows.length);
  switch (width) {
    case 1:
      gather8(new Uint8Array(buffer, byteOffset, byteLength), rows, new Uint8Array(out.buffer));
      break;
    case 2:
      gather16(new Uint16Array(buffer, byteOffset, byteLength >> 1), rows, new Uint16Array(out.buffer));
      break;
    case 4:
      gather32(new Uint32Array(buffer, byteOffset, byteLength >> 2), rows, new Uint32Array(out.buffer));
      break;
    default:
      gather64(new Uint32Array(buffer, byteOffset, (byteLength >> 3) << 1), rows, new Uint32Array(out.buffer));
  }
  return out;
}

function gather8(from: Uint8Array, rows: Uint32Array, to: Uint8Array): void {
  for (let i = 0; i < rows.length; i++) to[i] = from[rows[i]!]!;
}
function gather16(from: Uint16Array, rows: Uint32Array, to: Uint16Array): void {
  for (let i = 0; i < rows.length; i++) to[i] = from[rows[i]!]!;
}
function gather32(from: Uint32Array, rows: Uint32Array, to: Uint32Array): void {
  for (let i = 0; i < rows.length; i++) to[i] = from[rows[i]!]!;
}
/** As halves: a bigint would be made for every row. */
function gather64(from: Uint32Array, rows: Uint32Array, to: Uint32Array): void {
  for (let i = 0; i < rows.length; i++) {
    const at = rows[i]! * 2;
    to[2 * i] = from[at]!;
    to[2 * i + 1] = from[at + 1]!;
  }
}

function gatherBits(bits: Uint8Array, rows: Uint32Array): Uint8Array {
  const out = new Uint8Array((rows.length + 7) >> 3);
  const whole = rows.length & ~7;
  let i = 0;
  for (; i < whole; i += 8) {
    let byte = 0;
    for (let bit = 0; bit < 8; bit++) {
      const row = rows[i + bit]!;
      byte |= ((bits[row >>> 3]! >> (row & 7)) & 1) << bit;
    }
    out[i >> 3] = byte;
  }
  for (; i < rows.length; i++) {
    const row = rows[i]!;
    out[i >> 3]! |= ((bits[row >>> 3]! >> (row & 7)) & 1) << (i & 7);
  }
  return out;
}

function countOnes(bits: Uint8Array): number {
  let ones = 0;
  for (let i = 0; i < bits.length; i++) {
    let byte = bits[i]!;
    byte -= (byte >> 1) & 0x55;
    byte = (byte & 0x33) + ((byte >> 2) & 0x33);
    ones += (byte + (byte >> 4)) & 0x0f;
  }
  return ones;
}

/** Where each picked row begins in the result, which is as long as `ends` says last. */
function gatherStarts(offsets: Int32Array, rows: Uint32Array): Int32Array {
  const starts = new Int32Array(rows.length + 1);
  let at = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    at += offsets[row + 1]! - offsets[row]!;
    starts[i + 1] = at;
  }
  if (at > 0x7fff_ffff) throw new RangeError('more than 2 GiB of text, or items, in one block of a column');
  return starts;
}

function gatherText(bytes: Uint8Array, offsets: Int32Array, rows: Uint32Array): { values: Uint8Array; offsets: Int32Array } {
  const starts = gatherStarts(offsets, rows);
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

function gatherLists(column: ColumnData, offsets: Int32Array, rows: Uint32Array): Pick<ColumnData, 'offsets' | 'items'> {
  const starts = gatherStarts(offsets, rows);
  const itemRows = new Uint32Array(starts[rows.length]!);
  for (let i = 0, at = 0; i < rows.length; i++) {
    const row = rows[i]!;
    for (let item = offsets[row]!; item < offsets[row + 1]!; item++) itemRows[at++] = item;
  }
  return { offsets: starts, items: column.items && gather(column.items, itemRows) };
}

const offsetsOf = (column: ColumnData): Int32Array => column.offsets ?? new Int32Array(column.rows + 1);
