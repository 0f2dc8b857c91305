/**
 * One process of a chain: the source, or stage i, of a work of bytes, numbers or orders, for any transport.
 *
 * Invariants
 *  1. The source is whole in memory, in the form in which it is sent, before the span begins.
 *  2. The last stage holds all of its output before the span ends; it is written after that.
 */
import { inputStream } from '../../runtime/contracts/block.js';
import type { BlockCodec } from '../codecs/codec.js';
import type { Link, TransportWork } from '../transports/transport.js';
import { monotonicMs } from '../work/clock.js';
import type { Job } from '../work/work.js';
import type { Form } from './forms.js';

/** What one process of a chain tells of a job. */
export interface ChainDone {
  job: string;
  stage: string;
  /** The source: when it was whole in memory. */
  loadedMs: number;
  /** The source: when all was handed over. The last stage: when it had all of its output. */
  endedMs: number;
  read: number;
  written: number;
}

export const stageName = (stage: number): string => (stage < 0 ? inputStream : `stage-${stage}`);

/** Of one job. */
export class ChainStage implements TransportWork<unknown, Job, ChainDone> {
  readonly stage: string;
  readonly inputs: readonly Link[];
  readonly outputs: readonly Link[];
  readonly #output: ReturnType<Form['output']> | undefined;
  #job: Job | undefined;
  #told = { loadedMs: 0, endedMs: 0, read: 0, written: 0 };

  /** `index`: of the stage; -1 is the source. */
  constructor(
    private readonly form: Form,
    private readonly index: number,
    stages: number,
  ) {
    const link = (from: number): Link => ({ from: stageName(from), to: stageName(from + 1), columns: [] });
    const isLast = index === stages - 1;
    this.stage = stageName(index);
    this.inputs = index < 0 ? [] : [link(index - 1)];
    this.outputs = isLast ? [] : [link(index)];
    this.#output = isLast ? form.output() : undefined;
  }

  codecOf(edge: Link): BlockCodec<unknown> {
    return edge.from === inputStream ? this.form.first : this.form.codec;
  }

  begin(job: Job): void {
    this.#job = job;
    this.#told = { loadedMs: 0, endedMs: 0, read: 0, written: 0 };
  }

  async *source(): AsyncGenerator {
    const blocks = await this.form.load(this.#job!);
    this.#told.loadedMs = monotonicMs();
    yield* blocks;
  }

  take(block: unknown): unknown {
    const made = this.form.step(block, this.index);
    if (this.#output === undefined || made === undefined) return made;
    this.#output.gather(made);
    return undefined;
  }

  async finish(job: Job): Promise<undefined> {
    this.#told.endedMs = monotonicMs();
    this.#output?.write(job.resultDir);
  }

  zip(): never {
    throw new Error('a stage of a chain has one input');
  }

  received(bytes: number): void {
    this.#told.read += bytes;
  }

  sent(bytes: number): void {
    this.#told.written += bytes;
  }

  done(): ChainDone {
    if (this.index < 0) this.#told.endedMs = monotonicMs();
    return { job: this.#job!.id, stage: this.stage, ...this.#told };
  }
}
