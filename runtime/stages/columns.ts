/**
 * Columns as a stage sees them: views of a block's memory in Arrow's layout, never an object per value.
 *
 * A column is one class per family of types. `values` (or `codes`) is the raw typed array for loops that must be fast,
 * `at(i)` the value of one row for everything else; `at` gives null where a nullable column holds none.
 * Arrays of input columns are views of shared memory: they are valid while the call that they were handed to runs.
 *
 * Invariants
 *  1. Bits of `validity` and of bool values are least significant first; no `validity` means no nulls.
 *  2. Columns are told apart by `podlineColumn`, not by instanceof: a stage may come with a copy of these classes of its own.
 *  3. A column with `ref` is committed already and unchanged: putting it into an output writes nothing.
 */
import type { ColumnRef, ColumnType } from '../contracts/block.js';
import type { ColumnData, Utf8Data } from '../scratch/types.js';

export interface ArrayOf {
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  float32: Float32Array;
  float64: Float64Array;
}
export type NumberType = keyof ArrayOf;
export type NumberArray = ArrayOf[NumberType];

/** The class of a column by its type; `N` is null for nullable columns, never for the others. */
export type ColumnOf<T extends ColumnType, N extends null = never> = T extends NumberType
  ? NumberColumn<T, N>
  : T extends 'int64'
    ? BigIntColumn<BigInt64Array, N>
    : T extends 'uint64'
      ? BigIntColumn<BigUint64Array, N>
      : T extends 'bool'
        ? BoolColumn<N>
        : T extends 'utf8'
          ? Utf8Column<N>
          : T extends 'dictionary'
            ? DictionaryColumn<N>
            : T extends 'timestamp[ms]' | 'timestamp[us]'
              ? TimestampColumn<T, N>
              : T extends 'date32'
                ? DateColumn<N>
                : never;

export type AnyColumn =
  | { [T in NumberType]: NumberColumn<T, null> }[NumberType]
  | BigIntColumn<BigInt64Array, null>
  | BigIntColumn<BigUint64Array, null>
  | BoolColumn<null>
  | Utf8Column<null>
  | DictionaryColumn<null>
  | TimestampColumn<'timestamp[ms]', null>
  | TimestampColumn<'timestamp[us]', null>
  | DateColumn<null>;

/** What one row of a column holds in JavaScript. */
export type ScalarOf<T extends ColumnType> = T extends 'int64' | 'uint64'
  ? bigint
  : T extends 'bool'
    ? boolean
    : T extends 'utf8' | 'dictionary'
      ? string
      : number;
export type Scalar = number | bigint | boolean | string;

abstract class Column {
  readonly podlineColumn = 1 as const;
  abstract readonly type: ColumnType;
  readonly rows: number;
  readonly validity: Uint8Array | undefined;
  /** Where the column is committed, when it is. */
  readonly ref: ColumnRef | undefined;
  readonly #nullCount: number;

  constructor(rows: number, nullCount: number, validity: Uint8Array | undefined, ref: ColumnRef | undefined) {
    this.rows = rows;
    this.#nullCount = nullCount;
    this.validity = nullCount === 0 ? undefined : validity;
    this.ref = ref;
  }

  get nullCount(): number {
    return this.#nullCount;
  }

  isNull(row: number): boolean {
    const bits = this.validity;
    return bits !== undefined && ((bits[row >> 3] ?? 0) & (1 << (row & 7))) === 0;
  }

  /** The column in Arrow's layout, as the scratch takes it. */
  abstract toData(): ColumnData;
}

/** int8 … uint32, float32, float64. */
export class NumberColumn<T extends NumberType = NumberType, N extends null = never> extends Column {
  readonly type: T;
  readonly values: ArrayOf[T];

  constructor(type: T, values: ArrayOf[T], nullCount = 0, validity?: Uint8Array, ref?: ColumnRef) {
    super(values.length, nullCount, validity, ref);
    this.type = type;
    this.values = values;
  }

  at(row: number): number | N {
    return this.isNull(row) ? (null as N) : (this.values[row] ?? Number.NaN);
  }

  toData(): ColumnData {
    return { type: this.type, rows: this.rows, nullCount: this.nullCount, validity: this.validity, values: this.values };
  }
}

/** int64, uint64. `numberAt` spares the bigint where values are below 2^53. */
export class BigIntColumn<A extends BigInt64Array | BigUint64Array = BigInt64Array, N extends null = never> extends Column {
  readonly type: A extends BigInt64Array ? 'int64' : 'uint64';
  readonly values: A;

  constructor(values: A, nullCount = 0, validity?: Uint8Array, ref?: ColumnRef) {
    super(values.length, nullCount, validity, ref);
    this.type = (values instanceof BigInt64Array ? 'int64' : 'uint64') as typeof this.type;
    this.values = values;
  }

  at(row: number): bigint | N {
    return this.isNull(row) ? (null as N) : (this.values[row] ?? 0n);
  }

  numberAt(row: number): number | N {
    return this.isNull(row) ? (null as N) : Number(this.values[row] ?? 0n);
  }

  /** The whole column as doubles, null rows as NaN; exact below 2^53. */
  toFloat64(): Float64Array {
    return this.type === 'uint64'
      ? Float64Array.from(this.values, Number)
      : int64ToFloat64(this.values as BigInt64Array, 1, this);
  }

  toData(): ColumnData {
    return { type: this.type, rows: this.rows, nullCount: this.nullCount, validity: this.validity, values: this.values };
  }
}

/** `bits`: bit i is the value of row i. */
export class BoolColumn<N extends null = never> extends Column {
  readonly type = 'bool' as const;

  constructor(
    readonly bits: Uint8Array,
    rows: number,
    nullCount = 0,
    validity?: Uint8Array,
    ref?: ColumnRef,
  ) {
    super(rows, nullCount, validity, ref);
  }

  at(row: number): boolean | N {
    return this.isNull(row) ? (null as N) : ((this.bits[row >> 3] ?? 0) & (1 << (row & 7))) !== 0;
  }

  toData(): ColumnData {
    return { type: 'bool', rows: this.rows, nullCount: this.nullCount, validity: this.validity, values: this.bits };
  }
}

/** Strings, decoded when they are asked for; `bytes` and `offsets` are there for those who need no string. */
export class Utf8Column<N extends null = never> extends Column {
  readonly type = 'utf8' as const;
  readonly #text: Buffer;

  constructor(
    readonly bytes: Uint8Array,
    readonly offsets: Int32Array,
    rows: number,
    nullCount = 0,
    validity?: Uint8Array,
    ref?: ColumnRef,
  ) {
    super(rows, nullCount, validity, ref);
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  at(row: number): string | N {
    return this.isNull(row) ? (null as N) : this.#text.toString('utf8', this.offsets[row] ?? 0, this.offsets[row + 1] ?? 0);
  }

  toData(): ColumnData {
    return {
      type: 'utf8',
      rows: this.rows,
      nullCount: this.nullCount,
      validity: this.validity,
      values: this.bytes,
      offsets: this.offsets,
    };
  }
}

/** Strings that repeat: row i holds `dictionary[codes[i]]`. The code of a null row means nothing. */
export class DictionaryColumn<N extends null = never> extends Column {
  readonly type = 'dictionary' as const;

  constructor(
    readonly codes: Int32Array,
    /** The dictionary as it lies in memory. */
    readonly words: Utf8Data,
    nullCount = 0,
    validity?: Uint8Array,
    ref?: ColumnRef,
  ) {
    super(codes.length, nullCount, validity, ref);
  }

  /** All values, decoded once per dictionary. */
  get dictionary(): readonly string[] {
    return decodeWords(this.words);
  }

  at(row: number): string | N {
    return this.isNull(row) ? (null as N) : (this.dictionary[this.codes[row] ?? 0] ?? '');
  }

  toData(): ColumnData {
    return {
      type: 'dictionary',
      rows: this.rows,
      nullCount: this.nullCount,
      validity: this.validity,
      values: this.codes,
      dictionary: this.words,
    };
  }
}

/** Moments in UTC. `at` and `toMs` give milliseconds since 1970 (with a fraction for microseconds); `values` is what is stored. */
export class TimestampColumn<
  T extends 'timestamp[ms]' | 'timestamp[us]' = 'timestamp[ms]',
  N extends null = never,
> extends Column {
  readonly type: T;
  readonly values: BigInt64Array;
  readonly #halves: Int32Array;
  readonly #perMs: number;

  constructor(type: T, values: BigInt64Array, nullCount = 0, validity?: Uint8Array, ref?: ColumnRef) {
    super(values.length, nullCount, validity, ref);
    this.type = type;
    this.values = values;
    this.#halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
    this.#perMs = type === 'timestamp[us]' ? 1000 : 1;
  }

  /** Read as two 32-bit halves: a bigint for each row would cost ten times as much. */
  at(row: number): number | N {
    if (this.isNull(row)) return null as N;
    return ((this.#halves[row * 2 + 1] ?? 0) * 4294967296 + ((this.#halves[row * 2] ?? 0) >>> 0)) / this.#perMs;
  }

  /** Milliseconds of every row, null rows as NaN. */
  toMs(): Float64Array {
    return int64ToFloat64(this.values, this.#perMs, this);
  }

  toData(): ColumnData {
    return { type: this.type, rows: this.rows, nullCount: this.nullCount, validity: this.validity, values: this.values };
  }
}

/** Days since 1970-01-01. */
export class DateColumn<N extends null = never> extends Column {
  readonly type = 'date32' as const;

  constructor(
    readonly values: Int32Array,
    nullCount = 0,
    validity?: Uint8Array,
    ref?: ColumnRef,
  ) {
    super(values.length, nullCount, validity, ref);
  }

  at(row: number): number | N {
    return this.isNull(row) ? (null as N) : (this.values[row] ?? 0);
  }

  /** Milliseconds since 1970 at midnight UTC of the day. */
  msAt(row: number): number | N {
    return this.isNull(row) ? (null as N) : (this.values[row] ?? 0) * 86_400_000;
  }

  toData(): ColumnData {
    return { type: 'date32', rows: this.rows, nullCount: this.nullCount, validity: this.validity, values: this.values };
  }
}

export const isColumn = (value: unknown): value is AnyColumn =>
  typeof value === 'object' && value !== null && (value as { podlineColumn?: unknown }).podlineColumn === 1;

/** The column class over what a reader of the scratch gives. */
export function columnOf(data: ColumnData, ref?: ColumnRef): AnyColumn {
  const { values, nullCount, validity } = data;
  switch (data.type) {
    case 'int64':
      return new BigIntColumn<BigInt64Array, null>(values as BigInt64Array, nullCount, validity, ref);
    case 'uint64':
      return new BigIntColumn<BigUint64Array, null>(values as BigUint64Array, nullCount, validity, ref);
    case 'bool':
      return new BoolColumn<null>(values as Uint8Array, data.rows, nullCount, validity, ref);
    case 'utf8':
      return new Utf8Column<null>(
        values as Uint8Array,
        data.offsets ?? new Int32Array(data.rows + 1),
        data.rows,
        nullCount,
        validity,
        ref,
      );
    case 'dictionary':
      return new DictionaryColumn<null>(values as Int32Array, data.dictionary ?? noWords, nullCount, validity, ref);
    case 'timestamp[ms]':
      return new TimestampColumn<'timestamp[ms]', null>(data.type, values as BigInt64Array, nullCount, validity, ref);
    case 'timestamp[us]':
      return new TimestampColumn<'timestamp[us]', null>(data.type, values as BigInt64Array, nullCount, validity, ref);
    case 'date32':
      return new DateColumn<null>(values as Int32Array, nullCount, validity, ref);
    default:
      return new NumberColumn<NumberType, null>(data.type, values as NumberArray, nullCount, validity, ref) as AnyColumn;
  }
}

const noWords: Utf8Data = { length: 0, offsets: new Int32Array(1), values: new Uint8Array(0) };
const decoded = new WeakMap<Utf8Data, readonly string[]>();

/** The strings of a utf8 array; decoded once as long as the array is held. */
export function decodeWords(words: Utf8Data): readonly string[] {
  let strings = decoded.get(words);
  if (strings === undefined) {
    const text = Buffer.from(words.values.buffer, words.values.byteOffset, words.values.byteLength);
    strings = Array.from({ length: words.length }, (_, i) =>
      text.toString('utf8', words.offsets[i] ?? 0, words.offsets[i + 1] ?? 0),
    );
    decoded.set(words, strings);
  }
  return strings;
}

function int64ToFloat64(
  values: BigInt64Array,
  divisor: number,
  column: { nullCount: number; isNull(row: number): boolean },
): Float64Array {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const out = new Float64Array(values.length);
  for (let i = 0, h = 0; i < out.length; i++, h += 2) {
    out[i] = ((halves[h + 1] ?? 0) * 4294967296 + ((halves[h] ?? 0) >>> 0)) / divisor;
  }
  if (column.nullCount > 0) for (let i = 0; i < out.length; i++) if (column.isNull(i)) out[i] = Number.NaN;
  return out;
}
