/**
 * `checkGraph`: the stages of a pipeline beside each other, so that the compiler sees which columns reach which stage.
 *
 *     import { checkGraph } from 'podline';
 *     import clean from './clean.js';
 *     import features from './features.js';
 *
 *     checkGraph({
 *       input: { date: 'timestamp[ms]', delay: 'int16' },          // the columns of the source
 *       stages: {
 *         clean: { stage: clean },                                 // reads the input
 *         features: { stage: features, after: ['clean'] },
 *         report: { command: 'files', after: ['features'] },       // a program, and what it writes
 *       },
 *     });
 *
 * A column that is missing, or of another type, is an error of the compiler at the stage that asks for it, in words. What the compiler
 * sees is what `podline lint` sees in the manifest (`runtime/line/columns.ts`); nulls are judged when the data is there.
 *
 * Invariants
 *  1. What may turn out well compiles: behind a program whose columns are not said, every column may be there.
 *  2. A column is known by the stage that wrote it and its name there: two different ones of one name do not go side by side.
 */
import type { ColumnType } from '../contracts/block.js';
import type { DefinedStage, Keep, Rename, StageTypes } from './define.js';
import type { ColumnSpecs, TypeIn } from './specs.js';

/** What a program writes: a kind of stream, or the columns, where they are known. */
export type Written = 'table' | 'bytes' | 'files' | ColumnSpecs;

interface Follows {
  /** Stages whose output it reads; without it, the input of the pipeline. */
  readonly after?: readonly string[];
  readonly combine?: 'zip' | 'concat';
}
export interface StageNode extends Follows {
  readonly stage: DefinedStage;
  readonly command?: never;
}
export interface CommandNode extends Follows {
  readonly command: Written;
  readonly stage?: never;
}
export type GraphStages = Readonly<Record<string, StageNode | CommandNode>>;

/** A column on its way, with where it was written and under which name. */
interface Flowing {
  readonly type: ColumnType;
  readonly from: string;
  readonly was: string;
}
type Columns = Readonly<Record<string, Flowing>>;
/** A stream: of columns that are known or not, or of another kind. */
type Stream = Columns | 'table' | 'bytes' | 'files';

type Text<T> = T extends string ? T : never;
type Flat<T> = { [K in keyof T]: T[K] };

type Own<O extends ColumnSpecs, From extends string> = {
  [K in keyof O]: { type: TypeIn<O[K]>; from: From; was: Text<K> };
};
type StreamOfWritten<W, From extends string> = W extends string ? W : W extends ColumnSpecs ? Own<W, From> : never;

/** --- what a stage passes on: as `runtime/line/kept.ts` has it --- */

type Passed<C extends Columns, K extends Keep, R extends Rename> = K extends 'none'
  ? unknown
  : K extends 'all'
    ? { [N in keyof C as N extends R[keyof R] ? never : N]: C[N] } & {
        [To in keyof R as R[To] extends keyof C ? To : never]: C[R[To]];
      }
    : K extends readonly string[]
      ? { [N in K[number] as Source<N, R> extends keyof C ? N : never]: C[Source<N, R>] }
      : unknown;
/** The column of the input that a kept name stands for. */
type Source<N, R extends Rename> = N extends keyof R ? R[N] : N;

type OutputOf<T extends StageTypes, Reaching, Name extends string> = T['kind'] extends 'bytes' | 'files'
  ? T['kind']
  : T['keep'] extends 'none'
    ? Own<T['output'], Name>
    : Reaching extends Columns
      ? Flat<Omit<Passed<Reaching, T['keep'], T['rename']>, keyof T['output']> & Own<T['output'], Name>>
      : 'table';

/** --- what reaches a stage --- */

type TypesOf<N> = N extends { stage: DefinedStage<infer T> } ? T : never;
type AfterOf<N> = N extends { after: infer A extends readonly string[] }
  ? A extends readonly []
    ? readonly ['input']
    : A
  : readonly ['input'];

type StreamOf<I, G, Name> = Name extends 'input'
  ? StreamOfWritten<I, 'input'>
  : Name extends keyof G
    ? G[Name] extends { command: infer W }
      ? StreamOfWritten<W, Text<Name>>
      : OutputOf<TypesOf<G[Name]>, ReachingOf<I, G, Name>, Text<Name>>
    : 'table';
type ReachingOf<I, G, Name extends keyof G> = G[Name] extends { combine: 'concat' }
  ? Concatenated<I, G, AfterOf<G[Name]>, Text<Name>>
  : Zipped<I, G, AfterOf<G[Name]>>;

/** Side by side; a column that comes twice is the same, or a fault of `ConflictsOf`. */
type Zipped<I, G, A extends readonly string[]> = A extends readonly [infer First, ...infer Rest extends readonly string[]]
  ? Rest extends readonly []
    ? StreamOf<I, G, First>
    : Beside<StreamOf<I, G, First>, Zipped<I, G, Rest>>
  : 'table';
type Beside<A, B> = A extends Columns ? (B extends Columns ? Flat<A & Omit<B, keyof A>> : B) : A;

/** One after another: columns of the first, written anew as far as anyone can tell. */
type Concatenated<I, G, A extends readonly string[], Name extends string> =
  StreamOf<I, G, A[0]> extends infer S
    ? S extends Columns
      ? { [K in keyof S]: { type: S[K]['type']; from: Name; was: Text<K> } }
      : S
    : never;

/** --- what is wrong, in words --- */

type ConflictsOf<I, G, Name extends keyof G> = G[Name] extends { combine: 'concat' }
  ? UnlikeIn<I, G, Text<Name>, AfterOf<G[Name]>>
  : ConflictsIn<I, G, Text<Name>, AfterOf<G[Name]>>;
type ConflictsIn<I, G, Name extends string, A extends readonly string[]> = A extends readonly [
  infer First,
  ...infer Rest extends readonly string[],
]
  ? Rest extends readonly []
    ? never
    : Conflicts<StreamOf<I, G, First>, Zipped<I, G, Rest>, Name> | ConflictsIn<I, G, Name, Rest>
  : never;
type Conflicts<A, B, Name extends string> = A extends Columns
  ? B extends Columns
    ? {
        [K in keyof A & keyof B]: [A[K]['from'], A[K]['was']] extends [B[K]['from'], B[K]['was']]
          ? never
          : `the inputs of ${Name} do not go together: both ${A[K]['from']} and ${B[K]['from']} write a column ${Text<K>}`;
      }[keyof A & keyof B]
    : never
  : never;
type UnlikeIn<I, G, Name extends string, A extends readonly string[]> = {
  [K in keyof A]: Unlike<StreamOf<I, G, A[0]>, StreamOf<I, G, A[K]>, Name, A[0] & string, A[K] & string>;
}[number];
type Unlike<A, B, Name extends string, First extends string, Other extends string> = A extends Columns
  ? B extends Columns
    ? {
        [K in keyof A | keyof B]: K extends keyof A & keyof B
          ? A[K]['type'] extends B[K]['type']
            ? never
            : `the inputs of ${Name} do not go together: column ${Text<K>} is ${A[K]['type']} in ${First} and ${B[K]['type']} in ${Other}`
          : `the inputs of ${Name} do not go together: column ${Text<K>} is not in ${K extends keyof A ? Other : First}`;
      }[keyof A | keyof B]
    : never
  : never;

type AsksFor<Name extends string, K, T extends ColumnType> = `${Name} asks for the column ${Text<K>} of type ${T}`;

type InputFaults<C extends Columns, I extends ColumnSpecs, Name extends string> = string extends keyof I
  ? never
  : {
      [K in keyof I]: K extends keyof C
        ? C[K]['type'] extends TypeIn<I[K]>
          ? never
          : `${AsksFor<Name, K, TypeIn<I[K]>>}; it reaches it as ${C[K]['type']} from ${C[K]['from']}`
        : `${AsksFor<Name, K, TypeIn<I[K]>>}; what reaches it has ${Text<keyof C>}`;
    }[keyof I];
type KeepFaults<C extends Columns, T extends StageTypes, Name extends string> =
  | (T['keep'] extends readonly (infer N)[]
      ? Exclude<N, keyof T['output'] | keyof T['rename'] | keyof C> extends infer Missing
        ? Missing extends string
          ? `${Name} keeps the column ${Missing}, which does not reach it`
          : never
        : never
      : never)
  | (Exclude<T['rename'][keyof T['rename']], keyof C> extends infer Missing
      ? Missing extends string
        ? `${Name} renames the column ${Missing}, which does not reach it`
        : never
      : never)
  | (T['keep'] extends 'all'
      ? Exclude<keyof T['rename'] & keyof C, T['rename'][keyof T['rename']]> extends infer Taken
        ? Taken extends string
          ? `${Name} renames a column to ${Taken}, which is the name of another`
          : never
        : never
      : never);

type StageFaults<T extends StageTypes, Reaching, Name extends string> = T['kind'] extends 'files'
  ? never
  : Reaching extends 'bytes' | 'files'
    ? T['kind'] extends 'bytes'
      ? never
      : `${Name} works on columns, and ${Reaching} reach it`
    : T['kind'] extends 'bytes'
      ? `${Name} works on bytes, and columns reach it`
      : Reaching extends Columns
        ? InputFaults<Reaching, T['input'], Name> | KeepFaults<Reaching, T, Name>
        : never;

type FaultsOf<I, G, Name extends keyof G> = G[Name] extends { stage: DefinedStage }
  ? TypesOf<G[Name]>['kind'] extends 'files'
    ? never
    : ConflictsOf<I, G, Name> | StageFaults<TypesOf<G[Name]>, ReachingOf<I, G, Name>, Text<Name>>
  : never;

/** For every node of the graph, what it must be: itself, or the fault in words where it is wrong. */
export type CheckedStages<I, G> = {
  [Name in keyof G]: ([FaultsOf<I, G, Name>] extends [never] ? unknown : { stage: FaultsOf<I, G, Name> }) & {
    after?: readonly ('input' | Exclude<keyof G, Name>)[];
  };
};

/**
 * Compiles only where the stages of a pipeline follow each other; returns what it was given.
 * `input`: the columns of the source, `'bytes'` for a source of bytes, or `'table'` where its columns are not known.
 */
export const checkGraph = <const I extends Written, const G extends GraphStages>(graph: {
  readonly input: I;
  readonly stages: G & CheckedStages<I, G>;
}): { readonly input: I; readonly stages: G } => graph;

/** The columns that a stage of a graph writes, by name: for those who would see what the compiler sees. */
export type ColumnsOf<Graph extends { input: unknown; stages: unknown }, Name extends keyof Graph['stages']> =
  StreamOf<Graph['input'], Graph['stages'], Name> extends infer S
    ? S extends Columns
      ? { readonly [K in keyof S]: S[K]['type'] }
      : S
    : never;

export type { Stream };
