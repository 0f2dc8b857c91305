/**
 * CSV into columns: header and types from its head, then record by record from bytes into builders.
 *
 * An empty field without quotes is null, `""` is an empty text. Every record must have as many fields as the header; empty lines
 * are passed over. The text is UTF-8, with or without a byte order mark.
 *
 * Invariants
 *  1. A field becomes a JavaScript string only where its type needs one (decimals, dates, dictionary keys).
 *  2. The header is the first record of the source, or what the splitter carried along for a range that begins further on.
 */
import { isUtf8 } from 'node:buffer';
import type { ColumnSchema, ColumnType } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { itemTypeOf } from '../scratch/arrow/types.js';
import { columnBuilder } from './builders.js';
import { limitRows, type Batch } from './columns.js';
import { FieldList, guessDelimiter, scanRecord } from './csv-records.js';
import type { SourceReader } from './source-reader.js';
import { TextRange, type ColumnWishes, type CsvPlan, type TableReader } from './table-reader.js';
import { inferBytes, TypeGuess } from './text-values.js';
import { notUtf8, peek, windows } from './windows.js';

export interface CsvOptions {
  bytes?: readonly [number, number] | undefined;
  rows?: readonly [number, number] | undefined;
  header?: readonly string[] | undefined;
  delimiter?: string | undefined;
}

export interface CsvHead {
  delimiter: number;
  names: string[];
  /** Where the first record behind the header begins, in the head. */
  recordsAt: number;
}

/** Rows of a batch, and the bytes of text after which one is given although it has fewer. */
export const batchRowsMax = 65_536;
export const batchBytesMax = 64 * 1024 * 1024;

/** Delimiter and names. `head` begins with the source. Undefined: the head ends within the header record, or there is none. */
export function readCsvHead(head: Buffer, isAll: boolean, uri: string): CsvHead | undefined {
  const start = head.length >= 3 && head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? 3 : 0;
  const delimiter = guessDelimiter(head.subarray(start), uri);
  const fields = new FieldList();
  let at = start;
  while (fields.count === 0) {
    at = scanRecord(head, at, isAll, delimiter, fields);
    if (at < 0) return undefined;
  }
  return { delimiter, names: Array.from({ length: fields.count }, (_, index) => fields.text(head, index)), recordsAt: at };
}

/** Types of all columns from the whole records of a head. */
export function guessCsvTypes(
  head: Buffer,
  isAll: boolean,
  { delimiter, names, recordsAt }: CsvHead,
): Record<string, ColumnType> {
  const guesses = names.map(() => new TypeGuess());
  const fields = new FieldList();
  for (let at = recordsAt; ;) {
    at = scanRecord(head, at, isAll, delimiter, fields);
    if (at < 0) break;
    for (let index = 0; index < fields.count; index++) {
      const text = fields.text(head, index);
      if (text !== '') guesses[index]?.text(text);
    }
  }
  return Object.fromEntries(names.map((name, index) => [name, guesses[index]?.type ?? 'utf8']));
}

export async function openCsv(
  source: SourceReader,
  wishes: ColumnWishes,
  options: CsvOptions,
  blockRows: number,
): Promise<TableReader> {
  const [from, to] = options.bytes ?? [0, source.sizeBytes];
  const peeked = await peek(source.stream(from, to), inferBytes);
  try {
    const head =
      from === 0 && options.header === undefined
        ? ownHead(source, peeked.head, peeked.isAll)
        : await carriedHead(source, from, options);
    if (head === undefined) return emptyTable(source, wishes);
    const chosen = wishes.choose(head.names, source.name);
    const guessed = chosen.every(({ name }) => wishes.typeOf(name) !== undefined)
      ? {}
      : guessOrLeave(peeked.head, peeked.isAll, head);
    const schema = chosen.map(({ name }): ColumnSchema => ({
      name,
      type: wishes.typeOf(name) ?? guessed[name] ?? 'utf8',
      nullable: true,
    }));
    const place = options.bytes === undefined ? source.name : `${source.name}, bytes ${String(from)} to ${String(to)}`;
    refuseLists(schema, place);
    const plan: CsvPlan = {
      format: 'csv',
      from,
      to,
      rows: options.rows ?? [0, Number.POSITIVE_INFINITY],
      schema,
      rowsMax: Math.min(blockRows, batchRowsMax, Math.ceil((to - from) / 2) + 1),
      place,
      delimiter: head.delimiter,
      width: head.names.length,
      fields: chosen.map(({ index }) => index),
      recordsAt: head.recordsAt,
    };
    return {
      schema,
      plan,
      batches: (skipRows) =>
        limitRows(readCsv(peeked.again, plan, head.recordsAt, new TextRange()), plan.rows[0] + skipRows, plan.rows[1]),
    };
  } catch (thrown) {
    await peeked.close();
    throw thrown;
  }
}

function ownHead(source: SourceReader, head: Buffer, isAll: boolean): CsvHead | undefined {
  try {
    const found = readCsvHead(head, isAll, source.uri);
    if (found === undefined && !isAll) throw new SyntaxError(`its header line is longer than ${String(head.length)} bytes`);
    if (found !== undefined) checkNames(source.name, found.names);
    return found;
  } catch (thrown) {
    throw unreadable(source.name, 0, thrown);
  }
}

/** For a range that begins behind the header: from the splitter, or else from the head of the source. */
async function carriedHead(source: SourceReader, from: number, options: CsvOptions): Promise<CsvHead> {
  if (options.header !== undefined && options.delimiter !== undefined) {
    return { delimiter: options.delimiter.charCodeAt(0), names: [...options.header], recordsAt: 0 };
  }
  const start = await source.readAt(0, Math.min(from > 0 ? from : inferBytes, source.sizeBytes, inferBytes), 'metadata');
  const own = ownHead(source, start, start.length === source.sizeBytes);
  if (own === undefined) throw unreadable(source.name, 0, new SyntaxError('it has no header line'));
  return {
    ...own,
    names: options.header === undefined ? own.names : [...options.header],
    recordsAt: from === 0 ? own.recordsAt : 0,
  };
}

function checkNames(place: string, names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new PodlineError('PDL_SOURCE_UNREADABLE', `the header of ${place} names "${twice}" twice`, {
      place,
      hint: 'Give every column a name of its own.',
    });
  }
}

function guessOrLeave(head: Buffer, isAll: boolean, csv: CsvHead): Record<string, ColumnType> {
  try {
    return guessCsvTypes(head, isAll, csv);
  } catch {
    // Told with its record when that is read.
    return {};
  }
}

function emptyTable(source: SourceReader, wishes: ColumnWishes): TableReader {
  const names = wishes.names ?? [];
  if (names.length === 0) {
    throw new PodlineError('PDL_SOURCE_UNREADABLE', `${source.name} is empty; a header line was expected`, {
      place: source.name,
      hint: 'Leave the file out, or declare its columns under `input.columns`.',
    });
  }
  return {
    schema: names.map((name) => ({ name, type: wishes.typeOf(name) ?? 'utf8', nullable: true })),
    async *batches() {
      // No rows.
    },
  };
}

function unreadable(place: string, record: number, thrown: unknown): PodlineError {
  if (thrown instanceof PodlineError) return thrown;
  const what = thrown instanceof Error ? thrown.message : String(thrown);
  return new PodlineError(
    'PDL_SOURCE_UNREADABLE',
    `${place}: ${record === 0 ? 'the header' : `record ${String(record)}`} cannot be read: ${what}`,
    { place, cause: thrown },
  );
}

/** Records from byte `recordsAt` of the stream on. */
export async function* readCsv(
  stream: AsyncIterable<Buffer>,
  { schema, fields: indexes, delimiter, width, rowsMax, place }: CsvPlan,
  recordsAt: number,
  range: TextRange,
): AsyncGenerator<Batch> {
  const builders = schema.map(({ name, type }) => columnBuilder(name, type, rowsMax));
  const fields = new FieldList();
  let scratch = Buffer.alloc(256);
  let rows = 0;
  let bytesHeld = 0;
  const take = (): Batch => {
    const batch = { rows, columns: builders.map((builder) => builder.take()) };
    rows = 0;
    bytesHeld = 0;
    return batch;
  };
  for await (const window of windows(stream, place)) {
    const { bytes } = window;
    const stopAt = range.stopAt - window.at;
    const start = Math.min(Math.max(recordsAt - window.at, 0), bytes.length);
    let at = start;
    while (at < stopAt) {
      let next: number;
      try {
        next = scanRecord(bytes, at, window.isEnd, delimiter, fields);
      } catch (thrown) {
        throw unreadable(place, range.records + 1, thrown);
      }
      if (next < 0) break;
      if (fields.count > 0) {
        range.records += 1;
        if (fields.count !== width) {
          throw unreadable(
            place,
            range.records,
            new SyntaxError(`it has ${String(fields.count)} fields, and the header has ${String(width)}`),
          );
        }
        for (let column = 0; column < builders.length; column++) {
          const index = indexes[column] ?? 0;
          const builder = builders[column];
          if (builder === undefined) continue;
          const from = fields.starts[index] ?? 0;
          const to = fields.ends[index] ?? 0;
          const quoting = fields.quoting[index];
          let fits = true;
          if (from === to && quoting === 0) {
            builder.addNull();
          } else if (quoting === 2) {
            if (to - from > scratch.length) scratch = Buffer.alloc((to - from) * 2);
            fits = builder.addText(scratch, 0, undouble(bytes, from, to, scratch));
          } else {
            fits = builder.addText(bytes, from, to);
          }
          if (!fits) throw misfit(place, range.records, schema[column], fields.text(bytes, index));
        }
        rows += 1;
        bytesHeld += next - at;
      }
      at = next;
      if (rows === rowsMax || bytesHeld > batchBytesMax) yield take();
    }
    window.consumed = at;
    range.endedAt = window.at + at;
    if (!isUtf8(bytes.subarray(start, at))) throw notUtf8(place, range.records);
    if (at >= stopAt) break;
  }
  if (rows > 0) yield take();
}

function refuseLists(schema: readonly ColumnSchema[], place: string): void {
  const list = schema.find(({ type }) => itemTypeOf(type) !== undefined);
  if (list !== undefined) {
    throw new PodlineError(
      'PDL_FORMAT_UNSUPPORTED',
      `column "${list.name}" of ${place} is declared as ${list.type}, and CSV has no lists`,
      {
        place: `${place}, column ${list.name}`,
        hint: 'Read it as utf8, or give the source as NDJSON, Parquet or Arrow.',
      },
    );
  }
}

function misfit(place: string, record: number, column: ColumnSchema | undefined, value: string): PodlineError {
  const name = column?.name ?? '';
  const shown = value.length > 60 ? `${value.slice(0, 60)}…` : value;
  return new PodlineError(
    'PDL_COLUMN_TYPE',
    `${place}: record ${String(record)} of column "${name}" is ${JSON.stringify(shown)}, which does not fit ${column?.type ?? 'its type'}`,
    {
      place: `${place}, record ${String(record)}, column ${name}`,
      hint: `Mend the data, or declare another type: \`columns: { ${name}: utf8 }\`.`,
    },
  );
}

/** Copies a quoted field with each doubled quote made one; returns its length. */
function undouble(bytes: Buffer, from: number, to: number, into: Buffer): number {
  let length = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    into[length++] = byte;
    if (byte === 0x22) at += 1;
  }
  return length;
}
