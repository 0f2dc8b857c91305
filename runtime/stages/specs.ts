/** Columns as a stage declares them, and what follows from that for what it is given and what it returns. */
import type { ColumnType, ItemType } from '../contracts/block.js';
import type { AnyColumn, ColumnOf, ScalarOf, Value, ValueOf, ValuesOf, ValuesType } from './columns.js';
import type { ItemsIn } from './list-builders.js';

/** `'int16'`, or `{ type: 'int16', nullable: true }`. Without `nullable` a column has no nulls. */
export type ColumnSpec = ColumnType | { readonly type: ColumnType; readonly nullable?: boolean | undefined };
export type ColumnSpecs = Readonly<Record<string, ColumnSpec>>;

export type TypeIn<S> = S extends ColumnType ? S : S extends { readonly type: infer T extends ColumnType } ? T : never;
type NullIn<S> = S extends { readonly nullable: true } ? null : never;

/** The columns of a batch, by the input that the stage declares; whatever the block has, where it declares none. */
export type ColumnsIn<I extends ColumnSpecs> = string extends keyof I
  ? Readonly<Record<string, AnyColumn>>
  : { readonly [K in keyof I]: ColumnOf<TypeIn<I[K]>, NullIn<I[K]>> };

type BareArray<T extends ColumnType> = T extends ValuesType ? ValuesOf[T] : never;
type BareList<T extends ColumnType, N extends null> = T extends 'utf8' | 'dictionary'
  ? readonly (string | N)[]
  : T extends 'bool'
    ? readonly (boolean | N)[]
    : T extends `list<${infer I extends ItemType}>`
      ? readonly (ItemsIn<I, N> | N)[]
      : never;
type OutputOf<T extends ColumnType, N extends null> =
  ColumnOf<T> | (N extends null ? ColumnOf<T, null> : never) | BareArray<T> | BareList<T, N>;

/** What may be returned for the declared output: a column, a typed array of its type, or an array of strings, booleans or lists. */
export type ColumnsOut<O extends ColumnSpecs> = { readonly [K in keyof O]: OutputOf<TypeIn<O[K]>, NullIn<O[K]>> };

/** One row of the input: getters over the columns of the block. The object is the same for every row. */
export type RowIn<I extends ColumnSpecs> = string extends keyof I
  ? Readonly<Record<string, Value | null>>
  : { readonly [K in keyof I]: ValueOf<TypeIn<I[K]>, NullIn<I[K]>> | NullIn<I[K]> };
/** Where a row form puts its values; every declared column must be set for every row that is kept, nullable ones excepted. */
export type RowOut<O extends ColumnSpecs> = { -readonly [K in keyof O]: Settable<TypeIn<O[K]>, NullIn<O[K]>> | NullIn<O[K]> };
type Settable<T extends ColumnType, N extends null> = T extends `list<${infer I extends ItemType}>` ? ItemsIn<I, N> : ScalarOf<T>;

type HasColumns<O extends ColumnSpecs, Yes, No> = [keyof O] extends [never] ? No : Yes;

/** Same rows as the input; the kept input columns stand beside the new ones without being copied. */
export type SameRows<O extends ColumnSpecs> = HasColumns<
  O,
  { readonly columns: ColumnsOut<O> },
  { readonly columns?: Record<string, never> }
> & { readonly rows?: undefined; readonly select?: undefined };
/** Other rows than the input: only with `keep: 'none'`. */
export type OtherRows<O extends ColumnSpecs> = {
  readonly rows: number;
  readonly columns: ColumnsOut<O>;
  readonly select?: undefined;
};
/**
 * Some rows of the input: their numbers in the order wanted (Uint32Array), or a mask with 1 for each row that stays (Uint8Array).
 * `columns` have one value for each row that stays.
 */
export type SelectedRows<O extends ColumnSpecs> = {
  readonly select: Uint32Array | Uint8Array;
  readonly rows?: undefined;
} & HasColumns<O, { readonly columns: ColumnsOut<O> }, { readonly columns?: Record<string, never> }>;
export type BlockResult<O extends ColumnSpecs> = SameRows<O> | OtherRows<O> | SelectedRows<O>;
