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

  constructor(
    private readonly stage: string,
    private readonly defined: DefinedStage,
    private readonly scratch: Scratch,
  ) {}

  async begin(setup: RunSetup, voice: RunVoice, signal: AbortSignal): Promise<void> {
    this.#work = new RunWork(this.stage, this.defined, this.scratch, setup, signal, voice);
  }

  work(block: BlockRecord): Promise<Answer> {
    return this.#work?.work(block) ?? Promise.reject(new PodlineError('PDL_INTERNAL', 'a block came outside of a run'));
  }

  async end(): Promise<ReadBytes> {
    const bytes = this.#work?.bytes ?? { memory: 0, ssd: 0, network: { read: 0, written: 0 } };
    this.#work?.close();
    this.#work = undefined;
    return bytes;
  }

  close(): Promise<void> {
    this.#work?.close();
    this.#work = undefined;
    return Promise.resolve();
  }
}
