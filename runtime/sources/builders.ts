/**
 * Columns built value by value, for formats that are text: CSV, NDJSON, inline rows.
 *
 * A builder takes the UTF-8 bytes of a field, or a JSON value, and says whether it fits its type. `take` gives the column
 * so far and begins anew; arrays that were given away are not touched again.
 */
import type { ColumnType } from '../contracts/block.js';
import type { ColumnData } from '../scratch/types.js';
import { bitBytes, fixedArray, setBits, type FixedArray } from './columns.js';
import { GrowingDictionary } from './dictionary.js';
import { integerRange } from './narrow.js';
import { isoMicroseconds, parseSmallDecimal, parseSmallInteger } from './text-values.js';

export abstract class ColumnBuilder {
  protected rows = 0;
  #nulls = 0;
  #validity: Uint8Array | undefined;

  constructor(
    readonly type: ColumnType,
    protected readonly rowsMax: number,
  ) {}

  /** False: the text does not fit the type, and nothing was added. */
  abstract addText(bytes: Buffer, from: number, to: number): boolean;
  /** A value out of JSON that is not null. False as above. */
  abstract addValue(value: unknown): boolean;
  protected abstract skip(): void;
  protected abstract finish(): Pick<ColumnData, 'values' | 'offsets' | 'dictionary'>;

  addNull(): void {
    if (this.#validity === undefined) {
      this.#validity = new Uint8Array(bitBytes(this.rowsMax));
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

/** A builder for up to `rowsMax` rows between two calls of `take`. */
export function columnBuilder(name: string, type: ColumnType, rowsMax: number): ColumnBuilder {
  switch (type) {
    case 'utf8':
      return new TextBuilder(type, rowsMax);
    case 'dictionary':
      return new DictionaryBuilder(name, rowsMax);
    case 'bool':
      return new BoolBuilder(type, rowsMax);
    case 'int64':
    case 'uint64':
    case 'timestamp[ms]':
    case 'timestamp[us]':
      return new WideBuilder(type, rowsMax);
    default:
      return new NumberBuilder(type, rowsMax);
  }
}

class NumberBuilder extends ColumnBuilder {
  #values = fixedArray(this.type, this.rowsMax) as Float64Array;
  readonly #range = this.type === 'date32' ? undefined : integerRange[this.type];
  readonly #isDate = this.type === 'date32';

  addText(bytes: Buffer, from: number, to: number): boolean {
    if (this.#isDate) {
      const micros = isoMicroseconds(bytes.toString('latin1', from, to));
      return micros !== undefined && micros % 86_400_000_000n === 0n && this.#add(Number(micros / 86_400_000_000n));
    }
    return this.#add(parseSmallDecimal(bytes, from, to) ?? numberOf(bytes.toString('latin1', from, to)));
  }

  addValue(value: unknown): boolean {
    if (typeof value === 'number') return this.#add(value);
    if (typeof value === 'boolean') return !this.#isDate && this.#add(Number(value));
    return typeof value === 'string' && this.addText(Buffer.from(value), 0, Buffer.byteLength(value));
  }

  #add(value: number | undefined): boolean {
    if (value === undefined) return false;
    if (this.#range !== undefined && (!Number.isInteger(value) || value < this.#range[0] || value > this.#range[1])) return false;
    if (this.#isDate && !Number.isInteger(value)) return false;
    this.#values[this.rows] = value;
    return this.added();
  }

  protected skip(): void {
    this.#values[this.rows] = 0;
  }

  protected finish(): { values: FixedArray } {
    const values = this.#values.subarray(0, this.rows);
    this.#values = fixedArray(this.type, this.rowsMax) as Float64Array;
    return { values };
  }
}

/** 64-bit integers and timestamps. */
class WideBuilder extends ColumnBuilder {
  #values = fixedArray(this.type, this.rowsMax) as BigInt64Array;
  #halves = new Int32Array(this.#values.buffer);

  addText(bytes: Buffer, from: number, to: number): boolean {
    const small = parseSmallInteger(bytes, from, to);
    if (small !== undefined) return this.#addNumber(small);
    const text = bytes.toString('latin1', from, to);
    if (/^[+-]?\d{1,20}$/.test(text)) return this.#addWide(BigInt(text.replace(/^\+/, '')));
    if (this.type === 'int64' || this.type === 'uint64') {
      const number = numberOf(text);
      return number !== undefined && Number.isSafeInteger(number) && this.#addNumber(number);
    }
    const micros = isoMicroseconds(text);
    if (micros === undefined) return false;
    if (this.type === 'timestamp[us]') return this.#addWide(micros);
    return this.#addWide((micros - (((micros % 1000n) + 1000n) % 1000n)) / 1000n);
  }

  addValue(value: unknown): boolean {
    // A larger number has lost digits in JSON already: it must come as text.
    if (typeof value === 'number') return Number.isSafeInteger(value) && this.#addNumber(value);
    return typeof value === 'string' && this.addText(Buffer.from(value), 0, Buffer.byteLength(value));
  }

  #addNumber(value: number): boolean {
    if (this.type === 'uint64' && value < 0) return false;
    this.#halves[2 * this.rows] = value;
    this.#halves[2 * this.rows + 1] = Math.floor(value / 4_294_967_296);
    return this.added();
  }

  #addWide(value: bigint): boolean {
    const fits = this.type === 'uint64' ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value);
    if (fits !== value) return false;
    this.#values[this.rows] = value;
    return this.added();
  }

  protected skip(): void {
    this.#halves[2 * this.rows] = 0;
    this.#halves[2 * this.rows + 1] = 0;
  }

  protected finish(): { values: FixedArray } {
    const values = this.#values.subarray(0, this.rows);
    this.#values = fixedArray(this.type, this.rowsMax) as BigInt64Array;
    this.#halves = new Int32Array(this.#values.buffer);
    return { values };
  }
}

class BoolBuilder extends ColumnBuilder {
  #bits = new Uint8Array(bitBytes(this.rowsMax));

  addText(bytes: Buffer, from: number, to: number): boolean {
    if (to - from > 5) return false;
    const text = bytes.toString('latin1', from, to).toLowerCase();
    if (text === 'true' || text === '1') return this.#add(true);
    return (text === 'false' || text === '0') && this.#add(false);
  }

  addValue(value: unknown): boolean {
    if (value === true || value === 1) return this.#add(true);
    if (value === false || value === 0) return this.#add(false);
    return typeof value === 'string' && this.addText(Buffer.from(value), 0, Buffer.byteLength(value));
  }

  #add(value: boolean): boolean {
    if (value) this.#bits[this.rows >> 3] = (this.#bits[this.rows >> 3] ?? 0) | (1 << (this.rows & 7));
    return this.added();
  }

  protected skip(): void {
    // The bit is 0 already.
  }

  protected finish(): { values: Uint8Array } {
    const values = this.#bits.subarray(0, bitBytes(this.rows));
    this.#bits = new Uint8Array(bitBytes(this.rowsMax));
    return { values };
  }
}

/** Bounded by the caller, who takes a column before its text is 2 GiB (`textBytesMax` of a block). */
class TextBuilder extends ColumnBuilder {
  #text = Buffer.allocUnsafeSlow(64 * 1024);
  #offsets = new Int32Array(this.rowsMax + 1);

  addText(bytes: Buffer, from: number, to: number): boolean {
    let at = this.#offsets[this.rows] ?? 0;
    const length = to - from;
    this.#room(at + length);
    if (length > 48) {
      bytes.copy(this.#text, at, from, to);
      at += length;
    } else {
      for (let i = from; i < to; i++) this.#text[at++] = bytes[i] ?? 0;
    }
    this.#offsets[this.rows + 1] = at;
    return this.added();
  }

  addValue(value: unknown): boolean {
    const text = textOf(value);
    const at = this.#offsets[this.rows] ?? 0;
    this.#room(at + text.length * 3);
    this.#offsets[this.rows + 1] = at + this.#text.write(text, at);
    return this.added();
  }

  #room(bytes: number): void {
    if (bytes <= this.#text.length) return;
    if (bytes > 0x7fffffff) throw new RangeError('more than 2 GiB of text in one block of a column');
    const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes, this.#text.length * 2), 0x7fffffff));
    this.#text.copy(grown, 0, 0, this.#offsets[this.rows] ?? 0);
    this.#text = grown;
  }

  protected skip(): void {
    this.#offsets[this.rows + 1] = this.#offsets[this.rows] ?? 0;
  }

  protected finish(): { values: Uint8Array; offsets: Int32Array } {
    const offsets = this.#offsets.subarray(0, this.rows + 1);
    const values = this.#text.subarray(0, offsets[this.rows] ?? 0);
    const capacity = this.#text.length;
    this.#text = Buffer.allocUnsafeSlow(capacity);
    this.#offsets = new Int32Array(this.rowsMax + 1);
    return { values: new Uint8Array(values.buffer, values.byteOffset, values.byteLength), offsets };
  }
}

class DictionaryBuilder extends ColumnBuilder {
  readonly #dictionary: GrowingDictionary;
  #codes = new Int32Array(this.rowsMax);

  constructor(name: string, rowsMax: number) {
    super('dictionary', rowsMax);
    this.#dictionary = new GrowingDictionary(name);
  }

  addText(bytes: Buffer, from: number, to: number): boolean {
    this.#codes[this.rows] = this.#dictionary.codeOf(bytes, from, to);
    return this.added();
  }

  addValue(value: unknown): boolean {
    const text = Buffer.from(textOf(value));
    return this.addText(text, 0, text.length);
  }

  protected skip(): void {
    this.#codes[this.rows] = 0;
  }

  protected finish(): Pick<ColumnData, 'values' | 'dictionary'> {
    const values = this.#codes.subarray(0, this.rows);
    this.#codes = new Int32Array(this.rowsMax);
    return { values, dictionary: this.#dictionary.snapshot() };
  }
}

/** A JSON value as text: strings as they are, all else (nested values too) as JSON. */
const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** A decimal number, also with exponent; NaN and infinities by name. Undefined: none. */
function numberOf(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(trimmed)) return Number(trimmed);
  if (/^nan$/i.test(trimmed)) return NaN;
  const infinite = /^([+-]?)(inf|infinity)$/i.exec(trimmed);
  return infinite === null ? undefined : infinite[1] === '-' ? -Infinity : Infinity;
}
