/** Cells of a column as text formats write them: times as ISO 8601, dictionary codes as their values, null as null. */
import type { ColumnData, Utf8Data } from '../scratch/types.js';
import { PodlineError } from '../contracts/errors.js';

export type Cell = string | number | bigint | boolean | null;

/** A function from row to cell. */
export function cellReader(column: ColumnData): (row: number) => Cell {
  const value = valueReader(column);
  const { validity } = column;
  if (validity === undefined || column.nullCount === 0) return value;
  return (row) => (isSet(validity, row) ? value(row) : null);
}

/** The strings of a utf8 array, each decoded once. */
export function stringsOf(data: Utf8Data): string[] {
  const read = stringReader(data);
  return Array.from({ length: data.length }, (_, index) => read(index));
}

export const isSet = (bits: Uint8Array, index: number): boolean => (((bits[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;

export function stringReader({ offsets, values }: Pick<Utf8Data, 'offsets' | 'values'>): (index: number) => string {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return (index) => bytes.toString('utf8', offsets[index] ?? 0, offsets[index + 1] ?? 0);
}

function valueReader(column: ColumnData): (row: number) => Cell {
  const values = column.values;
  switch (column.type) {
    case 'utf8': {
      if (column.offsets === undefined || !(values instanceof Uint8Array)) throw malformed(column);
      return stringReader({ offsets: column.offsets, values });
    }
    case 'dictionary': {
      if (column.dictionary === undefined || !(values instanceof Int32Array)) throw malformed(column);
      const strings = stringsOf(column.dictionary);
      return (row) => strings[values[row] ?? 0] ?? '';
    }
    case 'bool':
      if (!(values instanceof Uint8Array)) throw malformed(column);
      return (row) => isSet(values, row);
    case 'timestamp[ms]':
      if (!(values instanceof BigInt64Array)) throw malformed(column);
      return (row) => isoTime(values[row] ?? 0n, 1n);
    case 'timestamp[us]':
      if (!(values instanceof BigInt64Array)) throw malformed(column);
      return (row) => isoTime(values[row] ?? 0n, 1000n);
    case 'date32':
      if (!(values instanceof Int32Array)) throw malformed(column);
      return (row) => isoDate(values[row] ?? 0);
    default: {
      const numbers = values as unknown as ArrayLike<number | bigint>;
      return (row) => numbers[row] ?? 0;
    }
  }
}

const dayMs = 86_400_000;
/** Beyond what Date can say (± 275,760 years) the number itself is written. */
const dateMsMax = 8.64e15;

/** `2001-01-31T23:00:00.123Z`; microseconds have six digits. `perMs` units are one ms. */
function isoTime(value: bigint, perMs: bigint): string {
  const below = ((value % perMs) + perMs) % perMs;
  const ms = Number((value - below) / perMs);
  if (Math.abs(ms) > dateMsMax) return value.toString();
  const text = new Date(ms).toISOString();
  return perMs === 1n ? text : `${text.slice(0, -1)}${below.toString().padStart(3, '0')}Z`;
}

function isoDate(days: number): string {
  const ms = days * dayMs;
  return Math.abs(ms) > dateMsMax ? String(days) : new Date(ms).toISOString().replace(/T.*$/, '');
}

const malformed = (column: ColumnData): PodlineError =>
  new PodlineError('PDL_SCRATCH_CORRUPT', `a column of type ${column.type} has not the buffers that its type needs`);
