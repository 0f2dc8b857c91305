/**
 * One thread's work on one run: a block in, an answer out. The same code runs in the shim's own thread and in workers.
 *
 * Invariants
 *  1. Nothing is written here: answers are committed by the runner, in the order of the blocks.
 *  2. Every block of an aggregation is reduced by itself, from `start()`, whatever the number of threads: floats add up alike.
 *  3. An error of the stage's own code leaves here as PDL_STAGE_FAILED with stage, block and stack.
 */
import type { BlockRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { ShardReader, Scratch } from '../scratch/types.js';
import { BatchSource } from './batch.js';
import { RunContext, type RunSetup, type RunVoice } from './context.js';
import type { DefinedStage, StageFunctions } from './define.js';
import { stageError } from './failure.js';
import { describe, fault, tableOutput, type TableOutput } from './output.js';
import { RowForm } from './rows.js';
import { checkParameters } from './schema.js';

export type Answer =
  ({ kind: 'table' } & TableOutput) | { kind: 'bytes'; payload: Uint8Array } | { kind: 'partial'; state: unknown };

/** Bytes that one thread has read for a run, by medium. */
export interface ReadBytes {
  memory: number;
  ssd: number;
  network: { read: number; written: number };
}

export class RunWork {
  readonly context: RunContext;
  readonly #scratch: Scratch;
  readonly #setup: RunSetup;
  #reader: ShardReader | undefined;
  #batches: BatchSource | undefined;

  constructor(
    private readonly stage: string,
    private readonly defined: DefinedStage,
    scratch: Scratch,
    setup: RunSetup,
    signal: AbortSignal,
    voice: RunVoice,
  ) {
    checkParameters(stage, defined.parameterTypes, setup.parameters);
    this.#scratch = scratch;
    this.#setup = setup;
    this.context = new RunContext(setup, signal, voice);
  }

  get reader(): ShardReader {
    return (this.#reader ??= this.#scratch.openReader(this.#setup.shardId));
  }

  get batches(): BatchSource {
    return (this.#batches ??= new BatchSource(this.reader, this.stage, this.defined.declaration));
  }

  async work(block: BlockRecord): Promise<Answer> {
    const { functions, declaration } = this.defined;
    try {
      const ctx = this.context.forBlock(block.seq, block.rows);
      if (functions.block !== undefined) {
        const batch = this.batches.batch(block);
        const given = functions.block(batch, ctx);
        const result = isPromise(given) ? await given : given;
        return { kind: 'table', ...tableOutput(this.stage, declaration, block, batch, result) };
      }
      if (functions.row !== undefined) {
        return {
          kind: 'table',
          ...rowFormOf(this.stage, this.defined, functions.row).run(block, this.batches.batch(block), ctx),
        };
      }
      if (functions.aggregate !== undefined) {
        const start = functions.aggregate.start(this.context);
        const given = functions.aggregate.add(start, this.batches.batch(block), ctx);
        const state = isPromise(given) ? await given : given;
        return { kind: 'partial', state: state === undefined ? start : state };
      }
      if (functions.bytes !== undefined) {
        const chunk = this.reader.payload(block);
        this.batches.noteInput(chunk.buffer);
        const given = functions.bytes(chunk, ctx);
        const payload = isPromise(given) ? await given : given;
        if (!(payload instanceof Uint8Array)) throw fault(this.stage, `a Uint8Array for block ${block.seq}`, describe(payload));
        return { kind: 'bytes', payload };
      }
    } catch (thrown) {
      throw stageError(this.stage, thrown, `block ${block.seq}`);
    }
    throw new PodlineError('PDL_INTERNAL', `stage ${this.stage} has no form that works block by block`);
  }

  /** So far. */
  get bytes(): ReadBytes {
    const { memory, ssd } = this.#reader?.read ?? { memory: 0, ssd: 0 };
    return { memory, ssd, network: { ...this.context.network } };
  }

  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
    this.#batches = undefined;
  }
}

/** What is there already is not waited for: a turn of the queue for every block would be one hop too many. */
const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;

const rowForms = new WeakMap<DefinedStage, RowForm>();

/** One for as long as the stage is loaded: what the engine has learned of its objects is worth keeping between shards. */
function rowFormOf(stage: string, defined: DefinedStage, row: NonNullable<StageFunctions['row']>): RowForm {
  let form = rowForms.get(defined);
  if (form === undefined) rowForms.set(defined, (form = new RowForm(stage, defined.declaration, row)));
  return form;
}
