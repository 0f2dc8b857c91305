/**
 * Splits the input of a pipeline into shards: one per source, or, with `chunk`, many, each record in exactly one.
 *
 * parquet and arrow are cut by rows, from their metadata; csv and ndjson by bytes at the ends of records, which one pass
 * through the source finds in constant memory; bytes anywhere; inline rows by number.
 *
 * Invariants
 *  1. The ranges of a source are disjoint and in order, and together they are all its records. An empty source is one empty shard.
 *  2. Keys are unique, stable and sort as the data: `name`, or `name#000000`, `name#000001`, …
 *  3. Each shard carries the identity of its source as it was split: loading refuses a source that has changed since.
 */
import type { ColumnType } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { InputFormat, PipelineSpec } from '../contracts/manifest.js';
import type { ShardSource } from '../contracts/shard.js';
import { parseBytes } from '../config/units.js';
import { countArrowRows } from './arrow.js';
import { cutRows, RecordCutter, type ChunkLimit, type Range } from './chunks.js';
import { FieldList, scanRecord } from './csv-records.js';
import { guessCsvTypes, readCsvHead } from './csv.js';
import { inlineContent } from './inline.js';
import { guessNdjson, isBlank, scanLine } from './ndjson.js';
import { openSource, statSource } from './open-source.js';
import { readFooter } from './parquet/footer.js';
import { resolveSources, type ResolvedSource } from './resolve.js';
import type { SourceReader } from './source-reader.js';
import { ColumnWishes } from './table-reader.js';
import { inferBytes } from './text-values.js';
import { peek, windows } from './windows.js';

export interface SplitShard {
  key: string;
  source: ShardSource;
}

export interface SplitOptions {
  /** What relative paths start from: the manifest's folder. */
  baseDir: string;
  signal?: AbortSignal | undefined;
}

/** Six digits, so that keys sort: a source with more shards asks for larger chunks. */
const chunksMax = 1_000_000;

/**
 * Yields nothing where the manifest names no source. Throws PDL_SOURCE_MISSING, _UNREADABLE, _UNREACHABLE, PDL_MANIFEST_INVALID (a
 * chunk that does not go with the format).
 */
export async function* splitInput(input: PipelineSpec['input'], options: SplitOptions): AsyncGenerator<SplitShard> {
  const { source, format } = input;
  if (source === undefined) return;
  if (typeof source === 'object' && !Array.isArray(source)) {
    yield* splitInline(source.inline, input);
    return;
  }
  for (const found of await resolveSources(source, format, options.baseDir)) {
    options.signal?.throwIfAborted();
    yield* splitSource(found, input, options.signal);
  }
}

async function* splitSource(
  found: ResolvedSource,
  input: PipelineSpec['input'],
  signal: AbortSignal | undefined,
): AsyncGenerator<SplitShard> {
  const { format } = input;
  const limit = limitOf(input, format);
  const { uri, key } = found;
  if (limit === undefined) {
    const { identity } = await statSource(uri, signal);
    yield { key, source: { uri, format, ...identityOf(identity) } };
    return;
  }
  const reader = await openSource(uri, signal);
  try {
    let number = 0;
    for await (const part of partsOf(reader, format, limit, input)) {
      yield { key: numbered(key, number++), source: { uri, format, ...part, ...identityOf(reader.identity) } };
    }
  } finally {
    await reader.close();
  }
}

interface Part {
  rows?: Range;
  bytes?: Range;
  header?: string[];
  delimiter?: string;
  types?: Record<string, ColumnType>;
}

async function* partsOf(
  reader: SourceReader,
  format: InputFormat,
  limit: ChunkLimit,
  input: PipelineSpec['input'],
): AsyncGenerator<Part> {
  switch (format) {
    case 'parquet':
      for (const rows of cutRows((await readFooter(reader)).rows, limit, reader.sizeBytes)) yield { rows };
      return;
    case 'arrow':
      for (const rows of cutRows(await countArrowRows(reader), limit, reader.sizeBytes)) yield { rows };
      return;
    case 'csv':
      yield* csvParts(reader, limit, input);
      return;
    case 'ndjson':
      yield* ndjsonParts(reader, limit, input);
      return;
    case 'bytes':
      // A byte is the record: cut as rows of one byte each.
      for (const bytes of cutRows(reader.sizeBytes, { rows: limit.bytes ?? 0 }, 0)) yield { bytes };
  }
}

async function* csvParts(reader: SourceReader, limit: ChunkLimit, input: PipelineSpec['input']): AsyncGenerator<Part> {
  const peeked = await peek(reader.stream(0, reader.sizeBytes), inferBytes);
  try {
    let record = 0;
    try {
      const head = readCsvHead(peeked.head, peeked.isAll, reader.uri);
      if (head === undefined) {
        if (!peeked.isAll) throw new SyntaxError(`the header line is longer than ${String(peeked.head.length)} bytes`);
        yield { bytes: [0, 0] };
        return;
      }
      const { names, delimiter, recordsAt } = head;
      const wishes = new ColumnWishes(input.columns);
      wishes.choose(names, reader.name);
      const types = guessCsvTypes(peeked.head, peeked.isAll, head);
      const common = { header: names, delimiter: String.fromCharCode(delimiter), types };
      const fields = new FieldList();
      const cutter = new RecordCutter(limit, recordsAt);
      for await (const part of cutWindows(windows(peeked.again, reader.name), cutter, recordsAt, (bytes, at, isEnd) => {
        const next = scanRecord(bytes, at, isEnd, delimiter, fields);
        if (next >= 0 && fields.count > 0) record += 1;
        return { next, isRecord: fields.count > 0 };
      })) {
        yield { bytes: part, ...common };
      }
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown;
      throw new PodlineError(
        'PDL_SOURCE_UNREADABLE',
        `${reader.name}: record ${String(record + 1)} cannot be read: ${thrown.message}`,
        { place: reader.name, cause: thrown },
      );
    }
  } finally {
    await peeked.close();
  }
}

async function* ndjsonParts(reader: SourceReader, limit: ChunkLimit, input: PipelineSpec['input']): AsyncGenerator<Part> {
  const peeked = await peek(reader.stream(0, reader.sizeBytes), inferBytes);
  try {
    const schema = guessNdjson(peeked.head, peeked.isAll, new ColumnWishes(input.columns), reader.name).schema();
    const common = {
      header: schema.map(({ name }) => name),
      types: Object.fromEntries(schema.map(({ name, type }) => [name, type])),
    };
    const cutter = new RecordCutter(limit, 0);
    for await (const bytes of cutWindows(windows(peeked.again, reader.name), cutter, 0, (window, at, isEnd) => {
      const next = scanLine(window, at, isEnd);
      return { next, isRecord: next >= 0 && !isBlank(window, at, next) };
    })) {
      yield { bytes, ...common };
    }
  } finally {
    await peeked.close();
  }
}

type Scan = (bytes: Buffer, at: number, isEnd: boolean) => { next: number; isRecord: boolean };

async function* cutWindows(
  source: AsyncIterable<{ bytes: Buffer; isEnd: boolean; consumed: number }>,
  cutter: RecordCutter,
  skip: number,
  scan: Scan,
): AsyncGenerator<Range> {
  let base = 0;
  for await (const window of source) {
    const { bytes, isEnd } = window;
    let at = Math.max(Math.min(skip - base, bytes.length), 0);
    for (;;) {
      const { next, isRecord } = scan(bytes, at, isEnd);
      if (next < 0) break;
      const cut = cutter.add(base + at, base + next, isRecord);
      if (cut !== undefined) yield cut;
      at = next;
    }
    window.consumed = at;
    base += at;
  }
  const last = cutter.end();
  if (last !== undefined) yield last;
}

function* splitInline(inline: unknown, input: PipelineSpec['input']): Generator<SplitShard> {
  const { format } = input;
  const content = inlineContent(inline);
  // Rows are rows whatever the format says.
  const limit = limitOf(input, 'rows' in content ? 'ndjson' : format);
  if (limit === undefined) {
    yield { key: 'inline', source: { inline, format } };
    return;
  }
  if (!('rows' in content))
    throw badChunk(
      'an inline payload is split only where it is an array of objects',
      'Give rows, put the payload into a file, or leave `chunk` out.',
    );
  const cutter = new RecordCutter(limit, 0);
  let number = 0;
  let first = 0;
  let bytes = 0;
  const take = (end: number): SplitShard => {
    const rows = content.rows.slice(first, end);
    first = end;
    return { key: numbered('inline', number++), source: { inline: rows, format } };
  };
  for (const [index, row] of content.rows.entries()) {
    const size = limit.bytes === undefined ? 1 : Buffer.byteLength(JSON.stringify(row));
    if (cutter.add(bytes, bytes + size, true) !== undefined) yield take(index);
    bytes += size;
  }
  if (first < content.rows.length || number === 0) yield take(content.rows.length);
}

function limitOf({ chunk }: PipelineSpec['input'], format: InputFormat): ChunkLimit | undefined {
  if (chunk === undefined) return undefined;
  if ('bytes' in chunk) {
    const bytes = parseBytes(chunk.bytes);
    if (bytes < 1) throw badChunk(`a chunk of ${String(bytes)} bytes holds nothing`, 'Give a size such as 64Mi.');
    return { bytes };
  }
  if (format === 'bytes') throw badChunk('format bytes has no rows', 'Chunk it by bytes: `chunk: { bytes: 64Mi }`.');
  return { rows: chunk.rows };
}

const badChunk = (what: string, hint: string): PodlineError =>
  new PodlineError('PDL_MANIFEST_INVALID', what, { place: 'spec.input.chunk', hint });

const identityOf = (identity: string): { identity?: string } => (identity === '' ? {} : { identity });

function numbered(key: string, number: number): string {
  if (number >= chunksMax)
    throw badChunk(`\`${key}\` would become more than ${String(chunksMax)} shards`, 'Make the chunks larger.');
  return `${key}#${String(number).padStart(6, '0')}`;
}
