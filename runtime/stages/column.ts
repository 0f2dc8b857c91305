/**
 * What all columns have in common: rows, nulls, and perhaps a selection of the rows that lie in memory.
 *
 * Invariants
 *  1. `rows`, `nullCount`, `at` and `isNull` speak of the rows of the block. The arrays (`values`, `codes`, `offsets`, …) and `validity` are as
 *     they lie in memory: where there is a `selection`, row i of the block is row `selection[i]` of them.
 *  2. Without a selection the two are the same.
 */
import type { ColumnRef, ColumnType } from '../contracts/block.js';
import { gather } from '../scratch/gather.js';
import type { ColumnData } from '../scratch/types.js';
import { composed } from './selection.js';

/** What a column may have beside its values. */
export interface Extras {
  /** Nulls among the rows that lie in memory. */
  nullCount?: number | undefined;
  validity?: Uint8Array | undefined;
  selection?: Uint32Array | undefined;
  ref?: ColumnRef | undefined;
}

/** The arrays of a column. */
export type Arrays = Pick<ColumnData, 'values' | 'offsets' | 'dictionary' | 'items'>;

export abstract class Column {
  readonly podlineColumn = 1 as const;
  abstract readonly type: ColumnType;
  readonly rows: number;
  /** Bit i set: row i of the arrays holds a value. Absent: no nulls. */
  readonly validity: Uint8Array | undefined;
  /** Row numbers of the arrays, one for each row of the block: only in stages that say `selections: true`, and behind a filter. */
  readonly selection: Uint32Array | undefined;
  /** Where the column is committed, when it is. */
  readonly ref: ColumnRef | undefined;
  readonly #nullsBelow: number;
  #nullCount: number | undefined;

  /** @param rows that lie in memory. */
  constructor(rows: number, { nullCount = 0, validity, selection, ref }: Extras) {
    this.rows = selection?.length ?? rows;
    this.validity = nullCount === 0 ? undefined : validity;
    this.selection = selection;
    this.ref = ref;
    this.#nullsBelow = nullCount;
    this.#nullCount = selection === undefined || nullCount === 0 ? nullCount : undefined;
  }

  get nullCount(): number {
    return (this.#nullCount ??= this.#countNulls());
  }

  /** Where a row of the block lies in the arrays. */
  place(row: number): number {
    const { selection } = this;
    return selection === undefined ? row : (selection[row] ?? 0);
  }

  isNull(row: number): boolean {
    const bits = this.validity;
    if (bits === undefined) return false;
    const at = this.place(row);
    return ((bits[at >> 3] ?? 0) & (1 << (at & 7))) === 0;
  }

  /** The rows of the block in Arrow's layout, as the scratch takes them: a copy where there is a selection. */
  toData(): ColumnData {
    const data = this.#inPlace();
    return this.selection === undefined ? data : gather(data, this.selection);
  }

  /** A copy of the rows named, in that order. */
  pick(rows: Uint32Array): ColumnData {
    return gather(this.#inPlace(), this.selection === undefined ? rows : composed(this.selection, rows));
  }

  protected abstract arrays(): Arrays;

  #inPlace(): ColumnData {
    // A column that is being built counts its own nulls.
    const nullCount = this.selection === undefined ? this.nullCount : this.#nullsBelow;
    return { type: this.type, rows: this.rows, nullCount, validity: this.validity, ...this.arrays() };
  }

  #countNulls(): number {
    let count = 0;
    for (let row = 0; row < this.rows; row++) if (this.isNull(row)) count++;
    return count;
  }
}
