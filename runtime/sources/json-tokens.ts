/**
 * Lines of JSON cut into tokens, column by column, straight from bytes: what most lines of NDJSON are, objects of plain values.
 *
 * Keys are looked for in the order of `order`, which is learnt from lines that were parsed; keys in between may be missing. What
 * is not as plain as that is not judged here: a line with other keys, another order or bad syntax is refused whole, and its
 * reader gives it to JSON.parse; a value that is not plain (escapes, exponents, many digits, arrays, objects) is delimited and given
 * to JSON.parse alone.
 *
 * Invariants
 *  1. A line that is taken is one that JSON.parse takes, and its tokens are the values that JSON.parse gives: bytes that are
 *     not UTF-8 aside, which the reader looks for.
 *  2. A line that is refused leaves nothing behind.
 */

import { powersOfTen } from './decimal.js';
import { parseSmallDecimal } from './text-values.js';

/** What a value is, told by its first byte. */
export const token = { absent: 0, false: 1, true: 2, number: 3, text: 4, parsed: 5 } as const;

/** The tokens of one column; row i is there where kinds[i] says so. */
export class TokenColumn {
  readonly kinds: Uint8Array;
  /** Of texts: where the bytes between the quotes lie. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly numbers: Float64Array;
  /** Values that JSON.parse gave, in order. */
  parsed: unknown[] = [];

  constructor(rowsMax: number) {
    this.kinds = new Uint8Array(rowsMax);
    this.starts = new Int32Array(rowsMax);
    this.ends = new Int32Array(rowsMax);
    this.numbers = new Float64Array(rowsMax);
  }
}

interface Key {
  /** With its quotes. */
  bytes: Buffer;
  /** Its first four bytes, and so on; the last four again where they are not four more. */
  words: Int32Array;
  column: TokenColumn;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** 1: ends the plain part of a text: a quote, a backslash, or what must not stand in a text. */
const endsText = Uint8Array.from({ length: 256 }, (_, byte) => (byte === quote || byte === backslash || byte < 0x20 ? 1 : 0));
/** Mantissa and power of ten are exact doubles with so many: one division gives the nearest double. */
const exactDigits = 15;

export class JsonTokens {
  /** Lines taken and not given away. */
  rows = 0;
  readonly #columns: ReadonlyMap<string, TokenColumn>;
  /** Of all keys that are no column: nobody reads it. */
  readonly #ignored: TokenColumn;
  #order: readonly string[] = [];
  #keys: Key[] = [];
  #at = 0;
  #viewed: Buffer | undefined;
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** `names` are the columns that are wanted; other keys are read over. */
  constructor(
    names: readonly string[],
    readonly rowsMax: number,
  ) {
    this.#columns = new Map(names.map((name) => [name, new TokenColumn(rowsMax)]));
    this.#ignored = new TokenColumn(rowsMax);
    this.learn(names);
  }

  column(name: string): TokenColumn | undefined {
    return this.#columns.get(name);
  }

  /** The order in which keys are looked for from now on: those of a line that was refused, and behind them the others. */
  learn(order: readonly string[]): void {
    if (order.length === this.#order.length && order.every((name, index) => name === this.#order[index])) return;
    this.#order = order;
    this.#keys = [...new Set([...order, ...this.#columns.keys()])].map((name) => {
      const bytes = Buffer.from(JSON.stringify(name));
      return { bytes, words: wordsOf(bytes), column: this.#columns.get(name) ?? this.#ignored };
    });
  }

  /** Begins anew. */
  clear(): void {
    this.rows = 0;
    for (const { column } of this.#keys) if (column.parsed.length > 0) column.parsed = [];
  }

  /** Takes the line bytes[from, to), or refuses it. There must be room: rows < rowsMax. */
  take(bytes: Buffer, from: number, to: number): boolean {
    const keys = this.#keys;
    const row = this.rows;
    if (this.#viewed !== bytes) {
      this.#viewed = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    const view = this.#view;
    let at = skipSpace(bytes, from, to);
    if (bytes[at] !== openBrace) return false;
    at = skipSpace(bytes, at + 1, to);
    let place = 0;
    if (bytes[at] === closeBrace) {
      at += 1;
    } else {
      for (;;) {
        let key = keys[place];
        while (key !== undefined && !isKey(key, bytes, view, at)) {
          key.column.kinds[row] = token.absent;
          key = keys[++place];
        }
        if (key === undefined) return this.#refuse(row);
        place += 1;
        at = skipSpace(bytes, at + key.bytes.length, to);
        if (bytes[at] !== colon) return this.#refuse(row);
        at = skipSpace(bytes, at + 1, to);
        if (!this.#value(key.column, row, bytes, at, to)) return this.#refuse(row);
        at = skipSpace(bytes, this.#at, to);
        const byte = bytes[at];
        at += 1;
        if (byte === closeBrace) break;
        if (byte !== comma) return this.#refuse(row);
        at = skipSpace(bytes, at, to);
      }
    }
    if (skipSpace(bytes, at, to) < to) return this.#refuse(row);
    for (; place < keys.length; place++) {
      const key = keys[place];
      if (key !== undefined) key.column.kinds[row] = token.absent;
    }
    this.rows += 1;
    return true;
  }

  /** Takes back what the row has put aside already. */
  #refuse(row: number): false {
    for (const { column } of this.#keys) {
      if (column.parsed.length === 0) continue;
      let count = 0;
      for (let i = 0; i < row; i++) if (column.kinds[i] === token.parsed) count += 1;
      column.parsed.length = count;
    }
    return false;
  }

  /** The value at bytes[from]; where it ends into #at. */
  #value(column: TokenColumn, row: number, bytes: Buffer, from: number, to: number): boolean {
    const first = bytes[from];
    if (first === quote) {
      let at = from + 1;
      while (endsText[bytes[at] ?? 0] === 0) at += 1;
      if (bytes[at] !== quote) return bytes[at] === backslash && this.#parse(column, row, bytes, from, textEnd(bytes, at, to));
      column.kinds[row] = token.text;
      column.starts[row] = from + 1;
      column.ends[row] = at;
      this.#at = at + 1;
      return true;
    }
    if (first === 0x2d || (first !== undefined && first >= 0x30 && first <= 0x39))
      return this.#number(column, row, bytes, from, to);
    if (first === 0x6e) return this.#word(column, row, bytes, from, nullWord, token.absent);
    if (first === 0x74) return this.#word(column, row, bytes, from, trueWord, token.true);
    if (first === 0x66) return this.#word(column, row, bytes, from, falseWord, token.false);
    return (first === openBrace || first === 0x5b) && this.#parse(column, row, bytes, from, nestedEnd(bytes, from, to));
  }

  #word(column: TokenColumn, row: number, bytes: Buffer, from: number, word: Buffer, kind: number): boolean {
    column.kinds[row] = kind;
    this.#at = from + word.length;
    return matches(word, bytes, from);
  }

  #number(column: TokenColumn, row: number, bytes: Buffer, from: number, to: number): boolean {
    const isNegative = bytes[from] === 0x2d;
    const start = isNegative ? from + 1 : from;
    let at = start;
    let value = 0;
    // What ends the digits is in the line, or the line is no object.
    for (let digit = (bytes[at] ?? 0) - 0x30; digit >= 0 && digit <= 9; digit = (bytes[++at] ?? 0) - 0x30)
      value = (value * 10 + digit) | 0;
    const wholeDigits = at - start;
    if (wholeDigits === 0 || wholeDigits > exactDigits || (wholeDigits > 1 && bytes[start] === 0x30))
      return this.#longNumber(column, row, bytes, from, to);
    // Beyond 32 bits: what was added up above is void.
    if (wholeDigits > 9) value = wholeOf(bytes, start, at);
    if (bytes[at] === 0x2e) {
      const fractionAt = ++at;
      let fraction = 0;
      for (let digit = (bytes[at] ?? 0) - 0x30; digit >= 0 && digit <= 9; digit = (bytes[++at] ?? 0) - 0x30)
        fraction = (fraction * 10 + digit) | 0;
      const decimals = at - fractionAt;
      if (decimals === 0 || decimals > 9 || decimals + wholeDigits > exactDigits)
        return this.#longNumber(column, row, bytes, from, to);
      const power = powersOfTen[decimals] ?? Number.NaN;
      value = (value * power + fraction) / power;
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) return this.#longNumber(column, row, bytes, from, to);
    column.kinds[row] = token.number;
    column.numbers[row] = isNegative ? -value : value;
    this.#at = at;
    return true;
  }

  /** Of more digits, or with an exponent: what is no JSON number goes to JSON.parse too, which says so. */
  #longNumber(column: TokenColumn, row: number, bytes: Buffer, from: number, to: number): boolean {
    const end = numberEnd(bytes, from, to);
    const start = bytes[from] === 0x2d ? from + 1 : from;
    const hasZero = bytes[start] === 0x30 && bytes[start + 1] !== 0x2e;
    const isBare = bytes[start] === 0x2e || bytes[end - 1] === 0x2e;
    const value = hasZero || isBare ? undefined : parseSmallDecimal(bytes, from, end);
    if (value === undefined) return this.#parse(column, row, bytes, from, end);
    column.kinds[row] = token.number;
    column.numbers[row] = value;
    this.#at = end;
    return true;
  }

  #parse(column: TokenColumn, row: number, bytes: Buffer, from: number, end: number): boolean {
    if (end < 0) return false;
    try {
      column.parsed.push(JSON.parse(bytes.toString('utf8', from, end)));
    } catch {
      return false;
    }
    column.kinds[row] = token.parsed;
    this.#at = end;
    return true;
  }
}

const nullWord = Buffer.from('null');
const trueWord = Buffer.from('true');
const falseWord = Buffer.from('false');

function matches(word: Buffer, bytes: Buffer, at: number): boolean {
  const { length } = word;
  if (at + length > bytes.length) return false;
  for (let i = 0; i < length; i++) if (bytes[at + i] !== word[i]) return false;
  return true;
}

function wordsOf(bytes: Buffer): Int32Array {
  const words = new Int32Array(Math.ceil(bytes.length / 4));
  for (let i = 0; i < words.length && bytes.length >= 4; i++) words[i] = bytes.readInt32LE(Math.min(4 * i, bytes.length - 4));
  return words;
}

/** Four bytes at a time: most of a line is keys. */
function isKey({ bytes: word, words }: Key, bytes: Buffer, view: DataView, at: number): boolean {
  const last = at + word.length - 4;
  if (word.length < 4 || last + 4 > bytes.length) return matches(word, bytes, at);
  for (let i = 0; i < words.length - 1; i++) if (view.getInt32(at + 4 * i, true) !== words[i]) return false;
  return view.getInt32(last, true) === words[words.length - 1];
}

function skipSpace(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to) {
    const byte = bytes[at] ?? 0;
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
    at += 1;
  }
  return at;
}

/** Behind the closing quote of a text whose first escape is at bytes[from]; -1: none. */
function textEnd(bytes: Buffer, from: number, to: number): number {
  for (let at = from; at < to; at++) {
    const byte = bytes[at];
    if (byte === backslash) at += 1;
    else if (byte === quote) return at + 1;
  }
  return -1;
}

/** Digits, `exactDigits` at most. */
function wholeOf(bytes: Buffer, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 10 + ((bytes[at] ?? 0) - 0x30);
  return value;
}

function numberEnd(bytes: Buffer, from: number, to: number): number {
  let at = from;
  for (; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (!((byte >= 0x30 && byte <= 0x39) || byte === 0x65 || byte === 0x45 || byte === 0x2b || byte === 0x2d || byte === 0x2e))
      break;
  }
  return at;
}

/** Behind the bracket that closes the one at bytes[from]; -1: none. Whether what lies between is JSON is for JSON.parse to say. */
function nestedEnd(bytes: Buffer, from: number, to: number): number {
  let depth = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at];
    if (byte === quote) {
      at = textEnd(bytes, at + 1, to) - 1;
      if (at < 0) return -1;
    } else if (byte === openBrace || byte === 0x5b) {
      depth += 1;
    } else if (byte === closeBrace || byte === 0x5d) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return -1;
}
