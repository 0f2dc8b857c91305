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
 *  4. What a column has beside its values, a selection among it, is `column.ts`.
 */
import type { ColumnRef, ColumnType, ItemType, ListType } from '../contracts/block.js';
import type { ColumnData, Utf8Data } from '../scratch/types.js';
import { Column, type Arrays, type Extras } from './column.js';
import { ListColumn, type ItemsOf } from './list-column.js';

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
                : T extends `list<${infer I extends ItemType}>`
                  ? ListColumn<I, N>
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
  | DateColumn<null>
  | ListColumn<ItemType, null>;

/** What one row of a column of single values holds in JavaScript. */
export type ScalarOf<T extends ColumnType> = T extends 'int64' | 'uint64'
  ? bigint
  : T extends 'bool'
    ? boolean
    : T extends 'utf8' | 'dictionary'
      ? string
      : number;
export type Scalar = number | bigint | boolean | string;
/** What one row holds, lists included. */
export type ValueOf<T extends ColumnType, N extends null = never> = T extends `list<${infer I extends ItemType}>`
  ? ItemsOf<I, N>
  : ScalarOf<T>;
export type Value = Scalar | ItemsOf<ItemType, null>;

/** Types whose values are the elements of one typed array. */
export interface ValuesOf extends ArrayOf {
  int64: BigInt64Array;
  uint64: BigUint64Array;
  'timestamp[ms]': BigInt64Array;
  'timestamp[us]': BigInt64Array;
  date32: Int32Array;
}
export type ValuesType = keyof ValuesOf;

/** Columns whose values are the elements of one typed array. */
abstract class ValuesColumn<A extends ArrayBufferView & { length: number }> extends Column {
  readonly values: A;

  constructor(values: A, extras: Extras = {}) {
    super(values.length, extras);
    this.values = values;
  }

  protected arrays(): Arrays {
    return { values: this.values };
  }
}

/** int8 … uint32, float32, float64. */
export class NumberColumn<T extends NumberType = NumberType, N extends null = never> extends ValuesColumn<ArrayOf[T]> {
  readonly type: T;

  constructor(type: T, values: ArrayOf[T], extras?: Extras) {
    super(values, extras);
    this.type = type;
  }

  at(row: number): number | N {
    return this.isNull(row) ? (null as N) : (this.values[this.place(row)] ?? Number.NaN);
  }
}

/** int64, uint64. `numberAt` spares the bigint where values are below 2^53. */
export class BigIntColumn<
  A extends BigInt64Array | BigUint64Array = BigInt64Array,
  N extends null = never,
> extends ValuesColumn<A> {
  readonly type: A extends BigInt64Array ? 'int64' : 'uint64';

  constructor(values: A, extras?: Extras) {
    super(values, extras);
    this.type = (values instanceof BigInt64Array ? 'int64' : 'uint64') as typeof this.type;
  }

  at(row: number): bigint | N {
    return this.isNull(row) ? (null as N) : (this.values[this.place(row)] ?? 0n);
  }

  numberAt(row: number): number | N {
    return this.isNull(row) ? (null as N) : Number(this.values[this.place(row)] ?? 0n);
  }

  /** The whole column as doubles, null rows as NaN; exact below 2^53. */
  toFloat64(): Float64Array {
    if (this.type === 'int64') return int64ToFloat64(this.values as BigInt64Array, 1, this);
    return Float64Array.from({ length: this.rows }, (_, row) => this.numberAt(row) ?? Number.NaN);
  }
}

/** `bits`: bit i is the value of row i. */
export class BoolColumn<N extends null = never> extends Column {
  readonly type = 'bool' as const;

  constructor(
    readonly bits: Uint8Array,
    rows: number,
    extras: Extras = {},
  ) {
    super(rows, extras);
  }

  at(row: number): boolean | N {
    if (this.isNull(row)) return null as N;
    const at = this.place(row);
    return ((this.bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
  }

  protected arrays(): Arrays {
    return { values: this.bits };
  }
}

/** Strings, decoded when they are asked for; `bytes` and `offsets` are there for those who need no string. */
export class Utf8Column<N extends null = never> extends Column {
  readonly type = 'utf8' as const;
  readonly #text: Buffer;

  constructor(
    readonly bytes: Uint8Array,
    readonly offsets: Int32Array,
    rows = offsets.length - 1,
    extras: Extras = {},
  ) {
    super(rows, extras);
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  at(row: number): string | N {
    if (this.isNull(row)) return null as N;
    const at = this.place(row);
    return this.#text.toString('utf8', this.offsets[at] ?? 0, this.offsets[at + 1] ?? 0);
  }

  protected arrays(): Arrays {
    return { values: this.bytes, offsets: this.offsets };
  }
}

/** Strings that repeat: row i holds `dictionary[codes[i]]`. The code of a null row means nothing. */
export class DictionaryColumn<N extends null = never> extends Column {
  readonly type = 'dictionary' as const;

  constructor(
    readonly codes: Int32Array,
    /** The dictionary as it lies in memory. */
    readonly words: Utf8Data,
    extras: Extras = {},
  ) {
    super(codes.length, extras);
  }

  /** All values, decoded once per dictionary. */
  get dictionary(): readonly string[] {
    return decodeWords(this.words);
  }

  at(row: number): string | N {
    return this.isNull(row) ? (null as N) : (this.dictionary[this.codes[this.place(row)] ?? 0] ?? '');
  }

  protected arrays(): Arrays {
    return { values: this.codes, dictionary: this.words };
  }
}

/** Moments in UTC. `at` and `toMs` give milliseconds since 1970 (with a fraction for microseconds); `values` is what is stored. */
export class TimestampColumn<
  T extends 'timestamp[ms]' | 'timestamp[us]' = 'timestamp[ms]',
  N extends null = never,
> extends ValuesColumn<BigInt64Array> {
  readonly type: T;
  readonly #halves: Int32Array;
  readonly #perMs: number;

  constructor(type: T, values: BigInt64Array, extras?: Extras) {
    super(values, extras);
    this.type = type;
    this.#halves = halvesOf(values);
    this.#perMs = type === 'timestamp[us]' ? 1000 : 1;
  }

  /** Read as two 32-bit halves: a bigint for each row would cost ten times as much. */
  at(row: number): number | N {
    if (this.isNull(row)) return null as N;
    const at = this.place(row) * 2;
    return ((this.#halves[at + 1] ?? 0) * 4294967296 + ((this.#halves[at] ?? 0) >>> 0)) / this.#perMs;
  }

  /** Milliseconds of every row, or of those in between, null rows as NaN. */
  toMs(from = 0, to = this.rows): Float64Array {
    return int64ToFloat64(this.values, this.#perMs, this, from, to);
  }
}

/** Days since 1970-01-01. */
export class DateColumn<N extends null = never> extends ValuesColumn<Int32Array> {
  readonly type = 'date32' as const;

  at(row: number): number | N {
    return this.isNull(row) ? (null as N) : (this.values[this.place(row)] ?? 0);
  }

  /** Milliseconds since 1970 at midnight UTC of the day. */
  msAt(row: number): number | N {
    return this.isNull(row) ? (null as N) : (this.values[this.place(row)] ?? 0) * 86_400_000;
  }
}

export { ListColumn, type ItemsOf };

export const isColumn = (value: unknown): value is AnyColumn =>
  typeof value === 'object' && value !== null && (value as { podlineColumn?: unknown }).podlineColumn === 1;

/** The column class over what a reader of the scratch gives. */
export function columnOf(data: ColumnData, ref?: ColumnRef): AnyColumn {
  const { type, values, rows, nullCount, validity, selection } = data;
  const extras: Extras = { nullCount, validity, selection, ref };
  const offsets = (): Int32Array => data.offsets ?? new Int32Array(rows + 1);
  if (data.items !== undefined)
    return new ListColumn<ItemType, null>(columnOf(data.items) as ColumnOf<ItemType, null>, offsets(), rows, extras);
  switch (type) {
    case 'bool':
      return new BoolColumn<null>(values as Uint8Array, rows, extras);
    case 'utf8':
      return new Utf8Column<null>(values as Uint8Array, offsets(), rows, extras);
    case 'dictionary':
      return new DictionaryColumn<null>(values as Int32Array, data.dictionary ?? noWords, extras);
    default:
      return valuesColumn(type as Exclude<typeof type, ListType>, values as ValuesOf[ValuesType], extras);
  }
}

/** The column class over one typed array. */
export function valuesColumn(type: ValuesType, values: ValuesOf[ValuesType], extras?: Extras): AnyColumn {
  switch (type) {
    case 'int64':
      return new BigIntColumn<BigInt64Array, null>(values as BigInt64Array, extras);
    case 'uint64':
      return new BigIntColumn<BigUint64Array, null>(values as BigUint64Array, extras);
    case 'timestamp[ms]':
      return new TimestampColumn<'timestamp[ms]', null>(type, values as BigInt64Array, extras);
    case 'timestamp[us]':
      return new TimestampColumn<'timestamp[us]', null>(type, values as BigInt64Array, extras);
    case 'date32':
      return new DateColumn<null>(values as Int32Array, extras);
    default:
      return new NumberColumn<NumberType, null>(type, values as NumberArray, extras) as AnyColumn;
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

/** As pairs of 32-bit halves: a bigint would be made for every value. */
export const halvesOf = (values: BigInt64Array | BigUint64Array): Int32Array =>
  new Int32Array(values.buffer, values.byteOffset, values.length * 2);

function int64ToFloat64(values: BigInt64Array, divisor: number, column: Column, from = 0, to = column.rows): Float64Array {
  const halves = halvesOf(values);
  const out = new Float64Array(to - from);
  const { selection } = column;
  for (let i = 0; i < out.length; i++) {
    const half = (selection === undefined ? from + i : (selection[from + i] ?? 0)) * 2;
    out[i] = ((halves[half + 1] ?? 0) * 4294967296 + ((halves[half] ?? 0) >>> 0)) / divisor;
  }
  if (column.validity !== undefined) for (let i = 0; i < out.length; i++) if (column.isNull(from + i)) out[i] = Number.NaN;
  return out;
}
