/**
 * Columns built value by value, for formats that are text: CSV, NDJSON, inline rows.
 *
 * A builder takes the UTF-8 bytes of a field, or a JSON value, and says whether it fits its type. `take` gives the column
 * so far and begins anew; arrays that were given away are not touched again.
 */
import type { ColumnType } from '../contracts/block.js';
import type { ColumnData } from '../scratch/types.js';
import { bitBytes, setBits } from './columns.js';
import type { TokenColumn } from './json-tokens.js';

export abstract class ColumnBuilder {
  protected rows = 0;
  #nulls = 0;
  #validity: Uint8Array | undefined;

  constructor(
    readonly type: ColumnType,
    /** Rows that there is room for between two calls of `take`; more with `reserve`. */
    protected capacity: number,
  ) {}

  /** False, here and below: it does not fit the type, and nothing was added. */
  abstract addText(bytes: Buffer, from: number, to: number): boolean;
  abstract addNumber(value: number): boolean;
  abstract addBoolean(value: boolean): boolean;
  /** An array or an object out of JSON. */
  addNested(_value: object): boolean {
    return false;
  }
  /** Adds tokens from row `from` on while they are of the kind that the column mostly has; returns the first row that was not added. */
  addRun(_tokens: TokenColumn, _bytes: Buffer, from: number, _rows: number): number {
    return from;
  }
  protected abstract skip(): void;
  protected abstract resize(capacity: number): void;
  protected abstract finish(): Pick<ColumnData, 'values' | 'offsets' | 'dictionary' | 'items'>;

  addString(text: string): boolean {
    const bytes = Buffer.from(text);
    return this.addText(bytes, 0, bytes.length);
  }

  /** A value out of JSON that is not null. */
  addValue(value: unknown): boolean {
    switch (typeof value) {
      case 'number':
        return this.addNumber(value);
      case 'string':
        return this.addString(value);
      case 'boolean':
        return this.addBoolean(value);
      default:
        return typeof value === 'object' && value !== null && this.addNested(value);
    }
  }

  addNull(): void {
    if (this.#validity === undefined) {
      this.#validity = new Uint8Array(bitBytes(this.capacity));
      setBits(this.#validity, 0, this.rows);
    }
    this.skip();
    this.rows += 1;
    this.#nulls += 1;
  }

  protected added(): true {
    if (this.#validity !== undefined)
      this.#validity[this.rows >> 3] = (this.#validity[this.rows >> 3] ?? 0) | (1 << (this.rows & 7));
    this.rows += 1;
    return true;
  }

  /** Room for so many rows more. */
  reserve(more: number): void {
    const need = this.rows + more;
    if (need <= this.capacity) return;
    if (need > 0x7ffffffe) throw new RangeError('more than 2^31 values in one block of a column');
    this.capacity = Math.min(Math.max(need, this.capacity * 2), 0x7ffffffe);
    this.resize(this.capacity);
    if (this.#validity === undefined) return;
    const grown = new Uint8Array(bitBytes(this.capacity));
    grown.set(this.#validity);
    this.#validity = grown;
  }

  take(): ColumnData {
    const { rows } = this;
    const column: ColumnData = { type: this.type, rows, nullCount: this.#nulls, ...this.finish() };
    if (this.#validity !== undefined) column.validity = this.#validity.subarray(0, bitBytes(rows));
    this.rows = 0;
    this.#nulls = 0;
    this.#validity = undefined;
    return column;
  }
}
