/** NDJSON into columns: one JSON object a line; empty lines are passed over. The rules of columns and types are those of json-rows.ts. */
import { isUtf8 } from 'node:buffer';
import { PodlineError } from '../contracts/errors.js';
import { limitRows, type Batch } from './columns.js';
import { batchBytesMax, batchRowsMax } from './csv.js';
import { isRow, JsonRowsBuilder, JsonSchema, type JsonRow } from './json-rows.js';
import { JsonTokens } from './json-tokens.js';
import type { SourceReader } from './source-reader.js';
import { TextRange, type ColumnWishes, type NdjsonPlan, type TableReader } from './table-reader.js';
import { inferBytes } from './text-values.js';
import { notUtf8, peek, windows } from './windows.js';

export interface NdjsonOptions {
  bytes?: readonly [number, number] | undefined;
  rows?: readonly [number, number] | undefined;
  /** Column names from the splitter, which looked at the head of the source. */
  carriedNames?: readonly string[] | undefined;
}

/** Lines whose tokens are held before they go into columns: few enough to stay in the processor's cache. */
const tokenRowsMax = 512;

const lf = 0x0a;
const cr = 0x0d;

/** Where the line at `from` ends: behind its line break. -1: the bytes end before. */
export function scanLine(bytes: Buffer, from: number, isEnd: boolean): number {
  if (from >= bytes.length) return -1;
  const at = bytes.indexOf(lf, from);
  if (at >= 0) return at + 1;
  return isEnd ? bytes.length : -1;
}

/** Nothing but white space: no record. */
export function isBlank(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const byte = bytes[at];
    if (byte !== lf && byte !== cr && byte !== 0x20 && byte !== 0x09) return false;
  }
  return true;
}

const byteOrderMark = (bytes: Buffer): number => (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0);

function parse(bytes: Buffer, from: number, to: number, place: string, record: number): JsonRow {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8', from, to));
  } catch (thrown) {
    throw new PodlineError(
      'PDL_SOURCE_UNREADABLE',
      `${place}: record ${String(record)} is not JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      { place, cause: thrown },
    );
  }
  if (isRow(value)) return value;
  throw new PodlineError('PDL_SOURCE_UNREADABLE', `${place}: record ${String(record)} is not an object`, {
    place,
    hint: 'Every line must be a JSON object, e.g. {"a":1}.',
  });
}

/** Looks at the whole records of a head. */
export function guessNdjson(head: Buffer, isAll: boolean, wishes: ColumnWishes, place: string): JsonSchema {
  const schema = new JsonSchema(wishes, place);
  let record = 0;
  for (let at = byteOrderMark(head); ;) {
    const next = scanLine(head, at, isAll);
    if (next < 0) return schema;
    if (!isBlank(head, at, next)) schema.look(parse(head, at, next, place, ++record));
    at = next;
  }
}

export async function openNdjson(
  source: SourceReader,
  wishes: ColumnWishes,
  options: NdjsonOptions,
  blockRows: number,
): Promise<TableReader> {
  const [from, to] = options.bytes ?? [0, source.sizeBytes];
  const place = options.bytes === undefined ? source.name : `${source.name}, bytes ${String(from)} to ${String(to)}`;
  const peeked = await peek(source.stream(from, to), inferBytes);
  try {
    const plan: NdjsonPlan = {
      format: 'ndjson',
      from,
      to,
      rows: options.rows ?? [0, Number.POSITIVE_INFINITY],
      schema: guessNdjson(peeked.head, peeked.isAll, wishes, place).schema(options.carriedNames),
      rowsMax: Math.min(blockRows, batchRowsMax, Math.ceil((to - from) / 3) + 1),
      place,
      isStrict: wishes.names === undefined,
    };
    return {
      schema: plan.schema,
      plan,
      batches: (skipRows) =>
        limitRows(readNdjson(peeked.again, plan, from === 0, new TextRange()), plan.rows[0] + skipRows, plan.rows[1]),
    };
  } catch (thrown) {
    await peeked.close();
    throw thrown;
  }
}

/** `isStart`: the stream begins with the source, which may begin with a byte order mark. */
export async function* readNdjson(
  stream: AsyncIterable<Buffer>,
  { schema, rowsMax, place, isStrict }: NdjsonPlan,
  isStart: boolean,
  range: TextRange,
): AsyncGenerator<Batch> {
  const builder = new JsonRowsBuilder(schema, rowsMax, place, isStrict, range.records);
  const tokens = new JsonTokens(
    schema.map(({ name }) => name),
    Math.min(tokenRowsMax, rowsMax),
  );
  let bytesHeld = 0;
  for await (const window of windows(stream, place)) {
    const { bytes } = window;
    const stopAt = range.stopAt - window.at;
    let at = isStart && window.at === 0 ? byteOrderMark(bytes) : 0;
    while (at < stopAt) {
      const next = scanLine(bytes, at, window.isEnd);
      if (next < 0) break;
      if (!isBlank(bytes, at, next)) {
        range.records += 1;
        if (!tokens.take(bytes, at, next)) {
          builder.addTokens(tokens, bytes);
          const row = parse(bytes, at, next, place, range.records);
          builder.add(row);
          tokens.learn(Object.keys(row));
        }
        bytesHeld += next - at;
      }
      at = next;
      if (tokens.rows === tokens.rowsMax || builder.rows + tokens.rows === rowsMax || bytesHeld > batchBytesMax)
        builder.addTokens(tokens, bytes);
      if (builder.rows === rowsMax || bytesHeld > batchBytesMax) {
        bytesHeld = 0;
        yield builder.take();
      }
    }
    builder.addTokens(tokens, bytes);
    window.consumed = at;
    range.endedAt = window.at + at;
    if (!isUtf8(bytes.subarray(0, at))) throw notUtf8(place, range.records);
    if (at >= stopAt) break;
  }
  if (builder.rows > 0) yield builder.take();
}
