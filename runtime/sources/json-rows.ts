/**
 * Rows that are JSON objects into columns: NDJSON and inline payloads.
 *
 * Columns are those declared, or the keys of the first rows in the order in which they come. A key that is absent, or null, is null;
 * nested values become JSON text in a utf8 column.
 */
import type { ColumnSchema } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { columnBuilder } from './builders.js';
import type { ColumnBuilder } from './column-builder.js';
import type { Batch } from './columns.js';
import { token, type JsonTokens, type TokenColumn } from './json-tokens.js';
import type { ColumnWishes } from './table-reader.js';
import { TypeGuess } from './text-values.js';

export type JsonRow = Record<string, unknown>;

export const isRow = (value: unknown): value is JsonRow => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Which columns rows have, found by looking at the first of them. */
export class JsonSchema {
  readonly #guesses = new Map<string, TypeGuess>();

  constructor(
    private readonly wishes: ColumnWishes,
    private readonly place: string,
  ) {}

  look(row: JsonRow): void {
    for (const [key, value] of Object.entries(row)) {
      let guess = this.#guesses.get(key);
      if (guess === undefined) this.#guesses.set(key, (guess = new TypeGuess()));
      guess.value(value);
    }
  }

  /** `carried`: names found elsewhere. Throws PDL_SOURCE_UNREADABLE for a wanted column without a type that no row had. */
  schema(carried?: readonly string[]): ColumnSchema[] {
    const names = this.wishes.names ?? carried ?? [...this.#guesses.keys()];
    return names.map((name) => {
      const type = this.wishes.typeOf(name) ?? this.#guesses.get(name)?.type;
      if (type === undefined) {
        throw new PodlineError(
          'PDL_SOURCE_UNREADABLE',
          `none of the first rows of ${this.place} has the column "${name}"; they have ${[...this.#guesses.keys()].join(', ')}`,
          {
            place: this.place,
            hint: 'Check the names under `input.columns`, or declare the type too.',
          },
        );
      }
      return { name, type, nullable: true };
    });
  }
}

/** Takes rows one by one and gives batches. */
export class JsonRowsBuilder {
  readonly #builders: ColumnBuilder[];
  readonly #known: ReadonlySet<string> | undefined;
  #rows = 0;
  #taken: number;

  /** `isStrict`: a key that is no column is an error, since the columns were guessed and nothing said to leave it out. */
  constructor(
    private readonly schema: readonly ColumnSchema[],
    rowsMax: number,
    private readonly place: string,
    isStrict: boolean,
    rowsBefore = 0,
  ) {
    this.#taken = rowsBefore;
    this.#builders = schema.map(({ name, type }) => columnBuilder(name, type, rowsMax));
    this.#known = isStrict ? new Set(schema.map(({ name }) => name)) : undefined;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Throws PDL_COLUMN_TYPE. */
  add(row: JsonRow): void {
    for (const [index, builder] of this.#builders.entries()) {
      const name = this.schema[index]?.name ?? '';
      const value = Object.hasOwn(row, name) ? row[name] : undefined;
      if (value === null || value === undefined) builder.addNull();
      else if (!builder.addValue(value)) this.#refuse(name, value, `does not fit ${builder.type}`);
    }
    if (this.#known !== undefined) {
      for (const key of Object.keys(row))
        if (!this.#known.has(key)) this.#refuse(key, row[key], 'is of a column that the first rows did not have');
    }
    this.#rows += 1;
  }

  /** All lines of `tokens`, whose texts lie in `bytes`; `tokens` begins anew. Throws PDL_COLUMN_TYPE for the first that does not fit. */
  addTokens(tokens: JsonTokens, bytes: Buffer): void {
    let { rows } = tokens;
    if (rows === 0) return;
    let wrong: { name: string; value: unknown; type: string } | undefined;
    for (const [index, builder] of this.#builders.entries()) {
      const name = this.schema[index]?.name ?? '';
      const column = tokens.column(name);
      if (column === undefined) continue;
      const fit = addColumn(builder, column, bytes, rows);
      if (fit === rows) continue;
      rows = fit;
      wrong = { name, value: valueOf(column, bytes, fit), type: builder.type };
    }
    this.#rows += rows;
    if (wrong !== undefined) this.#refuse(wrong.name, wrong.value, `does not fit ${wrong.type}`);
    tokens.clear();
  }

  take(): Batch {
    const batch = { rows: this.#rows, columns: this.#builders.map((builder) => builder.take()) };
    this.#taken += this.#rows;
    this.#rows = 0;
    return batch;
  }

  #refuse(name: string, value: unknown, what: string): never {
    const record = this.#taken + this.#rows + 1;
    const shown = JSON.stringify(value);
    throw new PodlineError(
      'PDL_COLUMN_TYPE',
      `${this.place}: record ${String(record)} of column "${name}" is ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}, which ${what}`,
      {
        place: `${this.place}, record ${String(record)}, column ${name}`,
        hint: `Mend the data, or declare the columns and their types under \`input.columns\`, e.g. \`${name}: utf8\`.`,
      },
    );
  }
}

/** Adds rows up to the first that does not fit; returns how many. */
function addColumn(builder: ColumnBuilder, tokens: TokenColumn, bytes: Buffer, rows: number): number {
  const { kinds, starts, ends, numbers, parsed } = tokens;
  let next = 0;
  for (let row = builder.addRun(tokens, bytes, 0, rows); row < rows; row = builder.addRun(tokens, bytes, row + 1, rows)) {
    let fits = true;
    switch (kinds[row]) {
      case token.number:
        fits = builder.addNumber(numbers[row] ?? 0);
        break;
      case token.text:
        fits = builder.addText(bytes, starts[row] ?? 0, ends[row] ?? 0);
        break;
      case token.true:
      case token.false:
        fits = builder.addBoolean(kinds[row] === token.true);
        break;
      case token.parsed:
        fits = builder.addValue(parsed[next++]);
        break;
      default:
        builder.addNull();
    }
    if (!fits) return row;
  }
  return rows;
}

function valueOf({ kinds, starts, ends, numbers, parsed }: TokenColumn, bytes: Buffer, row: number): unknown {
  switch (kinds[row]) {
    case token.number:
      return numbers[row];
    case token.text:
      return bytes.toString('utf8', starts[row], ends[row]);
    case token.parsed:
      return parsed[kinds.subarray(0, row).filter((kind) => kind === token.parsed).length];
    default:
      return kinds[row] === token.true;
  }
}
