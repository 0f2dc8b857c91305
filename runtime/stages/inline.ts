/** Workers of one: the stage runs in the thread of the runner, with no hop between them. */
import type { BlockRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Scratch } from '../scratch/types.js';
import type { RunSetup, RunVoice } from './context.js';
import type { DefinedStage } from './define.js';
import type { Workers } from './threads.js';
import { RunWork, type Answer, type ReadBytes } from './work.js';

export class InlineWorkers implements Workers {
  readonly depth = 1;
  #work: RunWork | undefined;
  #pending: Promise<unknown> | undefined;

  constructor(
    private readonly stage: string,
    private readonly defined: DefinedStage,
    private readonly scratch: Scratch,
  ) {}

  async begin(setup: RunSetup, voice: RunVoice, signal: AbortSignal): Promise<void> {
    this.#work = new RunWork(this.stage, this.defined, this.scratch, setup, signal, voice);
  }

  work(block: BlockRecord): Promise<Answer> {
    if (this.#work === undefined) return Promise.reject(new PodlineError('PDL_INTERNAL', 'a block came outside of a run'));
    const answer = this.#work.work(block);
    const settled = answer
      .catch(() => undefined)
      .then(() => {
        if (this.#pending === settled) this.#pending = undefined;
      });
    this.#pending = settled;
    return answer;
  }

  async end(): Promise<ReadBytes> {
    const bytes = this.#work?.bytes ?? { memory: 0, ssd: 0, network: { read: 0, written: 0 } };
    this.#release();
    return bytes;
  }

  async close(): Promise<void> {
    this.#release();
  }

  /** An async stage that was cancelled may still read its block: the memory under it stays mapped until it has ended. */
  #release(): void {
    const work = this.#work;
    this.#work = undefined;
    if (this.#pending === undefined) work?.close();
    else void this.#pending.then(() => work?.close());
  }
}
