/**
 * How a stage makes columns: `column.int32(rows)` and fill `values`, `column.utf8.from(strings)`, or `column.list('float32').fixed(rows, size)`.
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
  type NumberType,
} from './columns.js';
import { list } from './list-builders.js';
import { Nulls, nullable, nullsOf, type Nullable } from './nulls.js';
import { arrayOfType, int64FromMs, numbersFrom } from './number-arrays.js';
import { dictionaryWords, encodeWords } from './words.js';

function utf8From(strings: readonly string[]): Utf8Column;
function utf8From(strings: readonly (string | null)[]): Utf8Column<null>;
function utf8From(strings: readonly (string | null)[]): Utf8Column<null> {
  const words = encodeWords(strings);
  return new Utf8Column<null>(words.values, words.offsets, strings.length, nullsOf(strings));
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
  return new DictionaryColumn<null>(codes, encodeWords([...codeOf.keys()]), nullsOf(strings));
}

function boolFrom(values: readonly boolean[]): BoolColumn;
function boolFrom(values: readonly (boolean | null)[]): BoolColumn<null>;
function boolFrom(values: readonly (boolean | null)[]): BoolColumn<null> {
  const bits = new Uint8Array((values.length + 7) >> 3);
  for (let i = 0; i < values.length; i++) if (values[i] === true) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  return new BoolColumn<null>(bits, values.length, nullsOf(values));
}

/** Makes a column of zeros: fill `values`. */
interface Zeros<C, CNull> {
  (rows: number): C;
  (rows: number, nulls: 'nullable'): Nullable<CNull>;
}

const zeros = <C, CNull extends object>(make: (rows: number) => CNull): Zeros<C, CNull> =>
  ((rows: number, nulls?: 'nullable') => (nulls === undefined ? make(rows) : nullable(make(rows), rows))) as Zeros<C, CNull>;

interface NumberMaker<T extends NumberType> extends Zeros<NumberColumn<T>, NumberColumn<T, null>> {
  from(values: ArrayLike<number>): NumberColumn<T>;
  from(values: ArrayLike<number | null>): NumberColumn<T, null>;
}

const numberMaker = <T extends NumberType>(type: T): NumberMaker<T> =>
  Object.assign(
    zeros<NumberColumn<T>, NumberColumn<T, null>>((rows) => new NumberColumn<T, null>(type, arrayOfType(type, rows))),
    {
      from: (values: ArrayLike<number | null>) => new NumberColumn<T, null>(type, numbersFrom(type, values), nullsOf(values)),
    },
  ) as NumberMaker<T>;

interface TimestampMaker<T extends 'timestamp[ms]' | 'timestamp[us]'>
  /** 1970-01-01: `values` are in the unit of the type. */
  extends Zeros<TimestampColumn<T>, TimestampColumn<T, null>> {
  /** From milliseconds since 1970. */
  fromMs(ms: ArrayLike<number>): TimestampColumn<T>;
  fromMs(ms: ArrayLike<number | null>): TimestampColumn<T, null>;
}

const timestampMaker = <T extends 'timestamp[ms]' | 'timestamp[us]'>(type: T, perMs: number): TimestampMaker<T> =>
  Object.assign(
    zeros<TimestampColumn<T>, TimestampColumn<T, null>>((rows) => new TimestampColumn<T, null>(type, new BigInt64Array(rows))),
    {
      fromMs: (ms: ArrayLike<number | null>) => new TimestampColumn<T, null>(type, int64FromMs(ms, perMs), nullsOf(ms)),
    },
  ) as TimestampMaker<T>;

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
  int64: zeros<BigIntColumn, BigIntColumn<BigInt64Array, null>>((rows) => new BigIntColumn(new BigInt64Array(rows))),
  uint64: zeros<BigIntColumn<BigUint64Array>, BigIntColumn<BigUint64Array, null>>(
    (rows) => new BigIntColumn(new BigUint64Array(rows)),
  ),
  date32: zeros<DateColumn, DateColumn<null>>((rows) => new DateColumn<null>(new Int32Array(rows))),
  timestampMs: timestampMaker('timestamp[ms]', 1),
  timestampUs: timestampMaker('timestamp[us]', 1000),
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
      return new DictionaryColumn<null>(clean, dictionaryWords(words), { nullCount: nulls.count, validity: nulls.bits });
    },
  },
  /** Lists of items of one type. */
  list,
} as const;
