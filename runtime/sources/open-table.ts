/** Picks the reader of a format. */
import { PodlineError } from '../contracts/errors.js';
import type { PipelineSpec } from '../contracts/manifest.js';
import type { ShardSource } from '../contracts/shard.js';
import { openArrow } from './arrow.js';
import { openCsv } from './csv.js';
import { openRows } from './inline.js';
import type { JsonRow } from './json-rows.js';
import { openNdjson } from './ndjson.js';
import { openParquet } from './parquet/reader.js';
import type { SourceReader } from './source-reader.js';
import { ColumnWishes, type TableReader } from './table-reader.js';

export interface OpenTable extends TableReader {
  /** Ends what the reader of the format holds; the source stays open. */
  close(): Promise<void>;
}

export async function openTable(
  source: ShardSource,
  content: { reader: SourceReader } | { rows: readonly JsonRow[] },
  input: PipelineSpec['input'],
): Promise<OpenTable> {
  const held = 'uri' in source ? source : undefined;
  const wishes = new ColumnWishes(input.columns, held?.types);
  if (!('reader' in content)) return closable(openRows(content.rows, wishes, input.blockRows));
  const { reader } = content;
  const { format } = source;
  switch (format) {
    case 'parquet':
      refuseBytes(source, reader.name);
      return closable(await openParquet(reader, wishes, held?.rows));
    case 'arrow':
      refuseBytes(source, reader.name);
      return openArrow(reader, wishes, held?.rows);
    case 'csv':
      return closable(
        await openCsv(
          reader,
          wishes,
          { bytes: held?.bytes, rows: held?.rows, header: held?.header, delimiter: held?.delimiter },
          input.blockRows,
        ),
      );
    case 'ndjson':
      return closable(
        await openNdjson(reader, wishes, { bytes: held?.bytes, rows: held?.rows, carriedNames: held?.header }, input.blockRows),
      );
    case 'bytes':
      throw new PodlineError('PDL_FORMAT_UNSUPPORTED', `${reader.name} is read as bytes, which are no table`, {
        place: reader.name,
      });
  }
}

const closable = (table: TableReader): OpenTable => ({
  schema: table.schema,
  plan: table.plan,
  batches: (skipRows) => table.batches(skipRows),
  close: async () => undefined,
});

function refuseBytes(source: ShardSource, name: string): void {
  if (!('uri' in source) || source.bytes === undefined) return;
  throw new PodlineError(
    'PDL_FORMAT_UNSUPPORTED',
    `a range of bytes of ${name} was asked for, and ${source.format} is cut by rows`,
    { place: name, hint: 'Give a range of rows.' },
  );
}
