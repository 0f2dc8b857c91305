/** Builders of what is a number in memory: integers, floats, times, booleans. */
import type { ColumnData } from '../scratch/types.js';
import type { ColumnType } from '../contracts/block.js';
import { ColumnBuilder } from './column-builder.js';
import { bitBytes, fixedArray } from './columns.js';
import { token, type TokenColumn } from './json-tokens.js';
import { integerRange } from './narrow.js';
import { isoMicroseconds, parseSmallDecimal, parseSmallInteger } from './text-values.js';

/** Numbers of up to 32 bits, floats and dates: doubles until they are taken, so that all types run through the same code. */
export class NumberBuilder extends ColumnBuilder {
  #values: Float64Array;
  readonly #isDate: boolean;
  /** Integers only, between `#low` and `#high`. */
  readonly #isWhole: boolean;
  readonly #low: number;
  readonly #high: number;

  constructor(type: ColumnType, capacity: number) {
    super(type, capacity);
    this.#values = new Float64Array(capacity);
    this.#isDate = type === 'date32';
    const range = integerRange[this.#isDate ? 'int32' : type];
    this.#isWhole = range !== undefined;
    [this.#low, this.#high] = range ?? [-Infinity, Infinity];
  }

  override addText(bytes: Buffer, from: number, to: number): boolean {
    if (this.#isDate) {
      const micros = isoMicroseconds(bytes.toString('latin1', from, to));
      return micros !== undefined && micros % 86_400_000_000n === 0n && this.addNumber(Number(micros / 86_400_000_000n));
    }
    const number = parseSmallDecimal(bytes, from, to) ?? numberOf(bytes.toString('latin1', from, to));
    return number !== undefined && this.addNumber(number);
  }

  override addNumber(value: number): boolean {
    if (this.#isWhole && !(value >= this.#low && value <= this.#high && Math.floor(value) === value)) return false;
    this.#values[this.rows] = value;
    return this.added();
  }

  override addRun({ kinds, numbers }: TokenColumn, _bytes: Buffer, from: number, rows: number): number {
    let row = from;
    while (row < rows && kinds[row] === token.number && this.addNumber(numbers[row] ?? 0)) row += 1;
    return row;
  }

  override addBoolean(value: boolean): boolean {
    return !this.#isDate && this.addNumber(value ? 1 : 0);
  }

  protected override skip(): void {
    this.#values[this.rows] = 0;
  }

  protected override resize(capacity: number): void {
    const grown = new Float64Array(capacity);
    grown.set(this.#values.subarray(0, this.rows));
    this.#values = grown;
  }

  protected override finish(): Pick<ColumnData, 'values'> {
    const values = this.#values.subarray(0, this.rows);
    if (this.type === 'float64') {
      this.#values = new Float64Array(this.capacity);
      return { values };
    }
    const narrowed = fixedArray(this.type, this.rows) as Int32Array;
    narrowed.set(values);
    return { values: narrowed };
  }
}

/** 64-bit integers and timestamps. */
export class WideBuilder extends ColumnBuilder {
  /** Pairs of 32-bit halves, so that no BigInt is made per value. */
  #halves: Int32Array;

  constructor(type: ColumnType, capacity: number) {
    super(type, capacity);
    this.#halves = new Int32Array(2 * capacity);
  }

  override addText(bytes: Buffer, from: number, to: number): boolean {
    const small = parseSmallInteger(bytes, from, to);
    if (small !== undefined) return this.#put(small);
    const text = bytes.toString('latin1', from, to);
    if (/^[+-]?\d{1,20}$/.test(text)) return this.#putWide(BigInt(text.replace(/^\+/, '')));
    if (this.type === 'int64' || this.type === 'uint64') {
      const number = numberOf(text);
      return number !== undefined && Number.isSafeInteger(number) && this.#put(number);
    }
    const micros = isoMicroseconds(text);
    if (micros === undefined) return false;
    if (this.type === 'timestamp[us]') return this.#putWide(micros);
    return this.#putWide((micros - (((micros % 1000n) + 1000n) % 1000n)) / 1000n);
  }

  override addNumber(value: number): boolean {
    // A larger number has lost digits in JSON already: it must come as text.
    return Number.isSafeInteger(value) && this.#put(value);
  }

  override addRun({ kinds, numbers }: TokenColumn, _bytes: Buffer, from: number, rows: number): number {
    let row = from;
    while (row < rows && kinds[row] === token.number && this.addNumber(numbers[row] ?? 0)) row += 1;
    return row;
  }

  override addBoolean(): boolean {
    return false;
  }

  #put(value: number): boolean {
    if (this.type === 'uint64' && value < 0) return false;
    this.#halves[2 * this.rows] = value;
    this.#halves[2 * this.rows + 1] = Math.floor(value / 4_294_967_296);
    return this.added();
  }

  #putWide(value: bigint): boolean {
    const fits = this.type === 'uint64' ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value);
    if (fits !== value) return false;
    this.#halves[2 * this.rows] = Number(BigInt.asIntN(32, value));
    this.#halves[2 * this.rows + 1] = Number(BigInt.asIntN(32, value >> 32n));
    return this.added();
  }

  protected override skip(): void {
    this.#halves[2 * this.rows] = 0;
    this.#halves[2 * this.rows + 1] = 0;
  }

  protected override resize(capacity: number): void {
    const grown = new Int32Array(2 * capacity);
    grown.set(this.#halves.subarray(0, 2 * this.rows));
    this.#halves = grown;
  }

  protected override finish(): Pick<ColumnData, 'values'> {
    const { buffer } = this.#halves;
    this.#halves = new Int32Array(2 * this.capacity);
    return {
      values: this.type === 'uint64' ? new BigUint64Array(buffer, 0, this.rows) : new BigInt64Array(buffer, 0, this.rows),
    };
  }
}

export class BoolBuilder extends ColumnBuilder {
  #bits: Uint8Array;

  constructor(type: ColumnType, capacity: number) {
    super(type, capacity);
    this.#bits = new Uint8Array(bitBytes(capacity));
  }

  override addText(bytes: Buffer, from: number, to: number): boolean {
    if (isWord(trueWord, bytes, from, to) || isWord(one, bytes, from, to)) return this.addBoolean(true);
    return (isWord(falseWord, bytes, from, to) || isWord(zero, bytes, from, to)) && this.addBoolean(false);
  }

  override addNumber(value: number): boolean {
    return (value === 0 || value === 1) && this.addBoolean(value === 1);
  }

  override addBoolean(value: boolean): boolean {
    if (value) this.#bits[this.rows >> 3] = (this.#bits[this.rows >> 3] ?? 0) | (1 << (this.rows & 7));
    return this.added();
  }

  protected override skip(): void {
    // The bit is 0 already.
  }

  protected override resize(capacity: number): void {
    const grown = new Uint8Array(bitBytes(capacity));
    grown.set(this.#bits);
    this.#bits = grown;
  }

  protected override finish(): Pick<ColumnData, 'values'> {
    const values = this.#bits.subarray(0, bitBytes(this.rows));
    this.#bits = new Uint8Array(bitBytes(this.capacity));
    return { values };
  }
}

const [trueWord, falseWord, one, zero] = [Buffer.from('true'), Buffer.from('false'), Buffer.from('1'), Buffer.from('0')];

/** In small letters or capitals. */
function isWord(word: Buffer, bytes: Buffer, from: number, to: number): boolean {
  if (to - from !== word.length) return false;
  for (let i = 0; i < word.length; i++) {
    const byte = bytes[from + i] ?? 0;
    if (byte !== word[i] && (byte >= 0x5b || byte < 0x41 || byte + 0x20 !== word[i])) return false;
  }
  return true;
}

/** A decimal number, also with exponent; NaN and infinities by name. Undefined: none. */
function numberOf(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(trimmed)) return Number(trimmed);
  if (/^nan$/i.test(trimmed)) return NaN;
  const infinite = /^([+-]?)(inf|infinity)$/i.exec(trimmed);
  return infinite === null ? undefined : infinite[1] === '-' ? -Infinity : Infinity;
}
