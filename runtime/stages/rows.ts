/**
 * The row form: one view object over the columns of a block, moved from row to row, and one object that takes the values.
 *
 * Getters and setters are written out type by type, so that the engine sees one kind of array at each place; a general
 * one would cost several times as much for three million rows.
 *
 * Invariants
 *  1. `row` and `out` are the same objects for every row of a block: whoever keeps one keeps nothing.
 *  2. A column that is not nullable must be set for every row that is kept; one that is, is null until it is set.
 */
import type { BlockRecord } from '../contracts/block.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import { column as make, Nulls } from './builders.js';
import type { AnyColumn, NumberType } from './columns.js';
import type { Batch, BlockContext, StageFunctions } from './define.js';
import type { ColumnData, ColumnToWrite } from '../scratch/types.js';
import { fault, gatheredRows, merge, sameRows, type TableOutput } from './output.js';

interface Cursor {
  /** Row of the input. */
  row: number;
  /** Row of the output: rows that were dropped are not counted. */
  out: number;
}

export function runRows(
  stage: string,
  declaration: StageDeclaration,
  block: BlockRecord,
  batch: Batch,
  ctx: BlockContext,
  row: NonNullable<StageFunctions['row']>,
): TableOutput {
  const cursor: Cursor = { row: 0, out: 0 };
  const view = rowView(declaration.input === undefined ? batch.names : Object.keys(declaration.input), batch, cursor);
  const sinks = Object.entries(declaration.output ?? {}).map(([name, spec]) => new Sink(name, spec.type, spec.nullable === true, block.rows, cursor, stage));
  const out = {};
  for (const sink of sinks) Object.defineProperty(out, sink.name, { enumerable: true, set: sink.set, get: sink.get });
  Object.freeze(out);
  const kept = new Uint32Array(block.rows);
  for (let i = 0; i < block.rows; i++) {
    cursor.row = i;
    if (row(view, out, ctx) === false) {
      for (const sink of sinks) sink.forget();
      continue;
    }
    for (const sink of sinks) sink.settle();
    kept[cursor.out++] = i;
  }
  const rows = cursor.out;
  const rest = rows === block.rows ? sameRows(declaration, block) : gatheredRows(declaration, block, batch, kept.subarray(0, rows));
  return { rows, columns: merge(rest, sinks.map((sink): ColumnToWrite => ({ name: sink.name, data: sink.finish(rows) }))) };
}

function rowView(names: readonly string[], batch: Batch, cursor: Cursor): object {
  const view = {};
  for (const name of names) Object.defineProperty(view, name, { enumerable: true, get: getter(batch, name, cursor) });
  return Object.freeze(view);
}

/** A column is mapped when its getter is called for the first time: what a stage does not read is not touched. */
function getter(batch: Batch, name: string, cursor: Cursor): () => unknown {
  let read: (() => unknown) | undefined;
  return () => (read ??= reader(batch.column(name), cursor))();
}

function reader(column: AnyColumn, cursor: Cursor): () => unknown {
  if (column.nullCount > 0) return () => column.at(cursor.row);
  switch (column.type) {
    case 'int8':
      return ((values: Int8Array) => () => values[cursor.row])(column.values);
    case 'int16':
      return ((values: Int16Array) => () => values[cursor.row])(column.values);
    case 'int32':
    case 'date32':
      return ((values: Int32Array) => () => values[cursor.row])(column.values);
    case 'uint8':
      return ((values: Uint8Array) => () => values[cursor.row])(column.values);
    case 'uint16':
      return ((values: Uint16Array) => () => values[cursor.row])(column.values);
    case 'uint32':
      return ((values: Uint32Array) => () => values[cursor.row])(column.values);
    case 'float32':
      return ((values: Float32Array) => () => values[cursor.row])(column.values);
    case 'float64':
      return ((values: Float64Array) => () => values[cursor.row])(column.values);
    case 'dictionary': {
      const { codes, dictionary } = column;
      return () => dictionary[codes[cursor.row] ?? 0];
    }
    default:
      return () => column.at(cursor.row);
  }
}

type SinkType = NonNullable<StageDeclaration['output']>[string]['type'];
type Lists = { text?: (string | null)[]; flags?: (boolean | null)[]; ms?: (number | null)[]; numbers?: Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array | Float32Array | Float64Array; big?: BigInt64Array | BigUint64Array };

/** Takes the values of one output column. */
class Sink {
  readonly set: (value: unknown) => void;
  readonly get: () => unknown;
  readonly #held: Lists = {};
  readonly #nulls: Nulls | undefined;
  /** The output row that was set last; -1 is none. */
  #setFor = -1;

  constructor(
    readonly name: string,
    private readonly type: SinkType,
    private readonly nullable: boolean,
    rows: number,
    private readonly cursor: Cursor,
    private readonly stage: string,
  ) {
    this.#nulls = nullable ? new Nulls(rows) : undefined;
    const place = `${stage}.${name}`;
    const put = this.#store(rows);
    this.set = (value) => {
      const at = cursor.out;
      this.#setFor = at;
      if (value === null || value === undefined) {
        if (this.#nulls === undefined) throw fault(place, `${type} without nulls`, `${String(value)} in row ${cursor.row}`, `Declare it as { type: '${type}', nullable: true }.`);
        this.#nulls.clear(at);
        put(at, null);
        return;
      }
      this.#nulls?.set(at);
      put(at, value);
    };
    this.get = () => {
      throw fault(place, 'values that are set', 'a read of what is only written');
    };
  }

  /** The row is dropped: what was set for it is overwritten by the next. */
  forget(): void {
    this.#setFor = -1;
    this.#nulls?.set(this.cursor.out);
  }

  /** The row is kept. */
  settle(): void {
    if (this.#setFor === this.cursor.out) return;
    if (!this.nullable) throw fault(`${this.stage}.${this.name}`, `a value for every row that is kept`, `none for row ${this.cursor.row}`);
    this.set(null);
  }

  finish(rows: number): ColumnData {
    const { text, flags, ms, numbers, big } = this.#held;
    if (text !== undefined) {
      text.length = rows;
      return (this.type === 'dictionary' ? make.dictionary.from(text) : make.utf8.from(text)).toData();
    }
    if (flags !== undefined) {
      flags.length = rows;
      return make.bool.from(flags).toData();
    }
    if (ms !== undefined) {
      ms.length = rows;
      return (this.type === 'timestamp[us]' ? make.timestampUs : make.timestampMs).fromMs(ms).toData();
    }
    const values = numbers ?? big ?? new Uint8Array(0);
    const nullCount = this.#nulls?.count ?? 0;
    return {
      type: this.type,
      rows,
      nullCount,
      validity: nullCount === 0 ? undefined : this.#nulls?.bits.subarray(0, (rows + 7) >> 3),
      values: rows === values.length ? values : values.slice(0, rows),
    };
  }

  #store(rows: number): (at: number, value: unknown) => void {
    const { type } = this;
    const wrong = (value: unknown): never => {
      throw fault(`${this.stage}.${this.name}`, type, `${typeof value} in row ${this.cursor.row}`);
    };
    switch (type) {
      case 'utf8':
      case 'dictionary': {
        const text: (string | null)[] = (this.#held.text = []);
        return (at, value) => (typeof value === 'string' || value === null ? (text[at] = value) : wrong(value));
      }
      case 'bool': {
        const flags: (boolean | null)[] = (this.#held.flags = []);
        return (at, value) => (typeof value === 'boolean' || value === null ? (flags[at] = value) : wrong(value));
      }
      case 'timestamp[ms]':
      case 'timestamp[us]': {
        const ms: (number | null)[] = (this.#held.ms = []);
        return (at, value) => (typeof value === 'number' || value === null ? (ms[at] = value) : wrong(value));
      }
      case 'int64':
      case 'uint64': {
        const big = (this.#held.big = type === 'int64' ? new BigInt64Array(rows) : new BigUint64Array(rows));
        return (at, value) => (typeof value === 'bigint' || value === null ? (big[at] = value ?? 0n) : wrong(value));
      }
      default: {
        const column = type === 'date32' ? make.date32(rows) : make[type as NumberType](rows);
        const numbers = column.values;
        this.#held.numbers = numbers;
        if (type === 'float32' || type === 'float64') {
          return (at, value) => (typeof value === 'number' || value === null ? (numbers[at] = value ?? 0) : wrong(value));
        }
        // A value that does not fit would be cut to fit without a word.
        return (at, value) => {
          if (typeof value !== 'number' && value !== null) return wrong(value);
          numbers[at] = value ?? 0;
          if (value !== null && numbers[at] !== value) throw fault(`${this.stage}.${this.name}`, type, `${value} in row ${this.cursor.row}`);
        };
      }
    }
  }
}
