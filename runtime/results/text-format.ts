/** The formats whose tables are text: what comes before the rows, and how the rows of a block become bytes. */
import type { ColumnSchema } from '../contracts/block.js';
import type { ColumnData } from '../scratch/types.js';
import { csvHeader, writeCsvBlock } from './csv.js';
import { writeNdjsonBlock } from './ndjson.js';
import type { TextBuffer } from './text-buffer.js';
import type { ResultFormat } from './types.js';

export interface TextFormat {
  /** Stands before the first row; may be empty. */
  head: string;
  /** The same bytes for the same block, whichever blocks came before: blocks may be written by several threads. */
  write(out: TextBuffer, rows: number, columns: ReadonlyMap<string, ColumnData>): void;
}

export type TextName = Extract<ResultFormat, 'csv' | 'ndjson'>;

export const isText = (format: ResultFormat): format is TextName => format === 'csv' || format === 'ndjson';

export function textFormat(format: TextName, schema: readonly ColumnSchema[]): TextFormat {
  switch (format) {
    case 'csv':
      return {
        head: csvHeader(schema.map(({ name }) => name)),
        write: (out, rows, columns) => {
          writeCsvBlock(out, rows, inOrder(schema, columns));
        },
      };
    case 'ndjson':
      return { head: '', write: writeNdjsonBlock };
  }
}

const inOrder = (schema: readonly ColumnSchema[], columns: ReadonlyMap<string, ColumnData>): ColumnData[] =>
  schema.flatMap(({ name }) => columns.get(name) ?? []);
