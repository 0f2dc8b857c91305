/**
 * Rows as lines of JSON, to and from a program: what costs most, for those who have no Arrow.
 *
 * Out: numbers (of 64 bits with all their digits), booleans, strings and null as they are; timestamps as ISO 8601, dates as
 * YYYY-MM-DD. In: number → float64, boolean → bool, string → utf8, object or array → its JSON as
 * utf8; null or missing is null. The columns are those of the first `blockRows` lines: a later line may not bring others.
 */
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import type { ColumnSchema, ColumnType } from '../contracts/block.js';
import { isPodlineError, PodlineError } from '../contracts/errors.js';
import type { ColumnToWrite, Scratch, ShardReader } from '../scratch/types.js';
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

type Value = number | boolean | string | null;
const typeOf = (value: Exclude<Value, null>): ColumnType =>
  typeof value === 'number' ? 'float64' : typeof value === 'boolean' ? 'bool' : 'utf8';

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
    const types = new Map<string, ColumnType | undefined>();
    rows.forEach((row, index) => {
      for (const [name, raw] of Object.entries(row)) {
        const value = plain(raw);
        const known = types.get(name);
        if (value === null) types.set(name, known);
        else if (known === undefined) types.set(name, typeOf(value));
        else if (known !== typeOf(value)) throw this.#mixed(lines[index] ?? 0, name, known, value);
      }
    });
    return [...types].map(([name, type]) => ({ name, type: type ?? 'utf8', nullable: true }));
  }

  #column({ name, type }: ColumnSchema, rows: readonly Record<string, unknown>[], lines: readonly number[]): ColumnToWrite {
    const values = rows.map((row, index) => {
      const value = plain(row[name]);
      if (value !== null && typeOf(value) !== type) throw this.#mixed(lines[index] ?? 0, name, type, value);
      return value;
    });
    const built =
      type === 'float64'
        ? make.float64.from(values as (number | null)[])
        : type === 'bool'
          ? make.bool.from(values as (boolean | null)[])
          : make.utf8.from(values as (string | null)[]);
    return { name, data: built.toData() };
  }

  #mixed(line: number, name: string, type: ColumnType, value: Exclude<Value, null>): PodlineError {
    return this.#fault(line, `has ${JSON.stringify(value)} as ${name}, which was ${type} before`);
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

/** What a column can hold: nested values become their JSON. */
function plain(value: unknown): Value {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string') return value;
  return JSON.stringify(value);
}
