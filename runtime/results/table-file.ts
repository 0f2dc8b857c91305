/** A table of a result in one of its formats, written block by block. */
import type { ColumnSchema } from '../contracts/block.js';
import type { ColumnData, Utf8Data } from '../scratch/types.js';
import { ArrowTable, MergedDictionary } from './arrow.js';
import type { FileSink } from './sink.js';
import type { TextName } from './text-format.js';
import type { ResultFormat } from './types.js';

export interface TableFile {
  /** Columns in the order of the schema. What it was given may be reused afterwards. */
  append(rows: number, columns: ReadonlyMap<string, ColumnData>): Promise<void>;
  /** Writes what ends the file; the sink is the caller's to finish. */
  finish(): Promise<void>;
}

/** Of the formats that are no text. `dictionaries` gives those of every block that is to come, by column; only Arrow asks. */
export async function openTableFile(
  format: Exclude<ResultFormat, TextName>,
  sink: FileSink,
  schema: readonly ColumnSchema[],
  dictionaries: () => Iterable<readonly [column: string, dictionary: Utf8Data]>,
): Promise<TableFile> {
  switch (format) {
    case 'arrow': {
      const merged = new Map(
        schema.flatMap(({ name, type }) => (type === 'dictionary' ? [[name, new MergedDictionary()] as const] : [])),
      );
      for (const [column, dictionary] of dictionaries()) merged.get(column)?.codesOf(dictionary);
      return new ArrowTable(sink, schema, merged);
    }
    case 'parquet': {
      const { ParquetTable } = await import('./parquet.js');
      return new ParquetTable(sink, schema);
    }
  }
}
