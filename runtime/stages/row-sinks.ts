/**
 * Where a row form puts its values: one object with a setter for each output column, and a sink behind each.
 *
 * Like the view of the input, the object is made once; with every block its sinks begin anew. Setters are written out by
 * the kind of their values.
 *
 * Invariants
 *  1. A column that is not nullable must be set for every row that is kept; one that is, is null until it is set.
 *  2. A value that does not fit the type of its column is an error, never cut to fit.
 */
import type { ColumnType, ItemType, ScalarType } from '../contracts/block.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import { itemTypeOf } from '../scratch/arrow/types.js';
import type { ColumnData, ColumnToWrite } from '../scratch/types.js';
import { column as make } from './builders.js';
import { ListColumn, valuesColumn, type ColumnOf, type NumberArray, type NumberType } from './columns.js';
import { itemsOf } from './items.js';
import { Nulls } from './nulls.js';
import { arrayOfType, int64FromMs } from './number-arrays.js';
import { describe, fault } from './output.js';
import type { Cursor } from './row-view.js';

/** Columns that the bits of one number can tell apart. */
const maskedColumnsMax = 30;

export class RowSinks {
  readonly out: object;
  readonly #sinks: Sink[];
  readonly #all: number;

  constructor(
    private readonly stage: string,
    output: NonNullable<StageDeclaration['output']>,
    private readonly cursor: Cursor,
  ) {
    this.#sinks = Object.entries(output).map(([name, { type, nullable }], index) =>
      sinkOf(`${stage}.${name}`, name, type, nullable === true, cursor, index < maskedColumnsMax ? 1 << index : 0),
    );
    this.#all = this.#sinks.length > maskedColumnsMax ? -1 : 2 ** this.#sinks.length - 1;
    const out = {};
    for (const sink of this.#sinks)
      Object.defineProperty(out, sink.name, { enumerable: true, get: () => sink.last(), set: sink.set });
    this.out = Object.freeze(out);
  }

  begin(rows: number): void {
    for (const sink of this.#sinks) sink.begin(rows);
  }

  /** The row is kept: what was not set is null, or missing. */
  settle(): void {
    const { cursor } = this;
    if (cursor.set !== this.#all) {
      for (const sink of this.#sinks) {
        if (sink.wasSet()) continue;
        if (!sink.nullable)
          throw fault(`${this.stage}.${sink.name}`, 'a value for every row that is kept', `none for row ${cursor.row}`);
        sink.set(null);
      }
    }
    cursor.set = 0;
  }

  /** The row is dropped: what was set for it is overwritten by the next. */
  forget(): void {
    this.cursor.set = 0;
    for (const sink of this.#sinks) sink.forget();
  }

  finish(rows: number): ColumnToWrite[] {
    return this.#sinks.map((sink) => ({ name: sink.name, data: sink.finish(rows) }));
  }
}

interface Sink {
  readonly name: string;
  readonly nullable: boolean;
  begin(rows: number): void;
  set(this: void, value: unknown): void;
  wasSet(): boolean;
  forget(): void;
  last(): never;
  finish(rows: number): ColumnData;
}

/** Values of one kind on their way into a column: what differs between the types. */
interface Store {
  begin(rows: number): void;
  /** False when the value is of another kind. */
  put(this: void, at: number, value: unknown): boolean;
  finish(rows: number, nulls: Nulls | undefined): ColumnData;
}

function sinkOf(place: string, name: string, type: ColumnType, nullable: boolean, cursor: Cursor, bit: number): Sink {
  const store = storeOf(type, nullable);
  let nulls: Nulls | undefined;
  let setFor = -1;
  const { put } = store;
  const setNull = (value: unknown): void => {
    if (nulls === undefined)
      throw fault(
        place,
        `${type} without nulls`,
        `${String(value)} in row ${cursor.row}`,
        `Declare it as { type: '${type}', nullable: true }.`,
      );
    nulls.clear(cursor.out);
    put(cursor.out, null);
  };
  const set = (value: unknown): void => {
    const at = cursor.out;
    cursor.set |= bit;
    setFor = at;
    if (value === null || value === undefined) {
      setNull(value);
      return;
    }
    if (nulls !== undefined) nulls.set(at);
    if (!put(at, value))
      throw fault(place, type, `${typeof value === 'number' ? String(value) : describe(value)} in row ${cursor.row}`);
  };
  return {
    name,
    nullable,
    set,
    begin: (rows) => {
      nulls = nullable ? new Nulls(rows) : undefined;
      setFor = -1;
      store.begin(rows);
    },
    wasSet: () => setFor === cursor.out,
    forget: () => {
      setFor = -1;
      nulls?.set(cursor.out);
    },
    last: () => {
      throw fault(place, 'values that are set', 'a read of what is only written');
    },
    finish: (rows) => store.finish(rows, nulls),
  };
}

function storeOf(type: ColumnType, nullable: boolean): Store {
  const item = itemTypeOf(type);
  if (item !== undefined) return listStore(item, nullable);
  switch (type as ScalarType) {
    case 'utf8':
    case 'dictionary':
      return plainStore('string', (values: (string | null)[]) => make[type as 'utf8'].from(values).toData());
    case 'bool':
      return plainStore('boolean', (values: (boolean | null)[]) => make.bool.from(values).toData());
    case 'timestamp[ms]':
      return floatStore('float64', (ms) => valuesColumn('timestamp[ms]', int64FromMs(ms, 1)).toData());
    case 'timestamp[us]':
      return floatStore('float64', (ms) => valuesColumn('timestamp[us]', int64FromMs(ms, 1000)).toData());
    case 'int64':
    case 'uint64':
      return bigStore(type as 'int64' | 'uint64');
    case 'float32':
    case 'float64':
      return floatStore(type as 'float32' | 'float64', (values) => valuesColumn(type as 'float64', values).toData());
    default:
      return integerStore(type as Exclude<NumberType, 'float32' | 'float64'> | 'date32');
  }
}

/** Kept as they come until the block is done. */
function plainStore<V>(kind: 'string' | 'boolean', build: (values: (V | null)[]) => ColumnData): Store {
  let values: (V | null)[] = [];
  return {
    begin: (rows) => (values = new Array<V | null>(rows)),
    put: (at, value) => {
      if (value !== null && typeof value !== kind) return false;
      values[at] = value as V | null;
      return true;
    },
    finish: (rows) => {
      values.length = rows;
      return build(values);
    },
  };
}

/** Items go behind those of the row before: what was set for a row that is set again, or was dropped, is overwritten. */
function listStore(type: ItemType, nullable: boolean): Store {
  let items = itemsOf(type);
  let offsets = new Int32Array(1);
  return {
    begin: (rows) => {
      items = itemsOf(type);
      offsets = new Int32Array(rows + 1);
    },
    put: (at, value) => {
      items.truncate(offsets[at] ?? 0);
      const isList = ArrayBuffer.isView(value) || (Array.isArray(value) && (nullable || !value.includes(null)));
      if (value !== null && !(isList && items.addAll(value as unknown as ArrayLike<unknown>))) return false;
      offsets[at + 1] = items.length;
      return true;
    },
    finish: (rows, nulls) => {
      items.truncate(offsets[rows] ?? 0);
      const column = items.finish() as ColumnOf<ItemType, null>;
      return withNulls(new ListColumn<ItemType, null>(column, offsets.subarray(0, rows + 1)).toData(), nulls);
    },
  };
}

function floatStore(held: 'float32' | 'float64', build: (values: Float32Array | Float64Array) => ColumnData): Store {
  let values: Float32Array | Float64Array = new Float64Array(0);
  return {
    begin: (rows) => (values = arrayOfType(held, rows)),
    put: (at, value) => {
      if (typeof value !== 'number') return value === null;
      values[at] = value;
      return true;
    },
    finish: (rows, nulls) => withNulls(build(firstOf(values, rows)), nulls),
  };
}

function integerStore(type: Exclude<NumberType, 'float32' | 'float64'> | 'date32'): Store {
  let values: NumberArray = arrayOfType(type, 0);
  return {
    begin: (rows) => (values = arrayOfType(type, rows)),
    put: (at, value) => {
      if (typeof value !== 'number') return value === null;
      values[at] = value;
      return values[at] === value;
    },
    finish: (rows, nulls) => withNulls(valuesColumn(type, firstOf(values, rows)).toData(), nulls),
  };
}

function bigStore(type: 'int64' | 'uint64'): Store {
  let values: BigInt64Array | BigUint64Array = arrayOfType(type, 0);
  return {
    begin: (rows) => (values = arrayOfType(type, rows)),
    put: (at, value) => {
      if (typeof value !== 'bigint') return value === null;
      values[at] = value;
      return values[at] === value;
    },
    finish: (rows, nulls) => withNulls(valuesColumn(type, firstOf(values, rows)).toData(), nulls),
  };
}

const firstOf = <A extends NumberArray | BigInt64Array | BigUint64Array>(values: A, rows: number): A =>
  rows === values.length ? values : (values.slice(0, rows) as A);

/** The nulls of the rows that were kept: bits behind them are of rows that were dropped. */
function withNulls(data: ColumnData, nulls: Nulls | undefined): ColumnData {
  const nullCount = nulls?.count ?? 0;
  if (nullCount === 0) return data;
  return { ...data, nullCount, validity: nulls?.bits.subarray(0, (data.rows + 7) >> 3) };
}
