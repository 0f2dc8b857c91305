/** What every reader of a format into columns gives, and how it is told which columns are wanted. */
import type { ColumnSchema, ColumnType } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { PipelineSpec } from '../contracts/manifest.js';
import type { Batch } from './columns.js';

export interface TableReader {
  readonly schema: ColumnSchema[];
  /**
   * The rows of the shard's range behind the first `skipRows`, in order. To be called once. Columns are valid until the next batch is
   * asked for. Dictionaries are those that a reading without skipping would have given.
   */
  batches(skipRows: number): AsyncIterable<Batch>;
  /** How several threads may read it beside one another, where the format allows that. */
  readonly plan?: RangePlan | undefined;
}

/** What a thread must know to read a part of a table; plain data. */
export type RangePlan = CsvPlan | NdjsonPlan | ParquetPlan;

/** Records between the bytes `from` and `to` of a source; of these the rows `rows`. */
interface TextPlan {
  from: number;
  to: number;
  rows: readonly [number, number];
  schema: ColumnSchema[];
  /** Of a batch. */
  rowsMax: number;
  /** How messages call the source. */
  place: string;
}

export interface CsvPlan extends TextPlan {
  format: 'csv';
  delimiter: number;
  /** Fields of a record. */
  width: number;
  /** Field of each column. */
  fields: number[];
  /** Where the first record lies behind `from`. */
  recordsAt: number;
}

export interface NdjsonPlan extends TextPlan {
  format: 'ndjson';
  /** A key that is no column is a fault. */
  isStrict: boolean;
}

export interface ParquetPlan {
  format: 'parquet';
  schema: ColumnSchema[];
  /** First rows of the row groups, and behind the last the number of rows. */
  groupStarts: number[];
  /** Of the chunks that are read, by row group. */
  groupBytes: number[];
  rows: readonly [number, number];
}

/** Where in its stream the reader of a range of text stops, and what it found. */
export class TextRange {
  /** Where the record lies behind the last one that was read; in the stream. */
  endedAt = 0;

  /** Records that begin before `stopAt` are read; `records` were read before. */
  constructor(
    readonly stopAt = Number.POSITIVE_INFINITY,
    public records = 0,
  ) {}
}

/** `input.columns`: all, those named, or those named with a type each. */
export class ColumnWishes {
  readonly names: string[] | undefined;
  readonly #types: Record<string, ColumnType>;

  constructor(columns: PipelineSpec['input']['columns'], types: Readonly<Record<string, ColumnType>> = {}) {
    this.names = columns === undefined ? undefined : Array.isArray(columns) ? columns : Object.keys(columns);
    this.#types = { ...types, ...(columns === undefined || Array.isArray(columns) ? {} : columns) };
  }

  typeOf(name: string): ColumnType | undefined {
    return Object.hasOwn(this.#types, name) ? this.#types[name] : undefined;
  }

  /** The columns of a source that are wanted, in the order in which they are wanted. Throws PDL_SOURCE_UNREADABLE for one that is not there. */
  choose(there: readonly string[], place: string): { name: string; index: number }[] {
    return (this.names ?? [...there]).map((name) => {
      const index = there.indexOf(name);
      if (index < 0) {
        throw new PodlineError('PDL_SOURCE_UNREADABLE', `${place} has no column "${name}"; it has ${there.join(', ')}`, {
          place,
          hint: 'Check the names under `input.columns`.',
        });
      }
      return { name, index };
    });
  }
}
