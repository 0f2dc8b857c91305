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
 * the compiler in the stage and between stages (`graph.ts`), when the pipeline is loaded, and at the border of every call.
 *
 * Invariants
 *  1. A stage file may be loaded in several threads and stays loaded between shards: state outside of the arguments is not kept
 *     in step between them, and nothing of one shard may be left over for the next.
 *  2. Input arrays are views of shared memory and valid until the call returns (for async forms: until its promise settles).
 *  3. A call may be made again for the same block after a failure: it must give the same answer.
 *  4. Arrays that a call returns are Podline's from then on (they may be moved to another thread): a stage makes new ones each time.
 */
import type { StageDeclaration } from '../contracts/manifest.js';
import { PodlineError } from '../contracts/errors.js';
import type { Batch, BlockContext, BytesContext, FilesContext, ParameterTypes, StageContext, StageInputs } from './given.js';
import type { BlockResult, ColumnsOut, ColumnSpecs, RowIn, RowOut } from './specs.js';

export type * from './given.js';
export type * from './specs.js';

type Maybe<T> = T | Promise<T>;

export interface Aggregate<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes, S> {
  /** An empty state. What it holds must survive structured cloning: plain data, maps, sets, typed arrays. */
  start(ctx: StageContext<P>): S;
  /** Takes a block into a state that came from `start`; returns it, or nothing if it was changed in place. */
  add(state: S, batch: Batch<I>, ctx: BlockContext<P>): S | void | Promise<S | void>;
  /** The state of `a` and, behind it, `b`; may change and return `a`. Called in the order of the blocks, always. */
  merge(a: S, b: S, ctx: StageContext<P>): S;
  finish(state: S, ctx: StageContext<P>): ColumnsOut<O> | Promise<ColumnsOut<O>>;
}

/** Input columns that go on beside the output, by reference: all (default), none, or those named, in that order. */
export type Keep = 'all' | 'none' | readonly string[];
/** Kept columns that go on under another name: new name → name in the input. */
export type Rename = Readonly<Record<string, string>>;

interface Common<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes> {
  /** Columns that the stage needs. Without it, it takes what comes. */
  input?: I;
  /** Columns that it writes. */
  output?: O;
  /** Types of the parameters that it needs; checked when a run starts. Without it, `ctx.parameters` holds whatever there is. */
  parameters?: P;
  /**
   * true: columns that a filter made smaller are read where they lie, with `column.selection` beside their arrays, instead of being
   * gathered into new arrays when they are first touched.
   */
  selections?: boolean;
}
interface Passing<K extends Keep, R extends Rename> {
  /**
   * Input columns that go on beside the output: all (default), none, or those named. The list gives their order too, and may hold
   * new names of `rename` and names of the output. Nothing is written for it.
   */
  keep?: K;
  /** Kept columns that go on under another name: `{ departure: 'origin' }`. Nothing is written for it. */
  rename?: R;
}

/** One form and no other. */
type Only<F extends Form> = { [Other in Exclude<Form, F>]?: never };
type NoColumnsOf = { input?: never; output?: never; selections?: never };
type NoPassing = { keep?: never; rename?: never };

export type BlockStage<
  I extends ColumnSpecs,
  O extends ColumnSpecs,
  P extends ParameterTypes,
  K extends Keep,
  R extends Rename,
> = Common<I, O, P> &
  Passing<K, R> &
  Only<'block'> & {
    block(batch: Batch<I>, ctx: BlockContext<P>): Maybe<BlockResult<O>>;
  };
export type RowStage<
  I extends ColumnSpecs,
  O extends ColumnSpecs,
  P extends ParameterTypes,
  K extends Keep,
  R extends Rename,
> = Common<I, O, P> &
  Passing<K, R> &
  Only<'row'> & {
    /** false drops the row. */
    row(row: RowIn<I>, out: RowOut<O>, ctx: BlockContext<P>): boolean | void;
  };
export type AggregateStage<I extends ColumnSpecs, O extends ColumnSpecs, P extends ParameterTypes, S> = Common<I, O, P> &
  NoPassing &
  Only<'aggregate'> & { aggregate: Aggregate<I, O, P, S> };
export type BytesStage<P extends ParameterTypes, B> = NoColumnsOf &
  NoPassing &
  Only<'bytes'> & {
    parameters?: P;
    /**
     * A block of bytes. What it returns is committed: the chunk that it was given, or a part of it, by reference (as it was given,
     * whatever was written into it since); bytes of `ctx.allocate` where they lie; others are copied.
     */
    bytes(chunk: Uint8Array, ctx: BytesContext<P>): Maybe<B>;
  };
export type FilesStage<P extends ParameterTypes, F> = NoColumnsOf &
  NoPassing &
  Only<'files'> & {
    parameters?: P;
    /** Files may be returned, written by `ctx.writeFile`, or both. */
    files(inputs: StageInputs, ctx: FilesContext<P>): Maybe<F>;
  };

/** Stands for what a stage of another form has not. */
interface Unset {
  readonly isUnset: never;
}
type FilesOut = Readonly<Record<string, Uint8Array | string>> | void;

export type StageDefinition<
  I extends ColumnSpecs,
  O extends ColumnSpecs,
  P extends ParameterTypes,
  S,
  K extends Keep,
  R extends Rename,
  B,
  F,
> = BlockStage<I, O, P, K, R> | RowStage<I, O, P, K, R> | AggregateStage<I, O, P, S> | BytesStage<P, B> | FilesStage<P, F>;

/** What the compiler knows of a stage, for those who check that stages follow each other. */
export interface StageTypes {
  readonly kind: 'table' | 'bytes' | 'files';
  readonly input: ColumnSpecs;
  readonly output: ColumnSpecs;
  readonly keep: Keep;
  readonly rename: Rename;
}

/** What a stage module exports by default: data for the coordinator, functions for whoever runs it. */
export interface DefinedStage<T extends StageTypes = StageTypes> {
  readonly podlineStage: 1;
  readonly declaration: StageDeclaration;
  readonly parameterTypes: ParameterTypes | undefined;
  readonly functions: StageFunctions;
  /** For the compiler alone. */
  readonly types?: T | undefined;
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
  readonly bytes?: ((chunk: Uint8Array, ctx: BytesContext) => Maybe<unknown>) | undefined;
  readonly files?: ((inputs: StageInputs, ctx: FilesContext) => Maybe<unknown>) | undefined;
}

const forms = ['block', 'row', 'aggregate', 'bytes', 'files'] as const;
type Form = (typeof forms)[number];
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
  S = Unset,
  const K extends Keep = 'all',
  const R extends Rename = NoColumns,
  B extends Uint8Array | Unset = Unset,
  F extends FilesOut | Unset = Unset,
>(
  definition: StageDefinition<I, O, P, S, K, R, B, F>,
): DefinedStage<{
  kind: [B] extends [Unset] ? ([F] extends [Unset] ? 'table' : 'files') : 'bytes';
  // Where a stage goes says nothing about what it is.
  input: NoInfer<I>;
  output: NoInfer<O>;
  keep: [S] extends [Unset] ? NoInfer<K> : 'none';
  rename: NoInfer<R>;
}> {
  const given = forms.filter((form) => definition[form] !== undefined);
  const form = given[0];
  if (form === undefined || given.length > 1)
    throw contradiction(`a stage has exactly one of ${forms.join(', ')}; this one has ${given.join(' and ') || 'none'}`);
  const { input, output, rename, selections, keep = 'all' } = definition;
  const passes = form === 'block' || form === 'row';
  if (!passes && form !== 'aggregate' && (input !== undefined || output !== undefined))
    throw contradiction(`a stage of the form ${form} has no columns to declare`, 'Remove `input` and `output`.');
  if (form === 'aggregate' && output === undefined)
    throw contradiction('an aggregation must declare the columns of its result', 'Declare them under `output`.');
  if (passes) checkPassing(keep, rename ?? {}, output ?? {});
  return {
    podlineStage: 1,
    declaration: {
      form,
      ...(input === undefined ? {} : { input: declared(input) }),
      ...(output === undefined ? {} : { output: declared(output) }),
      keep: passes ? (typeof keep === 'string' ? keep : Array.from(keep)) : 'none',
      ...(passes && rename !== undefined ? { rename: { ...rename } } : {}),
      ...(selections === true ? { selections } : {}),
    },
    parameterTypes: definition.parameters,
    functions: functionsOf(definition, form),
  };
}

const contradiction = (message: string, hint?: string): PodlineError => new PodlineError('PDL_STAGE_LOAD', message, { hint });

/** What contradicts itself whatever the input is; the rest is judged where the input is known. */
function checkPassing(keep: Keep, rename: Rename, output: ColumnSpecs): void {
  const names = Object.keys(rename);
  const written = names.find((name) => Object.hasOwn(output, name));
  if (written !== undefined)
    throw contradiction(`it both writes a column ${written} and renames one to it`, 'Give one of them another name.');
  if (typeof keep === 'string') {
    if (keep === 'none' && names.length > 0)
      throw contradiction("it renames columns and keeps none of its input's", 'Remove `rename`, or name them in `keep`.');
    return;
  }
  const lost = names.find((name) => !keep.includes(name));
  if (lost !== undefined) throw contradiction(`it renames a column to ${lost} and does not keep it`, `Add ${lost} to \`keep\`.`);
  const twice = keep.find((name, index) => keep.indexOf(name) < index);
  if (twice !== undefined) throw contradiction(`it keeps the column ${twice} twice`, 'Remove one of them.');
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
