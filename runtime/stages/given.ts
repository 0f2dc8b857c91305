/** What a stage's functions are given: blocks, whole streams, and a context. Types only. */
import type { ColumnType } from '../contracts/block.js';
import type { Parameters } from '../contracts/manifest.js';
import type { TraceContext } from '../contracts/trace.js';
import type { AnyColumn, Scalar } from './columns.js';
import type { ColumnsIn, ColumnSpecs } from './specs.js';

/** One block of the input. */
export interface Batch<I extends ColumnSpecs = ColumnSpecs> {
  readonly rows: number;
  /** Number of the block within its stream, from 0. */
  readonly index: number;
  /** Names of all columns that the block has, declared or not. */
  readonly names: readonly string[];
  /** The declared columns; each is mapped when it is first asked for. */
  readonly columns: ColumnsIn<I>;
  /** One of the declared columns; any that the block has, where the stage declares none. Throws PDL_STAGE_COLUMNS for others. */
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
  /**
   * Trace Context of the W3C: the span of this run, where the shard belongs to a trace. `ctx.fetch` does not send it by itself: what a service
   * is told is the stage's to say (`headers: { ...ctx.trace }`), and so is what other libraries make of it.
   */
  readonly trace?: TraceContext | undefined;
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

export interface BytesContext<P extends ParameterTypes = ParameterTypes> extends BlockContext<P> {
  /**
   * Room to write the answer into, in the scratch itself where the machine allows it: returned, the whole or a part of it, it is
   * committed without a copy, and nobody sees it before. What it holds at first is not said. One for each call: another one takes its
   * place, and when the answer is committed its views hold zeros and reach nothing of the scratch.
   */
  allocate(bytes: number): Uint8Array;
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
  /** Tables: all rows as objects, lists as arrays; for what is small. */
  toRows(): Record<string, Scalar | null | readonly (Scalar | null)[]>[];
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
