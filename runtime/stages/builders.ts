/**
 * How a stage makes columns: `column.int32(rows)` and fill `values`, or `column.utf8.from(strings)`.
 *
 * A built column is a column as any other and may be read while it is filled. `'nullable'` gives one that has `setNull`;
 * every row of a fresh nullable column holds a value (zero) until it is set to null.
 */
import {
  BigIntColumn,
  BoolColumn,
  DateColumn,
  DictionaryColumn,
  NumberColumn,
  TimestampColumn,
  Utf8Column,
  type ArrayOf,
  type NumberType,
} from './columns.js';
import type { Utf8Data } from '../scratch/types.js';

const arrays = {
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;
export const arrayOfType = <T extends NumberType>(type: T, rows: number): ArrayOf[T] => new arrays[type](rows) as ArrayOf[T];

/** Bits of one row each, all set, and how many are cleared. */
class Nulls {
  count = 0;
  readonly bits: Uint8Array;
  constructor(rows: number) {
    this.bits = new Uint8Array((rows + 7) >> 3).fill(0xff);
  }
  clear(row: number): void {
    const byte = this.bits[row >> 3] ?? 0;
    const bit = 1 << (row & 7);
    if ((byte & bit) === 0) return;
    this.bits[row >> 3] = byte & ~bit;
    this.count++;
  }
  set(row: number): void {
    const byte = this.bits[row >> 3] ?? 0;
    const bit = 1 << (row & 7);
    if ((byte & bit) !== 0) return;
    this.bits[row >> 3] = byte | bit;
    this.count--;
  }
}

/** The part of a builder that nullable columns have: a class per family would say the same thing six times. */
type Nullable<C> = C & { setNull(row: number): void };

function nullable<C extends object>(built: C, rows: number): Nullable<C> {
  const nulls = new Nulls(rows);
  Object.defineProperties(built, {
    nullCount: { get: () => nulls.count },
    validity: { get: () => (nulls.count === 0 ? undefined : nulls.bits) },
    setNull: { value: (row: number) => nulls.clear(row) },
  });
  return built as Nullable<C>;
}

const textEncoder = new TextEncoder();

function encodeWords(words: readonly (string | null | undefined)[]): Utf8Data {
  const offsets = new Int32Array(words.length + 1);
  let bytes = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word !== null && word !== undefined) bytes += Buffer.byteLength(word);
    offsets[i + 1] = bytes;
  }
  const values = new Uint8Array(bytes);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word) textEncoder.encodeInto(word, values.subarray(offsets[i]));
  }
  return { length: words.length, offsets, values };
}

const encoded = new WeakMap<readonly string[], Utf8Data>();
/** The same array of strings gives the same dictionary, which the scratch then writes once for all blocks. */
function dictionaryWords(words: readonly string[]): Utf8Data {
  const known = encoded.get(words);
  if (known !== undefined && known.length === words.length) return known;
  const data = encodeWords(words);
  encoded.set(words, data);
  return data;
}

function nullsOf(values: ArrayLike<unknown>): { nullCount: number; validity: Uint8Array | undefined } {
  let nulls: Nulls | undefined;
  for (let i = 0; i < values.length; i++)
    if (values[i] === null || values[i] === undefined) (nulls ??= new Nulls(values.length)).clear(i);
  return { nullCount: nulls?.count ?? 0, validity: nulls?.bits };
}

function utf8From(strings: readonly string[]): Utf8Column;
function utf8From(strings: readonly (string | null)[]): Utf8Column<null>;
function utf8From(strings: readonly (string | null)[]): Utf8Column<null> {
  const { nullCount, validity } = nullsOf(strings);
  const words = encodeWords(strings);
  return new Utf8Column<null>(words.values, words.offsets, strings.length, nullCount, validity);
}

function dictionaryFrom(strings: readonly string[]): DictionaryColumn;
function dictionaryFrom(strings: readonly (string | null)[]): DictionaryColumn<null>;
function dictionaryFrom(strings: readonly (string | null)[]): DictionaryColumn<null> {
  const codes = new Int32Array(strings.length);
  const codeOf = new Map<string, number>();
  for (let i = 0; i < strings.length; i++) {
    const word = strings[i];
    if (word === null || word === undefined) continue;
    let code = codeOf.get(word);
    if (code === undefined) codeOf.set(word, (code = codeOf.size));
    codes[i] = code;
  }
  const { nullCount, validity } = nullsOf(strings);
  return new DictionaryColumn<null>(codes, encodeWords([...codeOf.keys()]), nullCount, validity);
}

function boolFrom(values: readonly boolean[]): BoolColumn;
function boolFrom(values: readonly (boolean | null)[]): BoolColumn<null>;
function boolFrom(values: readonly (boolean | null)[]): BoolColumn<null> {
  const bits = new Uint8Array((values.length + 7) >> 3);
  for (let i = 0; i < values.length; i++) if (values[i] === true) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  const { nullCount, validity } = nullsOf(values);
  return new BoolColumn<null>(bits, values.length, nullCount, validity);
}

interface NumberMaker<T extends NumberType> {
  /** A column of zeros: fill `values`. */
  (rows: number): NumberColumn<T>;
  (rows: number, nulls: 'nullable'): Nullable<NumberColumn<T, null>>;
  from(values: ArrayLike<number>): NumberColumn<T>;
  from(values: ArrayLike<number | null>): NumberColumn<T, null>;
}

function numberMaker<T extends NumberType>(type: T): NumberMaker<T> {
  const make = (rows: number, nulls?: 'nullable'): NumberColumn<T, null> => {
    const built = new NumberColumn<T, null>(type, arrayOfType(type, rows));
    return nulls === undefined ? built : nullable(built, rows);
  };
  const from = (values: ArrayLike<number | null>): NumberColumn<T, null> => {
    const array = arrayOfType(type, values.length);
    for (let i = 0; i < values.length; i++) array[i] = values[i] ?? 0;
    const { nullCount, validity } = nullsOf(values);
    return new NumberColumn<T, null>(type, array, nullCount, validity);
  };
  return Object.assign(make, { from }) as NumberMaker<T>;
}

interface TimestampMaker<T extends 'timestamp[ms]' | 'timestamp[us]'> {
  /** A column of 1970-01-01: fill `values`, in the unit of the type. */
  (rows: number): TimestampColumn<T>;
  (rows: number, nulls: 'nullable'): Nullable<TimestampColumn<T, null>>;
  /** From milliseconds since 1970. */
  fromMs(ms: ArrayLike<number>): TimestampColumn<T>;
  fromMs(ms: ArrayLike<number | null>): TimestampColumn<T, null>;
}

function timestampMaker<T extends 'timestamp[ms]' | 'timestamp[us]'>(type: T): TimestampMaker<T> {
  const perMs = type === 'timestamp[us]' ? 1000 : 1;
  const make = (rows: number, nulls?: 'nullable'): TimestampColumn<T, null> => {
    const built = new TimestampColumn<T, null>(type, new BigInt64Array(rows));
    return nulls === undefined ? built : nullable(built, rows);
  };
  const fromMs = (ms: ArrayLike<number | null>): TimestampColumn<T, null> => {
    const values = new BigInt64Array(ms.length);
    const halves = new Int32Array(values.buffer);
    for (let i = 0; i < ms.length; i++) {
      const value = Math.round((ms[i] ?? 0) * perMs);
      const high = Math.floor(value / 4294967296);
      halves[i * 2 + 1] = high;
      halves[i * 2] = value - high * 4294967296;
    }
    const { nullCount, validity } = nullsOf(ms);
    return new TimestampColumn<T, null>(type, values, nullCount, validity);
  };
  return Object.assign(make, { fromMs }) as TimestampMaker<T>;
}

function int64(rows: number): BigIntColumn;
function int64(rows: number, nulls: 'nullable'): Nullable<BigIntColumn<BigInt64Array, null>>;
function int64(rows: number, nulls?: 'nullable'): BigIntColumn<BigInt64Array, null> {
  const built = new BigIntColumn<BigInt64Array, null>(new BigInt64Array(rows));
  return nulls === undefined ? built : nullable(built, rows);
}

function uint64(rows: number): BigIntColumn<BigUint64Array>;
function uint64(rows: number, nulls: 'nullable'): Nullable<BigIntColumn<BigUint64Array, null>>;
function uint64(rows: number, nulls?: 'nullable'): BigIntColumn<BigUint64Array, null> {
  const built = new BigIntColumn<BigUint64Array, null>(new BigUint64Array(rows));
  return nulls === undefined ? built : nullable(built, rows);
}

function date32(rows: number): DateColumn;
function date32(rows: number, nulls: 'nullable'): Nullable<DateColumn<null>>;
function date32(rows: number, nulls?: 'nullable'): DateColumn<null> {
  const built = new DateColumn<null>(new Int32Array(rows));
  return nulls === undefined ? built : nullable(built, rows);
}

/** Makers of output columns, by type. */
export const column = {
  int8: numberMaker('int8'),
  int16: numberMaker('int16'),
  int32: numberMaker('int32'),
  uint8: numberMaker('uint8'),
  uint16: numberMaker('uint16'),
  uint32: numberMaker('uint32'),
  float32: numberMaker('float32'),
  float64: numberMaker('float64'),
  int64,
  uint64,
  date32,
  timestampMs: timestampMaker('timestamp[ms]'),
  timestampUs: timestampMaker('timestamp[us]'),
  bool: { from: boolFrom },
  utf8: { from: utf8From },
  dictionary: {
    from: dictionaryFrom,
    /** From codes into `words`; give the same array of words for every block and it is stored once. */
    of: (codes: Int32Array, words: readonly string[]): DictionaryColumn => new DictionaryColumn(codes, dictionaryWords(words)),
    /** The same, where a negative code is a null. */
    ofNullable(codes: Int32Array, words: readonly string[]): DictionaryColumn<null> {
      const nulls = new Nulls(codes.length);
      for (let i = 0; i < codes.length; i++) if ((codes[i] ?? 0) < 0) nulls.clear(i);
      const clean = nulls.count === 0 ? codes : codes.map((code) => Math.max(code, 0));
      return new DictionaryColumn<null>(clean, dictionaryWords(words), nulls.count, nulls.bits);
    },
  },
} as const;

export { Nulls };
