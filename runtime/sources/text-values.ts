/**
 * Values written as text: how numbers and times are read, and which type a column of texts is taken for.
 *
 * Types are inferred from the first mebibyte of a source (`inferBytes`), thus from all of a small one:
 *   true, false                         → bool
 *   integers of 32 bits, of 64 bits     → int32, int64; not with leading zeros or more digits: those are codes, as ZIP codes are
 *   other decimal numbers               → float64
 *   all else, dates too, and nothing    → utf8
 *   arrays of values of one of these    → list of it (NDJSON)
 * Dates, timestamps, dictionaries and narrower numbers are had by declaring them. What later does not fit the inferred
 * type is an error with row, column and value, and never silently another type.
 */
import type { ColumnType } from '../contracts/block.js';
import { decimalOf } from './decimal.js';

export const inferBytes = 1024 * 1024;

/** An integer of up to 15 digits, all of bytes[from, to). Undefined: something else. */
export function parseSmallInteger(bytes: Uint8Array, from: number, to: number): number | undefined {
  let at = from;
  const isNegative = bytes[at] === 0x2d;
  if (isNegative) at += 1;
  if (at >= to || to - at > 15) return undefined;
  let value = 0;
  for (; at < to; at++) {
    const digit = (bytes[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return isNegative ? -value : value;
}

/** As `decimalOf` takes them. */
const headDigits = 15;
const tailDigits = 4;
const decimalsMax = 22;

/** A decimal number without exponent, all of bytes[from, to), as the nearest double. Undefined: something else, perhaps a number too. */
export function parseSmallDecimal(bytes: Uint8Array, from: number, to: number): number | undefined {
  let at = from;
  const isNegative = bytes[at] === 0x2d;
  if (isNegative) at += 1;
  const start = at;
  // Most numbers: a few digits, which are 32-bit integers on the way.
  let value = 0;
  for (let digit; at < to && (digit = (bytes[at] ?? 0) - 0x30) >= 0 && digit <= 9; at++) value = (value * 10 + digit) | 0;
  if (at === to && at > start && at - start <= 9) return isNegative ? -value : value;
  return parseDecimal(bytes, start, to, isNegative);
}

function parseDecimal(bytes: Uint8Array, start: number, to: number, isNegative: boolean): number | undefined {
  let at = start;
  let head = 0;
  let tail = 0;
  let digits = 0;
  let point = -1;
  for (; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x2e && point < 0) {
      point = at;
      continue;
    }
    const digit = byte - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    if (digits < headDigits) {
      head = head * 10 + digit;
      // Zeros in front do not count.
      if (head > 0) digits += 1;
    } else {
      tail = tail * 10 + digit;
      digits += 1;
    }
  }
  const decimals = point < 0 ? 0 : to - point - 1;
  if (to - start === (point < 0 ? 0 : 1) || digits > headDigits + tailDigits || decimals > decimalsMax) return undefined;
  const value = decimalOf(head, tail, Math.max(digits - headDigits, 0), decimals);
  if (Number.isNaN(value)) return undefined;
  return isNegative ? -value : value;
}

const iso = /^([+-]?\d{4,6}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?)?$/;

/** An ISO 8601 date, or date and time (UTC where no zone is named), in microseconds since 1970. Undefined: none. */
export function isoMicroseconds(text: string): bigint | undefined {
  const parts = iso.exec(text);
  if (parts === null) return undefined;
  const [, date = '', minutes = '00:00', seconds = ':00', fraction = '', zone = 'Z'] = parts;
  const fullZone = zone === 'Z' ? 'Z' : `${zone.slice(0, 3)}:${zone.length > 3 ? zone.slice(-2) : '00'}`;
  const ms = Date.parse(`${date}T${minutes}${seconds}${fullZone}`);
  // Date.parse lets 30 February be 2 March.
  if (Number.isNaN(ms) || !isDay(date)) return undefined;
  return BigInt(ms) * 1000n + BigInt(fraction.padEnd(6, '0').slice(0, 6));
}

function isDay(date: string): boolean {
  const [month = 0, day = 0] = date.slice(-5).split('-').map(Number);
  return day >= 1 && day <= new Date(Date.UTC(Number(date.slice(0, -6)), month, 0)).getUTCDate();
}

type Guess = 'bool' | 'int32' | 'int64' | 'float64' | 'utf8';

/**
 * Takes in values of one column and names the narrowest of the inferred types that holds them all. Arrays whose items are all of one
 * type, or numbers, are lists of it; other arrays, and objects, are text.
 */
export class TypeGuess {
  #type: Guess | 'list' | undefined;
  #items: TypeGuess | undefined;

  text(text: string): void {
    if (this.#type === 'utf8') return;
    this.#widen(typeOfText(text));
  }

  value(value: unknown): void {
    if (value === null || value === undefined || this.#type === 'utf8') return;
    if (typeof value === 'boolean') this.#widen('bool');
    else if (typeof value === 'number')
      this.#widen(
        !Number.isInteger(value) || Object.is(value, -0)
          ? 'float64'
          : (value | 0) === value
            ? 'int32'
            : Number.isSafeInteger(value)
              ? 'int64'
              : 'float64',
      );
    else if (Array.isArray(value)) this.#list(value);
    else this.#widen('utf8');
  }

  #list(values: readonly unknown[]): void {
    this.#items ??= new TypeGuess();
    for (const value of values) this.#items.value(value);
    const isMixed = this.#items.#type === 'utf8' && values.some((value) => value !== null && typeof value !== 'string');
    this.#widen(isMixed || this.#items.#type === 'list' ? 'utf8' : 'list');
  }

  #widen(type: Guess | 'list'): void {
    const order = ['int32', 'int64', 'float64'];
    if (this.#type === undefined || this.#type === type) this.#type = type;
    else if (order.includes(this.#type) && order.includes(type))
      this.#type = order.indexOf(this.#type) > order.indexOf(type) ? this.#type : type;
    else this.#type = 'utf8';
  }

  get type(): ColumnType {
    if (this.#type !== 'list') return this.#type ?? 'utf8';
    const item = this.#items === undefined ? undefined : this.#items.#type;
    return item === undefined || item === 'list' ? 'list<utf8>' : `list<${item}>`;
  }
}

function typeOfText(text: string): Guess {
  if (/^(true|false)$/i.test(text)) return 'bool';
  if (/^-?(0|[1-9]\d{0,18})$/.test(text)) {
    const value = Number(text);
    if ((value | 0) === value) return 'int32';
    return BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? 'int64' : 'utf8';
  }
  return /^[+-]?((0|[1-9]\d{0,17})(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/.test(text) ? 'float64' : 'utf8';
}
