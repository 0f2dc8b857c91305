/**
 * Rows as a service holds them: plain objects with one property per column, made from columns and taken back into them.
 *
 * Objects are made by a constructor written for the schema, as a tuned service would generate it: all of one shape.
 * Times travel as milliseconds since 1970, dictionaries as their words, a NaN as null.
 */
import type { ColumnSchema, ColumnType } from '../../runtime/contracts/block.js';
import type { ColumnData, Utf8Data } from '../../runtime/scratch/types.js';
import { column as builders } from '../../runtime/stages/builders.js';
import { columnOf, ListColumn, type NumberArray, type NumberType } from '../../runtime/stages/columns.js';
import type { Table } from '../table.js';

export type Value = number | string | boolean | null;
export type Row = Record<string, Value>;

/** Reads one value of one column. */
export function valueReader(data: ColumnData): (row: number) => Value {
  const column = columnOf(data);
  if (column instanceof ListColumn) throw new Error(`the baselines carry no ${data.type}`);
  switch (column.type) {
    case 'int64':
    case 'uint64':
      return (row) => column.numberAt(row);
    case 'dictionary': {
      const { codes, dictionary } = column;
      return column.nullCount > 0 ? (row) => column.at(row) : (row) => dictionary[codes[row]!]!;
    }
    case 'bool':
    case 'utf8':
    case 'timestamp[ms]':
    case 'timestamp[us]':
    case 'date32':
      return (row) => column.at(row);
    default: {
      if (column.nullCount > 0) return (row) => column.at(row);
      const { values } = column;
      return (row) => values[row]!;
    }
  }
}

/** Rows [from, to) as objects. */
export function rowMaker(schema: readonly ColumnSchema[]): (table: Table) => (from: number, to: number) => Row[] {
  const body = schema.map(({ name }, index) => `${JSON.stringify(name)}: read[${index}](row)`).join(', ');
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- names of columns, quoted: see the head of this file
  const make = new Function(
    'read',
    'from',
    'to',
    `const rows = new Array(to - from); for (let row = from; row < to; row++) rows[row - from] = { ${body} }; return rows;`,
  ) as (read: ((row: number) => Value)[], from: number, to: number) => Row[];
  return (table) => {
    const read = schema.map(({ name }) => valueReader(table.columns.get(name)!));
    return (from, to) => make(read, from, to);
  };
}

/** Takes rows in and gives tables of `blockRows` out. */
export class RowCollector {
  #columns: ColumnFiller[] = [];
  #rows = 0;

  constructor(
    private readonly schema: readonly ColumnSchema[],
    private readonly blockRows: number,
  ) {}

  *add(rows: readonly Row[]): Generator<Table> {
    for (let at = 0; at < rows.length;) {
      if (this.#columns.length === 0) this.#columns = this.schema.map((column) => fillerOf(column, this.blockRows));
      const taken = Math.min(rows.length - at, this.blockRows - this.#rows);
      for (const column of this.#columns) column.fill(rows, at, taken, this.#rows);
      this.#rows += taken;
      at += taken;
      if (this.#rows === this.blockRows) yield* this.end();
    }
  }

  *end(): Generator<Table> {
    if (this.#rows === 0) return;
    const rows = this.#rows;
    const columns = new Map(this.#columns.map((column) => [column.name, column.take(rows)]));
    this.#columns = [];
    this.#rows = 0;
    yield { rows, columns };
  }
}

interface ColumnFiller {
  readonly name: string;
  fill(rows: readonly Row[], from: number, count: number, at: number): void;
  take(rows: number): ColumnData;
}

const arrays: Record<NumberType, new (length: number) => NumberArray> = {
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

function fillerOf({ name, type, nullable }: ColumnSchema, blockRows: number): ColumnFiller {
  switch (type) {
    case 'dictionary':
      return dictionaryFiller(name, blockRows);
    case 'utf8':
      return textFiller(name);
    case 'timestamp[ms]':
      return numberFiller(
        { name, type, nullable },
        new Float64Array(blockRows),
        (values, rows) => builders.timestampMs.fromMs(values.subarray(0, rows)).toData().values,
      );
    default: {
      const array = arrays[type as NumberType] as (typeof arrays)[NumberType] | undefined;
      if (array === undefined) throw new Error(`the baselines carry no ${type}: column ${name}`);
      return numberFiller({ name, type, nullable }, new array(blockRows), (values, rows) => values.subarray(0, rows));
    }
  }
}

function numberFiller<A extends NumberArray>(
  { name, type, nullable }: { name: string; type: ColumnType; nullable: boolean },
  values: A,
  finish: (values: A, rows: number) => ArrayBufferView,
): ColumnFiller {
  const nulls = new NullBits();
  // A float that is not nullable and came as null was a NaN.
  const isNaNable = type === 'float32' || type === 'float64';
  return {
    name,
    fill(rows, from, count, at) {
      for (let i = 0; i < count; i++) {
        const value = rows[from + i]![name];
        if (typeof value === 'number') values[at + i] = value;
        else if (isNaNable && !nullable) values[at + i] = Number.NaN;
        else nulls.clear(at + i);
      }
    },
    take: (rows) => ({ type, rows, ...nulls.take(rows), values: finish(values, rows) }),
  };
}

function dictionaryFiller(name: string, blockRows: number): ColumnFiller {
  const codes = new Int32Array(blockRows);
  const words: string[] = [];
  const codeOf = new Map<string, number>();
  const nulls = new NullBits();
  return {
    name,
    fill(rows, from, count, at) {
      for (let i = 0; i < count; i++) {
        const word = rows[from + i]![name];
        if (typeof word !== 'string') {
          nulls.clear(at + i);
          continue;
        }
        let code = codeOf.get(word);
        if (code === undefined) {
          codeOf.set(word, (code = words.length));
          words.push(word);
        }
        codes[at + i] = code;
      }
    },
    take: (rows) => ({
      type: 'dictionary',
      rows,
      ...nulls.take(rows),
      values: codes.subarray(0, rows),
      dictionary: utf8Of(words),
    }),
  };
}

function textFiller(name: string): ColumnFiller {
  const strings: (string | null)[] = [];
  return {
    name,
    fill(rows, from, count) {
      for (let i = 0; i < count; i++) strings.push((rows[from + i]![name] as string | null | undefined) ?? null);
    },
    take: () => builders.utf8.from(strings).toData(),
  };
}

const utf8Of = (words: readonly string[]): Utf8Data => {
  const { bytes, offsets } = builders.utf8.from(words);
  return { length: words.length, offsets, values: bytes };
};

class NullBits {
  #rows: number[] = [];

  clear(row: number): void {
    this.#rows.push(row);
  }

  take(rows: number): { nullCount: number; validity: Uint8Array | undefined } {
    if (this.#rows.length === 0) return { nullCount: 0, validity: undefined };
    const validity = new Uint8Array((rows + 7) >> 3).fill(255);
    for (const row of this.#rows) validity[row >> 3]! &= ~(1 << (row & 7));
    return { nullCount: this.#rows.length, validity };
  }
}
