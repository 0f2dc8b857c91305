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
import type { ColumnType } from '../contracts/block.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import type { ColumnData, ColumnToWrite } from '../scratch/types.js';
import { arrayOfType, column as make, Nulls } from './builders.js';
import type { NumberArray, NumberType } from './columns.js';
import { fault } from './output.js';
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
  const store = storeOf(type);
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
      throw fault(place, type, `${typeof value === 'number' ? String(value) : `a ${typeof value}`} in row ${cursor.row}`);
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

function storeOf(type: ColumnType): Store {
  switch (type) {
    case 'utf8':
    case 'dictionary':
      return listStore('string', (values: (string | null)[]) =>
        (type === 'utf8' ? make.utf8 : make.dictionary).from(values).toData(),
      );
    case 'bool':
      return listStore('boolean', (values: (boolean | null)[]) => make.bool.from(values).toData());
    case 'timestamp[ms]':
      return listStore('number', (values: (number | null)[]) => make.timestampMs.fromMs(values).toData());
    case 'timestamp[us]':
      return listStore('number', (values: (number | null)[]) => make.timestampUs.fromMs(values).toData());
    case 'int64':
      return bigStore(type, (rows) => new BigInt64Array(rows));
    case 'uint64':
      return bigStore(type, (rows) => new BigUint64Array(rows));
    case 'float32':
    case 'float64':
      return floatStore(type);
    case 'date32':
      return integerStore(type, 'int32');
    default:
      return integerStore(type, type);
  }
}

function listStore<V>(kind: 'string' | 'boolean' | 'number', build: (values: (V | null)[]) => ColumnData): Store {
  let values: (V | null)[] = [];
  return {
    begin: () => (values = []),
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

function floatStore(type: 'float32' | 'float64'): Store {
  let values: Float32Array | Float64Array = new Float64Array(0);
  return {
    begin: (rows) => (values = arrayOfType(type, rows)),
    put: (at, value) => {
      if (typeof value !== 'number') return value === null;
      values[at] = value;
      return true;
    },
    finish: (rows, nulls) => numbersData(type, rows, values, nulls),
  };
}

function integerStore(type: ColumnType, arrayType: NumberType): Store {
  let values: NumberArray = arrayOfType(arrayType, 0);
  return {
    begin: (rows) => (values = arrayOfType(arrayType, rows)),
    put: (at, value) => {
      if (typeof value !== 'number') return value === null;
      values[at] = value;
      return values[at] === value;
    },
    finish: (rows, nulls) => numbersData(type, rows, values, nulls),
  };
}

function bigStore(type: 'int64' | 'uint64', make: (rows: number) => BigInt64Array | BigUint64Array): Store {
  let values = make(0);
  return {
    begin: (rows) => (values = make(rows)),
    put: (at, value) => {
      if (typeof value !== 'bigint') return value === null;
      values[at] = value;
      return values[at] === value;
    },
    finish: (rows, nulls) => numbersData(type, rows, values, nulls),
  };
}

function numbersData(
  type: ColumnType,
  rows: number,
  values: NumberArray | BigInt64Array | BigUint64Array,
  nulls: Nulls | undefined,
): ColumnData {
  const nullCount = nulls?.count ?? 0;
  return {
    type,
    rows,
    nullCount,
    validity: nullCount === 0 ? undefined : nulls?.bits.subarray(0, (rows + 7) >> 3),
    values: rows === values.length ? values : values.slice(0, rows),
  };
}
