/**
 * How a stage makes columns of lists: `column.list('utf8').from([['a', 'b'], []])`, with a fixed size, or growing.
 *
 * Throws PDL_STAGE_OUTPUT where an item does not fit its type.
 */
import type { ItemType } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { ListColumn, valuesColumn, type AnyColumn, type ColumnOf, type ScalarOf, type ValuesType } from './columns.js';
import { itemsOf, type Items } from './items.js';
import { nullable, Nulls, type Nullable } from './nulls.js';
import { arrayOfType } from './number-arrays.js';

/** What a list may be given as: a plain array, or a typed one for numbers. Timestamps are milliseconds since 1970. */
export type ItemsIn<T extends ItemType, N extends null = never> = T extends 'utf8' | 'bool'
  ? readonly (ScalarOf<T> | N)[]
  : ArrayLike<ScalarOf<T> | N>;

/** Lists one after another, of whatever length. */
export interface ListBuilder<T extends ItemType, N extends null = never> {
  /** Lists that are ended. */
  readonly rows: number;
  /** One more item of the list that is open. */
  add(item: ScalarOf<T> | N): void;
  /** Ends the list that is open, perhaps an empty one. */
  endRow(): void;
  /** A whole list. */
  push(items: ItemsIn<T, N> | N): void;
  finish(): ListColumn<T, N>;
}

/** Lists that all have `size` items, of zeros: fill `items.values`, where row i begins at `i * size`. */
type Fixed<T extends ItemType> = T extends ValuesType
  ? {
      fixed(rows: number, size: number): ListColumn<T>;
      fixed(rows: number, size: number, nulls: 'nullable'): Nullable<ListColumn<T, null>>;
    }
  : unknown;

export type ListMaker<T extends ItemType> = Fixed<T> & {
  from(lists: readonly ItemsIn<T>[]): ListColumn<T>;
  from(lists: readonly (ItemsIn<T, null> | null)[]): ListColumn<T, null>;
  /** For lists whose lengths are not known before. */
  growing(): ListBuilder<T>;
  growing(nulls: 'nullable'): ListBuilder<T, null>;
  /** Without a copy: the list of row i is `items` from `offsets[i]` up to `offsets[i + 1]`. */
  of(items: ColumnOf<T>, offsets: Int32Array): ListColumn<T>;
};

/** Makers of lists of items of one type. */
export function list<T extends ItemType>(type: T): ListMaker<T> {
  const growing = (nulls?: 'nullable'): GrowingList => new GrowingList(type, nulls === 'nullable');
  const maker = {
    growing,
    from(lists: readonly (ArrayLike<unknown> | null)[]) {
      const builder = new GrowingList(type, true);
      for (const items of lists) builder.push(items ?? null);
      return builder.finish();
    },
    fixed(rows: number, size: number, nulls?: 'nullable') {
      const items = valuesColumn(type as ValuesType, arrayOfType(type as ValuesType, rows * size));
      const built = new ListColumn(
        items as ColumnOf<ItemType>,
        Int32Array.from({ length: rows + 1 }, (_, row) => row * size),
      );
      return nulls === undefined ? built : nullable(built, rows);
    },
    of(items: AnyColumn, offsets: Int32Array) {
      checkOffsets(type, items, offsets);
      return new ListColumn(items as ColumnOf<ItemType>, offsets);
    },
  };
  return maker as unknown as ListMaker<T>;
}

class GrowingList {
  rows = 0;
  readonly #items: Items;
  readonly #nullRows: number[] = [];
  #offsets = new Int32Array(65);

  constructor(
    private readonly type: ItemType,
    private readonly nullable: boolean,
  ) {
    this.#items = itemsOf(type);
  }

  add(item: unknown): void {
    if (!this.#items.add(item)) throw this.#misfit(String(item));
    if (!this.nullable && (item === null || item === undefined)) throw this.#misfit('a null');
  }

  endRow(): void {
    this.rows++;
    if (this.rows >= this.#offsets.length) {
      const wider = new Int32Array(this.#offsets.length * 2);
      wider.set(this.#offsets);
      this.#offsets = wider;
    }
    this.#offsets[this.rows] = this.#items.length;
  }

  push(items: ArrayLike<unknown> | null): void {
    if (items === null) {
      if (!this.nullable) throw this.#misfit('a null');
      this.#nullRows.push(this.rows);
    } else if (this.nullable || ArrayBuffer.isView(items)) {
      if (!this.#items.addAll(items)) throw this.#misfit('one of the items given');
    } else {
      for (let i = 0; i < items.length; i++) this.add(items[i]);
    }
    this.endRow();
  }

  finish(): AnyColumn {
    const nulls = new Nulls(this.rows);
    for (const row of this.#nullRows) nulls.clear(row);
    const offsets = this.#offsets.subarray(0, this.rows + 1);
    const extras = { nullCount: nulls.count, validity: nulls.bits };
    return new ListColumn<ItemType, null>(this.#items.finish() as ColumnOf<ItemType, null>, offsets, this.rows, extras);
  }

  #misfit(what: string): PodlineError {
    return new PodlineError('PDL_STAGE_OUTPUT', `a list<${this.type}> cannot hold ${what}, which row ${this.rows} was given`);
  }
}

function checkOffsets(type: ItemType, items: AnyColumn, offsets: Int32Array): void {
  const fits = (offset: number, at: number): boolean => offset >= (at === 0 ? 0 : (offsets[at - 1] ?? 0)) && offset <= items.rows;
  if (items.type === type && offsets.length > 0 && offsets.every(fits)) return;
  throw new PodlineError(
    'PDL_STAGE_OUTPUT',
    `a list<${type}> takes items of that type and offsets into them that do not fall; it was given ${items.rows} items of ${items.type}`,
  );
}
