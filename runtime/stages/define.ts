/**
 * `defineStage`: how a stage in TypeScript is written.
 *
 *     export default defineStage({
 *       input: { delay: 'int16', origin: { type: 'dictionary', nullable: true } },
 *       output: { late: 'uint8' },
 *       block(batch) {
 *         const late = column.uint8(batch.rows);
 *         const delay = batch.columns.delay.values;
 *         for (let i = 0; i < batch.rows; i++) late.values[i] = delay[i]! > 15 ? 1 : 0;
 *         return { columns: { late } };
 *       },
 *     });
 *
 * A stage has exactly one form: `block` (columns of a block), `row` (a view of one row), `aggregate` (all blocks into a few rows),
 * `bytes` (raw bytes), `files` (everything at once, into named files). What it declares under `input` and `output` is checked by
 * the compiler in the stage, when the pipeline is loaded, and at the border of every call.
 *
 * Invariants
 *  1. A stage file may be loaded in several threads and stays loaded between shards: state outside of the arguments is not kept
 *     in step between them, and nothing of one shard may be left over for the next.
 *  2. Input arrays are views of shared memory and valid until the call returns (for async forms: until its promise settles).
 *  3. A call may be made again for the same block after a failure: it must give the same answer.
 *  4. Arrays that a call returns are Podline's from then on (they may be moved to another thread): a stage makes new ones each time.
 */
import type { ColumnType } from '../contracts/block.js';
import type { Parameters, StageDeclaration } from '../contracts/manifest.js';
import { PodlineError } from '../contracts/errors.js';
import type { AnyColumn, ArrayOf, ColumnOf, NumberType, Scalar, ScalarOf } from './columns.js';

/** `'int16'`, or `{ type: 'int16', nullable: true }`. Without `nullable` a column has no nulls. */
export type ColumnSpec = ColumnType | { readonly type: ColumnType; readonly nullable?: boolean | undefined };
export type ColumnSpecs = Readonly<Record<string, ColumnSpec>>;

type TypeIn<S> = S extends ColumnType ? S : S extends { readonly type: infer T extends ColumnType } ? T : never;
type NullIn<S> = S extends { readonly nullable: true } ? null : never;

/** The columns of a batch, by the input that the stage declares; whatever the block has, where it declares none. */
export type ColumnsIn<I extends ColumnSpecs> = string extends keyof I
  ? Readonly<Record<string, AnyColumn>>
  : { readonly [K in keyof I]: ColumnOf<TypeIn<I[K]>, NullIn<I[K]>> };

type BareArray<T extends ColumnType> = T extends NumberType
  ? ArrayOf[T]
  : T extends 'int64' | 'timestamp[ms]' | 'timestamp[us]'
    ? BigInt64Array
    : T extends 'uint64'
      ? BigUint64Array
      : T extends 'date32'
        ? Int32Array
        : never;
type BareList<T extends ColumnType, N extends null> = T extends 'utf8' | 'dictionary'
  ? readonly (string | N)[]
  : T extends 'bool'
    ? readonly (boolean | N)[]
    : never;
type OutputOf<T extends ColumnType, N extends null> =
  ColumnOf<T> | (N extends null ? ColumnOf<T, null> : never) | BareArray<T> | BareList<T, N>;

/** What may be returned for the declared output: a column, a typed array of its type, or a list of strings or booleans. */
export type ColumnsOut<O extends ColumnSpecs> = { readonly [K in keyof O]: OutputOf<TypeIn<O[K]>, NullIn<O[K]>> };

/** One row of the input: getters over the columns of the block. The object is the same for every row. */
export type RowIn<I extends ColumnSpecs> = string extends keyof I
  ? Readonly<Record<string, Scalar | null>>
  : { readonly [K in keyof I]: ScalarOf<TypeIn<I[K]>> | NullIn<I[K]> };
/** Where a row form puts its values; every declared column must be set for every row that is kept, nullable ones excepted. */
export type RowOut<O extends ColumnSpecs> = { -readonly [K in keyof O]: ScalarOf<TypeIn<O[K]>> | NullIn<O[K]> };

/** One block of the input. */
export interface Batch<I extends ColumnSpecs = ColumnSpecs> {
  readonly rows: number;
  /** Number of the block within its stream, from 0. */
  readonly index: number;
  /** Names of all columns that the block has, declared or not. */
  readonly names: readonly string[];
  /** The declared columns; each is mapped when it is first asked for. */
  readonly columns: ColumnsIn<I>;
  /** Any column of the block. Throws PDL_STAGE_COLUMNS where it has none of that name. */
  column(name: string): AnyColumn;
}

export interface StageLogger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

export type ParameterTypes = Readonly<Record<string, 'string' | 'number' | 'boolean'>>;
export type ParametersOf<P extends ParameterTypes> = string extends keyof P
  ? Readonly<Parameters>
  : { readonly [K in keyof P]: P[K] extends 'string' ? string : P[K] extends 'number' ? number : boolean };

/** What a stage is given beside its data. */
export interface StageContext<P extends ParameterTypes = ParameterTypes> {
  /** Constants of the stage and parameters of the shard. */
  readonly parameters: ParametersOf<P>;
  readonly shard: { readonly id: string; readonly key: string };
  readonly logger: StageLogger;
  /** Aborted when the shard is cancelled, the stage is swapped out or its time is over. */
  readonly signal: AbortSignal;
  /** A word on what the stage is doing, for those who watch. */
  progress(note: string): void;
  /** Counts bytes that went over the network by other means than `ctx.fetch`. */
  external(bytes: { bytesIn?: number; bytesOut?: number }): void;
  /** fetch, with its bodies counted as network bytes and the shard's abort signal. */
  readonly fetch: typeof fetch;
}

export interface BlockContext<P extends ParameterTypes = ParameterTypes> extends StageContext<P> {
  readonly block: { readonly index: number; readonly rows: number };
}

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

export interface Aggregate<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes, S> {
  /** An empty state. What it holds must survive structured cloning: plain data, maps, sets, typed arrays. */
  start(ctx: StageContext<P>): S;
  /** Takes a block into a state that came from `start`; returns it, or nothing if it was changed in place. */
  add(state: S, batch: Batch<I>, ctx: BlockContext<P>): S | void | Promise<S | void>;
  /** The state of `a` and, behind it, `b`; may change and return `a`. Called in the order of the blocks, always. */
  merge(a: S, b: S, ctx: StageContext<P>): S;
  finish(state: S, ctx: StageContext<P>): ColumnsOut<O> | Promise<ColumnsOut<O>>;
}

/** All of one input stream, for the `files` form. */
export interface StreamInput {
  readonly name: string;
  readonly kind: 'table' | 'bytes' | 'files';
  readonly rows: number;
  readonly blocks: number;
  readonly schema: readonly { readonly name: string; readonly type: ColumnType; readonly nullable: boolean }[];
  /** Tables: the blocks, in order. */
  batches(): Iterable<Batch>;
  /** Tables: all rows as objects; for what is small. */
  toRows(): Record<string, Scalar | null>[];
  /** Bytes: the chunks, in order. */
  chunks(): Iterable<Uint8Array>;
  /** Files: their names. */
  readonly files: readonly string[];
  /** Files: one of them, whole. Bytes: everything, whole, when no name is given. */
  read(file?: string): Uint8Array;
}

export interface StageInputs extends Iterable<StreamInput> {
  readonly names: readonly string[];
  /** Throws PDL_STAGE_COLUMNS where the stage does not read a stream of that name. */
  stream(name: string): StreamInput;
  /** The only input. Throws PDL_STAGE_COLUMNS when there are several. */
  only(): StreamInput;
}

export interface FilesContext<P extends ParameterTypes = ParameterTypes> extends StageContext<P> {
  /** Writes a file of the result; text as UTF-8. A name may hold slashes. The same name again appends. */
  writeFile(name: string, content: Uint8Array | string): Promise<void>;
}

type Maybe<T> = T | Promise<T>;

interface Common<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes> {
  /** Columns that the stage needs. Without it, it takes what comes. */
  input?: I;
  /** Columns that it writes. */
  output?: O;
  /** Types of the parameters that it needs; checked when a run starts. Without it, `ctx.parameters` holds whatever there is. */
  parameters?: P;
}
/** Input columns that go on beside the output, by reference: all (default), none, or those named. */
type Keep = 'all' | 'none' | readonly string[];

export interface BlockStage<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes> extends Common<I, O, P> {
  keep?: Keep;
  block(batch: Batch<I>, ctx: BlockContext<P>): Maybe<BlockResult<O>>;
  row?: never;
  aggregate?: never;
  bytes?: never;
  files?: never;
}
export interface RowStage<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes> extends Common<I, O, P> {
  keep?: Keep;
  /** false drops the row. */
  row(row: RowIn<I>, out: RowOut<O>, ctx: BlockContext<P>): boolean | void;
  block?: never;
  aggregate?: never;
  bytes?: never;
  files?: never;
}
export interface AggregateStage<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes, S> extends Common<
  I,
  O,
  P
> {
  keep?: never;
  aggregate: Aggregate<I, O, P, S>;
  block?: never;
  row?: never;
  bytes?: never;
  files?: never;
}
export interface BytesStage<P extends ParameterTypes> {
  bytes(chunk: Uint8Array, ctx: BlockContext<P>): Maybe<Uint8Array>;
  parameters?: P;
  input?: never;
  output?: never;
  keep?: never;
  block?: never;
  row?: never;
  aggregate?: never;
  files?: never;
}
export interface FilesStage<P extends ParameterTypes> {
  /** Files may be returned, written by `ctx.writeFile`, or both. */
  files(inputs: StageInputs, ctx: FilesContext<P>): Maybe<Readonly<Record<string, Uint8Array | string>> | void>;
  parameters?: P;
  input?: never;
  output?: never;
  keep?: never;
  block?: never;
  row?: never;
  aggregate?: never;
  bytes?: never;
}

export type StageDefinition<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes, S> =
  BlockStage<I, O, P> | RowStage<I, O, P> | AggregateStage<I, O, P, S> | BytesStage<P> | FilesStage<P>;

/** What a stage module exports by default: data for the coordinator, functions for whoever runs it. */
export interface DefinedStage {
  readonly podlineStage: 1;
  readonly declaration: StageDeclaration;
  readonly parameterTypes: ParameterTypes | undefined;
  readonly functions: StageFunctions;
}

/** The functions of a stage with their types forgotten: what they are given is checked against the declaration before. */
export interface StageFunctions {
  readonly block?: ((batch: Batch, ctx: BlockContext) => Maybe<unknown>) | undefined;
  readonly row?: ((row: unknown, out: unknown, ctx: BlockContext) => unknown) | undefined;
  readonly aggregate?:
    | {
        start(ctx: StageContext): unknown;
        add(state: unknown, batch: Batch, ctx: BlockContext): unknown;
        merge(a: unknown, b: unknown, ctx: StageContext): unknown;
        finish(state: unknown, ctx: StageContext): Maybe<unknown>;
      }
    | undefined;
  readonly bytes?: ((chunk: Uint8Array, ctx: BlockContext) => Maybe<unknown>) | undefined;
  readonly files?: ((inputs: StageInputs, ctx: FilesContext) => Maybe<unknown>) | undefined;
}

const forms = ['block', 'row', 'aggregate', 'bytes', 'files'] as const;
// eslint-disable-next-line @typescript-eslint/no-generated-empty-object-type -- a stage that writes no column has none, and that is what it says
type NoColumns = Record<never, never>;

/**
 * Defines a stage; `export default` what it returns.
 * Throws PDL_STAGE_LOAD when there is not exactly one form, or when two things that it says contradict each other.
 */
export function defineStage<
  const I extends ColumnSpecs = ColumnSpecs,
  const O extends ColumnSpecs = NoColumns,
  const P extends ParameterTypes = ParameterTypes,
  S = unknown,
>(definition: StageDefinition<I, O, P, S>): DefinedStage {
  const given = forms.filter((form) => definition[form] !== undefined);
  const form = given[0];
  if (form === undefined || given.length > 1) {
    throw new PodlineError(
      'PDL_STAGE_LOAD',
      `a stage has exactly one of ${forms.join(', ')}; this one has ${given.length === 0 ? 'none' : given.join(' and ')}`,
    );
  }
  const tableForm = form === 'block' || form === 'row' || form === 'aggregate';
  if (!tableForm && (definition.input !== undefined || definition.output !== undefined)) {
    throw new PodlineError('PDL_STAGE_LOAD', `a stage of the form ${form} has no columns to declare`, {
      hint: 'Remove `input` and `output`.',
    });
  }
  if (form === 'aggregate' && definition.output === undefined) {
    throw new PodlineError('PDL_STAGE_LOAD', 'an aggregation must declare the columns of its result', {
      hint: 'Declare them under `output`.',
    });
  }
  const keep = form === 'block' || form === 'row' ? (definition.keep ?? 'all') : 'none';
  return {
    podlineStage: 1,
    declaration: {
      form,
      ...(definition.input === undefined ? {} : { input: declared(definition.input) }),
      ...(definition.output === undefined ? {} : { output: declared(definition.output) }),
      keep: typeof keep === 'string' ? keep : [...keep],
    },
    parameterTypes: definition.parameters,
    functions: functionsOf(definition, form),
  };
}

/** The one place where a stage's own types are given up: columns are checked against the declaration at run time. */
function functionsOf(definition: object, form: StageDeclaration['form']): StageFunctions {
  return { [form]: (definition as Record<string, unknown>)[form] };
}

function declared(specs: ColumnSpecs): NonNullable<StageDeclaration['input']> {
  return Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => [
      name,
      typeof spec === 'string'
        ? { type: spec }
        : { type: spec.type, ...(spec.nullable === undefined ? {} : { nullable: spec.nullable }) },
    ]),
  );
}

/** Whether a module's default export is a stage; by its mark, since a stage may come with a copy of this file of its own. */
export const isDefinedStage = (value: unknown): value is DefinedStage =>
  typeof value === 'object' && value !== null && (value as { podlineStage?: unknown }).podlineStage === 1;
