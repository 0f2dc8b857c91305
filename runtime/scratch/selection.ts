/**
 * The selections of one block on their way into a segment: checked, put upon those that the columns had before, each written once.
 *
 * Invariants
 *  1. Columns that were given the same array of row numbers, and had the same selection before, share what is written.
 *  2. No row number that is written lies beyond the arrays that it selects from.
 */
import type { ArrayRef, BufferRef, ColumnRef, ColumnType } from '../contracts/block.js';
import { hasOffsets, physicalTypes } from './arrow/types.js';

type Fault = (what: string) => never;

/** Rows that the buffers of a column have room for; for bits up to seven more than were written. */
export function rowsHeld(type: ColumnType, array: ArrayRef): number {
  if (hasOffsets(type)) return Math.max(0, (array.offsets?.length ?? 0) / 4 - 1);
  return Math.floor(type === 'bool' ? array.values.length * 8 : array.values.length / physicalTypes[type].width);
}

export class Selections {
  /** In the order of their numbers. */
  readonly indices: Uint32Array[] = [];
  readonly #numbers = new Map<Uint32Array, Map<string, number>>();
  readonly #largest = new Map<Uint32Array, number>();

  /** `bytes`: what a committed buffer holds. */
  constructor(private readonly bytes: (ref: BufferRef) => Uint8Array) {}

  /** The number of the selection that `select` and what `ref` had before come to. */
  add(ref: ColumnRef, select: Uint32Array, nullable: boolean, fault: Fault): number {
    const before = ref.selection;
    const rows = before ? before.indices.length / 4 : rowsHeld(ref.type, ref);
    const largest = this.#largestOf(select);
    if (largest >= rows) fault(`is asked for row ${String(largest)} of ${String(rows)}`);
    const key = before ? `${before.indices.segment}:${String(before.indices.offset)}` : '';
    const numbers = this.#numbers.get(select) ?? new Map<string, number>();
    this.#numbers.set(select, numbers);
    let number = numbers.get(key);
    if (number === undefined) {
      number = this.indices.push(before ? through(this.#rowsOf(before.indices), select) : select) - 1;
      numbers.set(key, number);
    }
    const rowsOf = this.indices[number];
    const nulls = nullable || !rowsOf ? 0 : this.#nullsAmong(ref, rowsOf);
    if (nulls > 0) fault(`has ${String(nulls)} nulls and is not nullable`);
    return number;
  }

  /** Nulls of a column in the rows that it has in its block. */
  nulls(ref: ColumnRef): number {
    return ref.selection ? this.#nullsAmong(ref, this.#rowsOf(ref.selection.indices)) : ref.nullCount;
  }

  #nullsAmong(ref: ColumnRef, rows: Uint32Array): number {
    return ref.nullCount === 0 || !ref.validity || ref.freed ? 0 : nullsAmong(this.bytes(ref.validity), rows);
  }

  #largestOf(select: Uint32Array): number {
    let largest = this.#largest.get(select);
    if (largest === undefined) {
      largest = -1;
      for (let i = 0; i < select.length; i++) if (select[i]! > largest) largest = select[i]!;
      this.#largest.set(select, largest);
    }
    return largest;
  }

  #rowsOf(ref: BufferRef): Uint32Array {
    const bytes = this.bytes(ref);
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }
}

function through(before: Uint32Array, select: Uint32Array): Uint32Array {
  const rows = new Uint32Array(select.length);
  for (let i = 0; i < select.length; i++) rows[i] = before[select[i]!]!;
  return rows;
}

function nullsAmong(validity: Uint8Array, rows: Uint32Array): number {
  let nulls = 0;
  for (let i = 0; i < rows.length; i++) if (((validity[rows[i]! >>> 3]! >> (rows[i]! & 7)) & 1) === 0) nulls += 1;
  return nulls;
}
