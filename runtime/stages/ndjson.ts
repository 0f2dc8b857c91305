/**
 * Rows as lines of JSON, to and from a program: what costs most, for those who have no Arrow.
 *
 * Out: numbers (of 64 bits with all their digits), booleans, strings and null as they are; timestamps as ISO 8601, dates as
 * YYYY-MM-DD, lists as arrays. In: number → float64, boolean → bool, string → utf8, an array of values of one of these kinds → a list,
 * an object or any other array → its JSON as utf8; null or missing is null. The columns are those of the first `blockRows` lines: a later
 * line may not bring others.
 */
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import type { ColumnSchema, ColumnType } from '../contracts/block.js';
import { isPodlineError, PodlineError } from '../contracts/errors.js';
import { itemTypeOf } from '../scratch/arrow/types.js';
import type { ColumnData, ColumnToWrite, Scratch, ShardReader } from '../scratch/types.js';
import { BatchSource } from './batch.js';
import { column as make } from './builders.js';
import type { AnyColumn } from './columns.js';
import type { CombinedInput } from './combine.js';
import type { Commits } from './commits.js';
import type { Batch } from './define.js';

/** Rows of a committed block, and lines that decide on the columns. */
const blockRows = 65_536;
/** A line beyond this is a program gone wrong. */
const lineBytesMax = 16 * 1024 * 1024;
/** Rows that are written to the program at once. */
const rowsPerWrite = 512;

/** Writes all rows of the input; ends when the program takes no more. Never throws because a program stopped reading. */
export async function feedRows(
  stage: string,
  scratch: Scratch,
  shardId: string,
  reader: ShardReader,
  input: CombinedInput,
  into: Writable,
  ended: AbortSignal,
): Promise<void> {
  const source = new BatchSource(reader, stage, { form: 'files', keep: 'none' });
  const record = (stream: string, seq: number) => {
    const block = scratch.block(shardId, stream, seq);
    if (block === undefined) throw new PodlineError('PDL_INTERNAL', `block ${seq} of ${stream} is not in the index`);
    return block;
  };
  try {
    for (let index = 0; index < input.blocks; index++) {
      for (const text of lines(source.batch(input.block(index, record)))) {
        if (ended.aborted || into.destroyed) return;
        if (!into.write(text))
          await Promise.race([once(into, 'drain', { signal: ended }), once(into, 'close', { signal: ended })]);
      }
    }
  } catch (thrown) {
    // A fault of ours must be heard; that the program stopped reading need not be.
    if (isPodlineError(thrown)) into.destroy(thrown);
  } finally {
    into.end();
  }
}

function* lines(batch: Batch): Generator<string> {
  const columns = batch.names.map((name) => ({ key: `${JSON.stringify(name)}:`, text: jsonText(batch.column(name)) }));
  for (let from = 0; from < batch.rows; from += rowsPerWrite) {
    let text = '';
    for (let row = from; row < Math.min(from + rowsPerWrite, batch.rows); row++) {
      let comma = '{';
      for (const { key, text: value } of columns) {
        text += comma + key + value(row);
        comma = ',';
      }
      text += columns.length === 0 ? '{}\n' : '}\n';
    }
    yield text;
  }
}

/** Values as JSON text: whole 64-bit numbers go out digit by digit, for whoever can read them. */
function jsonText(column: AnyColumn): (row: number) => string {
  if ('items' in column) {
    const { items, offsets } = column;
    const item = jsonText(items);
    return (row) => {
      if (column.isNull(row)) return 'null';
      const at = column.place(row);
      let text = '[';
      for (let i = offsets[at] ?? 0, end = offsets[at + 1] ?? 0; i < end; i++) text += text === '[' ? item(i) : `,${item(i)}`;
      return `${text}]`;
    };
  }
  switch (column.type) {
    case 'int64':
    case 'uint64':
      return (row) => String(column.at(row));
    case 'timestamp[ms]':
    case 'timestamp[us]':
      return (row) => JSON.stringify(isoTime(column.at(row)));
    case 'date32':
      return (row) => JSON.stringify(isoTime(column.msAt(row))?.slice(0, 10) ?? null);
    default:
      // NaN and the infinities, which JSON has not, become null.
      return (row) => JSON.stringify(column.at(row));
  }
}

const isoTime = (ms: number | null): string | null => (ms === null || Number.isNaN(ms) ? null : new Date(ms).toISOString());

type Single = number | boolean | string | null;
type Value = Single | Single[];
/** `list`: an array that does not say what it is a list of. */
type Kind = ColumnType | 'list';

const singleKind = (value: Exclude<Single, null>): 'float64' | 'bool' | 'utf8' =>
  typeof value === 'number' ? 'float64' : typeof value === 'boolean' ? 'bool' : 'utf8';

function kindOf(value: Exclude<Value, null>): Kind {
  if (!Array.isArray(value)) return singleKind(value);
  const item = value.find((candidate): candidate is Exclude<Single, null> => candidate !== null);
  return item === undefined ? 'list' : `list<${singleKind(item)}>`;
}

/** What two values of one column are together; undefined where they do not go together. */
function agreed(known: Kind | undefined, kind: Kind): Kind | undefined {
  if (known === undefined || known === kind) return kind;
  if (kind === 'list' && known.startsWith('list')) return known;
  return known === 'list' && kind.startsWith('list') ? kind : undefined;
}

/** Takes the lines of a program's stdout into columns, and commits them block by block. */
export class RowIntake {
  #rows: Record<string, unknown>[] = [];
  #schema: ColumnSchema[] | undefined;
  #commits: Commits | undefined;
  #line = 0;
  /** Line number of each row that waits. */
  #lines: number[] = [];
  #rest: Buffer | undefined;

  /** `begin` opens the stream, when the columns are known. */
  constructor(
    private readonly stage: string,
    private readonly begin: (schema: ColumnSchema[]) => Commits,
  ) {}

  async takeAll(from: Readable): Promise<void> {
    let rest: Buffer[] = [];
    let restBytes = 0;
    for await (const chunk of from as AsyncIterable<Buffer>) {
      let at = 0;
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, at)) {
        const tail = chunk.subarray(at, end);
        this.#take(rest.length === 0 ? tail : Buffer.concat([...rest, tail]));
        rest = [];
        restBytes = 0;
        at = end + 1;
        if (this.#rows.length >= blockRows) await this.#commit();
      }
      if (at < chunk.length) {
        rest.push(chunk.subarray(at));
        restBytes += chunk.length - at;
        if (restBytes > lineBytesMax) throw this.#fault(this.#line + 1, `is longer than ${lineBytesMax} bytes`);
      }
    }
    if (rest.length > 0) this.#rest = Buffer.concat(rest);
  }

  /**
   * Commits what is left; the stream is open then, even if there was no line. To be called when the program has ended well: a last line
   * without its end is then a line, and not the sign of a program that broke off.
   */
  async finish(): Promise<Commits> {
    if (this.#rest !== undefined) this.#take(this.#rest);
    this.#rest = undefined;
    if (this.#rows.length > 0) await this.#commit();
    return (this.#commits ??= this.begin([]));
  }

  #take(line: Buffer): void {
    this.#line++;
    const text = line.toString('utf8').trim();
    if (text === '') return;
    let row: unknown;
    try {
      row = JSON.parse(text);
    } catch (error) {
      throw this.#fault(this.#line, `is not JSON: ${error instanceof Error ? error.message : String(error)}`, text);
    }
    if (typeof row !== 'object' || row === null || Array.isArray(row)) throw this.#fault(this.#line, 'is not an object', text);
    this.#rows.push(row as Record<string, unknown>);
    this.#lines.push(this.#line);
  }

  async #commit(): Promise<void> {
    const rows = this.#rows;
    const lines = this.#lines;
    this.#rows = [];
    this.#lines = [];
    const schema = (this.#schema ??= this.#inferred(rows, lines));
    const known = new Set(schema.map(({ name }) => name));
    rows.forEach((row, index) => {
      const stray = Object.keys(row).find((name) => !known.has(name));
      if (stray !== undefined)
        throw this.#fault(lines[index] ?? 0, `has a field ${stray}, which the first ${blockRows} lines did not have`);
    });
    const columns = schema.map((column) => this.#column(column, rows, lines));
    const commits = (this.#commits ??= this.begin(schema));
    await commits.commit(rows.length * schema.length * 16, (writer) => writer.appendTable(rows.length, columns));
    commits.rows += rows.length;
  }

  #inferred(rows: readonly Record<string, unknown>[], lines: readonly number[]): ColumnSchema[] {
    const kinds = new Map<string, Kind | undefined>();
    rows.forEach((row, index) => {
      for (const [name, raw] of Object.entries(row)) {
        const value = plain(raw);
        const known = kinds.get(name);
        const kind = value === null ? known : agreed(known, kindOf(value));
        if (kind === undefined && value !== null) throw this.#mixed(lines[index] ?? 0, name, known, value);
        kinds.set(name, kind);
      }
    });
    return [...kinds].map(([name, kind = 'utf8']) => ({ name, type: kind === 'list' ? 'list<utf8>' : kind, nullable: true }));
  }

  #column({ name, type }: ColumnSchema, rows: readonly Record<string, unknown>[], lines: readonly number[]): ColumnToWrite {
    const values = rows.map((row, index) => {
      const value = plain(row[name]);
      if (value !== null && agreed(type, kindOf(value)) !== type) throw this.#mixed(lines[index] ?? 0, name, type, value);
      return value;
    });
    return { name, data: built(type, values).toData() };
  }

  #mixed(line: number, name: string, type: Kind | undefined, value: Exclude<Value, null>): PodlineError {
    return this.#fault(line, `has ${JSON.stringify(value)} as ${name}, which was ${type ?? 'nothing'} before`);
  }

  #fault(line: number, what: string, text?: string): PodlineError {
    return new PodlineError(
      'PDL_STAGE_OUTPUT',
      `line ${line} of the output of stage ${this.stage} ${what}${text === undefined ? '' : `: ${text.slice(0, 120)}`}`,
      {
        place: `${this.stage}:${line}`,
        hint: 'Write one JSON object a line to stdout, with the same fields throughout, and everything else to stderr.',
      },
    );
  }
}

/** What a column can hold: other nested values become their JSON. */
function plain(value: unknown): Value {
  if (value === undefined || value === null) return null;
  if (isSingle(value)) return value;
  if (Array.isArray(value)) {
    const [first] = value.filter((item) => item !== null) as unknown[];
    if (value.every((item): item is Single => item === null || (isSingle(item) && typeof item === typeof first))) return value;
  }
  return JSON.stringify(value);
}

const isSingle = (value: unknown): value is Exclude<Single, null> =>
  typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string';

function built(type: ColumnType, values: readonly Value[]): { toData(): ColumnData } {
  const items = itemTypeOf(type);
  if (items !== undefined) return make.list(items).from(values as never);
  if (type === 'float64') return make.float64.from(values as (number | null)[]);
  return type === 'bool' ? make.bool.from(values as (boolean | null)[]) : make.utf8.from(values as (string | null)[]);
}
