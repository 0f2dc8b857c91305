/**
 * The view of one row of the input: getters over columns, moved from row to row and from block to block.
 *
 * A view is made once and filled with the columns of each block: objects that were made anew for each block would be
 * of a new hidden class each, and every access in the stage's code a search. Getters are written out type by type for
 * the same reason: so that the engine sees one kind of array at each place.
 *
 * Invariant: columns that lie under a selection are read where they lie; nothing is gathered for a view.
 */
import type { ColumnType } from '../contracts/block.js';
import type { AnyColumn } from './columns.js';
import type { Batch } from './define.js';

export interface Cursor {
  /** Row of the input. */
  row: number;
  /** Row of the output: rows that were dropped are not counted. */
  out: number;
  /** A bit for each output column that was set for this row. */
  set: number;
}

/** What the getter of one column reads from: replaced with every block. */
interface Slot<V> {
  values: V;
  /** Null rows or a selection are possible: read through the column. */
  checked: AnyColumn | undefined;
  words: readonly string[];
  column: AnyColumn | undefined;
}

export class RowView {
  readonly row: object;
  readonly #columns: { name: string; fill: (column: AnyColumn) => void }[];

  constructor(columns: readonly { name: string; type: ColumnType }[], cursor: Cursor) {
    const row = {};
    this.#columns = columns.map(({ name, type }) => {
      const slot: Slot<never> = { values: undefined as never, checked: undefined, words: [], column: undefined };
      Object.defineProperty(row, name, { enumerable: true, get: getterOf(type, slot, cursor) });
      return { name, fill: (column: AnyColumn) => fill(slot, column) };
    });
    this.row = Object.freeze(row);
  }

  /** Puts the columns of a block under the getters. */
  fill(batch: Batch): void {
    for (const { name, fill } of this.#columns) fill(batch.column(name));
  }
}

function fill(slot: Slot<unknown>, column: AnyColumn): void {
  slot.column = column;
  slot.checked = column.nullCount > 0 || column.selection !== undefined ? column : undefined;
  slot.values = 'values' in column ? column.values : 'codes' in column ? column.codes : undefined;
  slot.words = column.type === 'dictionary' ? column.dictionary : [];
}

function getterOf(type: ColumnType, slot: Slot<never>, cursor: Cursor): () => unknown {
  switch (type) {
    case 'int8':
      return ((s: Slot<Int8Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'int16':
      return ((s: Slot<Int16Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'int32':
    case 'date32':
      return ((s: Slot<Int32Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'uint8':
      return ((s: Slot<Uint8Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'uint16':
      return ((s: Slot<Uint16Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'uint32':
      return ((s: Slot<Uint32Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'float32':
      return ((s: Slot<Float32Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'float64':
      return ((s: Slot<Float64Array>) => () => (s.checked === undefined ? s.values[cursor.row] : s.checked.at(cursor.row)))(slot);
    case 'dictionary':
      return ((s: Slot<Int32Array>) => () =>
        s.checked === undefined ? s.words[s.values[cursor.row] as number] : s.checked.at(cursor.row))(slot);
    default:
      return (
        (s: Slot<never>) => () =>
          s.column?.at(cursor.row)
      )(slot);
  }
}
