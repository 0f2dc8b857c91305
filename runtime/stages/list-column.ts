/**
 * A list in every row: `items` is a column of all items of all rows, one after another, and `offsets` says which belong to which row.
 *
 *     const { embedding } = batch.columns;                      // list<float32>
 *     const vector = embedding.at(row);                         // a Float32Array, a view of shared memory
 *     const { values } = embedding.items;                       // all of them, for loops that must be fast
 *     for (let i = embedding.offsets[row]; i < embedding.offsets[row + 1]; i++) sum += values[i];
 */
import type { ItemType } from '../contracts/block.js';
import { Column, type Arrays, type Extras } from './column.js';
import type { AnyColumn, ArrayOf, ColumnOf, NumberType, ScalarOf } from './columns.js';

/** What `at` gives of a list: a typed array where there is one for the type, views of memory excepting timestamps (milliseconds). */
export type ItemsOf<T extends ItemType, N extends null = never> = T extends NumberType
  ? ArrayOf[T]
  : T extends 'int64'
    ? BigInt64Array
    : T extends 'uint64'
      ? BigUint64Array
      : T extends 'date32'
        ? Int32Array
        : T extends 'timestamp[ms]' | 'timestamp[us]'
          ? Float64Array
          : T extends 'bool'
            ? readonly (boolean | N)[]
            : readonly (string | N)[];

const noBytes = new Uint8Array(0);

/** In a nullable column a list may be null and may hold null items; in the others neither is. */
export class ListColumn<T extends ItemType = ItemType, N extends null = never> extends Column {
  readonly type: `list<${T}>`;
  /** The items of all lists that lie in memory. */
  readonly items: ColumnOf<T, N>;
  /** The list of row i of the arrays is `items` from `offsets[i]` up to `offsets[i + 1]`. */
  readonly offsets: Int32Array;
  readonly #slice: (from: number, to: number) => unknown;

  constructor(items: ColumnOf<T, N>, offsets: Int32Array, rows = offsets.length - 1, extras: Extras = {}) {
    super(rows, extras);
    const any = items as AnyColumn;
    this.type = `list<${any.type}>` as `list<${T}>`;
    this.items = items;
    this.offsets = offsets;
    this.#slice = slicer(any);
  }

  /** How many items the list has; 0 for a null. */
  lengthAt(row: number): number {
    const at = this.place(row);
    return (this.offsets[at + 1] ?? 0) - (this.offsets[at] ?? 0);
  }

  /** The list of a row. Null items among numbers are whatever lies there: see `toArray`. */
  at(row: number): ItemsOf<T, N> | N {
    if (this.isNull(row)) return null as N;
    const at = this.place(row);
    return this.#slice(this.offsets[at] ?? 0, this.offsets[at + 1] ?? 0) as ItemsOf<T, N>;
  }

  /** The list of a row as a plain array, its null items as null. */
  toArray(row: number): (ScalarOf<T> | N)[] | N {
    if (this.isNull(row)) return null as N;
    const at = this.place(row);
    return values(this.items, this.offsets[at] ?? 0, this.offsets[at + 1] ?? 0) as (ScalarOf<T> | N)[];
  }

  protected arrays(): Arrays {
    return { values: noBytes, offsets: this.offsets, items: (this.items as AnyColumn).toData() };
  }
}

const values = (items: AnyColumn, from: number, to: number): unknown[] =>
  Array.from({ length: to - from }, (_, i) => items.at(from + i));

function slicer(items: AnyColumn): (from: number, to: number) => unknown {
  switch (items.type) {
    case 'utf8':
    case 'bool':
      return (from, to) => values(items, from, to);
    case 'timestamp[ms]':
    case 'timestamp[us]':
      return (from, to) => items.toMs(from, to);
    default: {
      const array = 'values' in items ? items.values : noBytes;
      return (from, to) => array.subarray(from, to);
    }
  }
}
