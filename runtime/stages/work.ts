/**
 * The stage's code on one run in one thread: a block in, an answer out.
 *
 * Invariants
 *  1. Nothing is written here.
 *  2. Every block of an aggregation is reduced by itself, from `start()`, whatever the number of threads: floats add up alike.
 *  3. An error of the stage's own code leaves here as PDL_STAGE_FAILED with stage, block and stack.
 *  4. Code that does not wait is not waited for: its answer comes back without a turn of any queue.
 */
import type { BlockRecord, BufferRef } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { ShardReader, Scratch } from '../scratch/types.js';
import { BatchSource } from './batch.js';
import { RunContext, type RunSetup, type RunVoice } from './context.js';
import type { DefinedStage, StageFunctions } from './define.js';
import { stageError } from './failure.js';
import { describe, fault, tableOutput, type TableOutput } from './output.js';
import { RowForm } from './rows.js';
import { checkParameters } from './schema.js';
import type { ReadBytes } from './workers.js';

export type Answer =
  | ({ kind: 'table' } & TableOutput)
  | { kind: 'bytes'; payload: Uint8Array }
  /** The input itself or a part of it: nothing is to be written. */
  | { kind: 'kept'; payload: BufferRef }
  | { kind: 'partial'; state: unknown };

/** What was called for a block, and how its result becomes an answer. */
interface Call {
  given: unknown;
  answer: (result: unknown) => Answer;
}

export class RunWork {
  readonly context: RunContext;
  #reader: ShardReader | undefined;
  #batches: BatchSource | undefined;

  constructor(
    private readonly stage: string,
    private readonly defined: DefinedStage,
    private readonly scratch: Scratch,
    private readonly setup: RunSetup,
    signal: AbortSignal,
    voice: RunVoice,
    /** Room for the next payload, in the scratch. */
    private readonly allocate: (bytes: number) => Uint8Array,
    /** The stage's code is about to be called for a block. */
    private readonly onCall: () => void,
  ) {
    checkParameters(stage, defined.parameterTypes, setup.parameters);
    this.context = new RunContext(setup, signal, voice);
  }

  work(block: BlockRecord): Answer | Promise<Answer> {
    const failed = (thrown: unknown): never => {
      throw stageError(this.stage, thrown, `block ${block.seq}`);
    };
    try {
      const { given, answer } = this.#call(block);
      return isPromise(given) ? given.then(answer).catch(failed) : answer(given);
    } catch (thrown) {
      return failed(thrown);
    }
  }

  touch(block: BlockRecord): void {
    this.#open.touch(block);
  }

  /** So far. */
  get bytes(): ReadBytes {
    const { memory, ssd } = this.#reader?.read ?? { memory: 0, ssd: 0 };
    return { memory, ssd, network: { ...this.context.network } };
  }

  /** The stage is done with the block that it was given last: its arrays are not valid any more. */
  settle(): void {
    this.#reader?.settle();
  }

  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
    this.#batches = undefined;
  }

  #call(block: BlockRecord): Call {
    const { stage } = this;
    const { functions, declaration } = this.defined;
    const ctx = this.context.forBlock(block.seq, block.rows);
    if (functions.block !== undefined) {
      const batch = this.#source.batch(block);
      this.onCall();
      return {
        given: functions.block(batch, ctx),
        answer: (result) => ({ kind: 'table', ...tableOutput(stage, declaration, block, batch, result) }),
      };
    }
    if (functions.row !== undefined) {
      const batch = this.#source.batch(block);
      this.onCall();
      const output = rowFormOf(stage, this.defined, functions.row).run(block, batch, ctx);
      return { given: output, answer: () => ({ kind: 'table', ...output }) };
    }
    if (functions.aggregate !== undefined) {
      const batch = this.#source.batch(block);
      this.onCall();
      const start = functions.aggregate.start(this.context);
      return {
        given: functions.aggregate.add(start, batch, ctx),
        answer: (state) => ({ kind: 'partial', state: state === undefined ? start : state }),
      };
    }
    if (functions.bytes !== undefined) {
      const chunk = this.#open.payload(block);
      this.onCall();
      return {
        given: functions.bytes(chunk, Object.assign(ctx, { allocate: this.allocate })),
        answer: (payload) => {
          if (!(payload instanceof Uint8Array)) throw fault(stage, `a Uint8Array for block ${block.seq}`, describe(payload));
          const kept = partOf(chunk, payload, block.payload);
          return kept === undefined ? { kind: 'bytes', payload } : { kind: 'kept', payload: kept };
        },
      };
    }
    throw new PodlineError('PDL_INTERNAL', `stage ${stage} has no form that works block by block`);
  }

  get #open(): ShardReader {
    return (this.#reader ??= this.scratch.openReader(this.setup.shardId));
  }

  get #source(): BatchSource {
    return (this.#batches ??= new BatchSource(this.#open, this.stage, this.defined.declaration));
  }
}

/** Where in the scratch a payload lies that is the chunk which the stage was given, or a part of it. */
function partOf(chunk: Uint8Array, payload: Uint8Array, at: BufferRef | undefined): BufferRef | undefined {
  if (at === undefined || payload.buffer !== chunk.buffer) return undefined;
  const from = payload.byteOffset - chunk.byteOffset;
  if (from < 0 || from + payload.byteLength > chunk.byteLength) return undefined;
  return { segment: at.segment, offset: at.offset + from, length: payload.byteLength };
}

export const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;

const rowForms = new WeakMap<DefinedStage, RowForm>();

/** One for as long as the stage is loaded: what the engine has learned of its objects is worth keeping between shards. */
function rowFormOf(stage: string, defined: DefinedStage, row: NonNullable<StageFunctions['row']>): RowForm {
  let form = rowForms.get(defined);
  if (form === undefined) rowForms.set(defined, (form = new RowForm(stage, defined.declaration, row)));
  return form;
}
