/**
 * The items of lists on their way into a column: how many there will be is not known, so they grow as they come.
 *
 * Invariants
 *  1. A value that does not fit the type is refused, never cut to fit.
 *  2. A null takes the place of an item; whether there may be any is judged by whoever gives them.
 */
import type { ItemType } from '../contracts/block.js';
import { BoolColumn, Utf8Column, valuesColumn, type AnyColumn, type ValuesOf, type ValuesType } from './columns.js';
import { Nulls, nullsOf } from './nulls.js';
import { arrayOfType, int64FromMs } from './number-arrays.js';
import { encodeWords } from './words.js';

export interface Items {
  readonly length: number;
  /** False when the value does not fit. */
  add(value: unknown): boolean;
  /** All of a list; false at the first that does not fit. */
  addAll(values: ArrayLike<unknown>): boolean;
  /** Forgets all behind the first `length`. */
  truncate(length: number): void;
  /** The column of what was added; nothing may be added any more. */
  finish(): AnyColumn;
}

export function itemsOf(type: ItemType): Items {
  switch (type) {
    case 'utf8':
      return new PlainItems('string', (words) => {
        const { values, offsets } = encodeWords(words as (string | null)[]);
        return new Utf8Column<null>(values, offsets, words.length, nullsOf(words));
      });
    case 'bool':
      return new PlainItems('boolean', (values) => {
        const bits = new Uint8Array((values.length + 7) >> 3);
        values.forEach((value, i) => {
          if (value === true) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
        });
        return new BoolColumn<null>(bits, values.length, nullsOf(values));
      });
    case 'timestamp[ms]':
      return new TypedItems('float64', type, (ms) => int64FromMs(ms as Float64Array, 1));
    case 'timestamp[us]':
      return new TypedItems('float64', type, (ms) => int64FromMs(ms as Float64Array, 1000));
    default:
      return new TypedItems(type, type, (values) => values);
  }
}

const firstItems = 64;

/** Held in a typed array of `held`, which `stored` turns into the one of the column's type. */
class TypedItems implements Items {
  length = 0;
  #values: ValuesOf[ValuesType];
  #nulls: number[] = [];
  readonly #kind: 'bigint' | 'number';
  readonly #isExact: boolean;

  constructor(
    held: ValuesType,
    private readonly type: ValuesType,
    private readonly stored: (values: ValuesOf[ValuesType]) => ValuesOf[ValuesType],
  ) {
    this.#values = arrayOfType(held, firstItems);
    this.#kind = this.#values instanceof BigInt64Array || this.#values instanceof BigUint64Array ? 'bigint' : 'number';
    this.#isExact = !(this.#values instanceof Float32Array || this.#values instanceof Float64Array);
  }

  add(value: unknown): boolean {
    this.#reserve(1);
    return this.#put(value);
  }

  addAll(values: ArrayLike<unknown>): boolean {
    this.#reserve(values.length);
    if (values.constructor === this.#values.constructor) {
      this.#values.set(values as never, this.length);
      this.length += values.length;
      return true;
    }
    for (let i = 0; i < values.length; i++) if (!this.#put(values[i])) return false;
    return true;
  }

  truncate(length: number): void {
    this.length = length;
    while ((this.#nulls.at(-1) ?? -1) >= length) this.#nulls.pop();
  }

  finish(): AnyColumn {
    const values = this.stored(this.#values.subarray(0, this.length));
    if (this.#nulls.length === 0) return valuesColumn(this.type, values);
    const nulls = new Nulls(this.length);
    for (const at of this.#nulls) nulls.clear(at);
    return valuesColumn(this.type, values, { nullCount: nulls.count, validity: nulls.bits });
  }

  #put(value: unknown): boolean {
    const values = this.#values as Float64Array;
    const at = this.length++;
    if (value === null || value === undefined) {
      this.#nulls.push(at);
      values[at] = (this.#kind === 'bigint' ? 0n : 0) as number;
      return true;
    }
    if (typeof value !== this.#kind) return false;
    values[at] = value as number;
    return !this.#isExact || values[at] === value;
  }

  #reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.#values.length) return;
    const make = this.#values.constructor as new (length: number) => ValuesOf[ValuesType];
    const wider = new make(Math.max(this.#values.length * 2, needed));
    wider.set(this.#values as never);
    this.#values = wider;
  }
}

/** Held as they are until the column is built. */
class PlainItems implements Items {
  readonly #values: unknown[] = [];

  constructor(
    private readonly kind: 'string' | 'boolean',
    private readonly build: (values: unknown[]) => AnyColumn,
  ) {}

  get length(): number {
    return this.#values.length;
  }

  add(value: unknown): boolean {
    if (value !== null && value !== undefined && typeof value !== this.kind) return false;
    this.#values.push(value ?? null);
    return true;
  }

  addAll(values: ArrayLike<unknown>): boolean {
    for (let i = 0; i < values.length; i++) if (!this.add(values[i])) return false;
    return true;
  }

  truncate(length: number): void {
    this.#values.length = length;
  }

  finish(): AnyColumn {
    return this.build(this.#values);
  }
}
