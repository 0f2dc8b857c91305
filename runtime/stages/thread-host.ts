/**
 * A TypeScript stage in this process: in this thread when it has one worker, in worker threads when it has more.
 *
 * Invariants
 *  1. A stage with a memory limit never runs in this thread: the limit ends its thread, not the process.
 *  2. Module, scratch and threads stay between runs.
 */
import { performance } from 'node:perf_hooks';
import type { StageDeclaration } from '../contracts/manifest.js';
import { PodlineError } from '../contracts/errors.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import { parseBytes } from '../config/units.js';
import { openScratch } from '../scratch/scratch.js';
import type { Scratch } from '../scratch/types.js';
import type { RunEvents } from './commits.js';
import type { DefinedStage } from './define.js';
import { runFiles } from './files-form.js';
import type { HostSetup, StageHost } from './host.js';
import { InlineWorkers } from './inline.js';
import { loadStage } from './load.js';
import { endOf, runBlocks, type RunEnd } from './runner.js';
import { ThreadPool, type Workers } from './threads.js';

const nowMs = (): number => performance.now();

export class ThreadHost implements StageHost {
  #loaded: { scratch: Scratch; defined: DefinedStage | undefined; declaration: StageDeclaration; workers: Workers } | undefined;

  constructor(private readonly setup: HostSetup) {}

  async load(): Promise<void> {
    const { stage, stagesDir, scratch: options } = this.setup;
    const threads = stage.workers === 'auto' ? this.setup.workers : stage.workers;
    const memory = stage.resources.memory === undefined ? undefined : parseBytes(stage.resources.memory);
    const form = stage.declares?.form;
    const isThreaded = form !== 'files' && (threads > 1 || memory !== undefined);
    const pool = isThreaded
      ? new ThreadPool(
          { stage: { name: stage.name, module: stage.module }, stagesDir, scratch: options },
          threads,
          memory === undefined ? undefined : memory / threads,
        )
      : undefined;
    // With threads, this thread needs the module only to merge; and to learn what the stage is, where nobody has told.
    const isNeededHere = pool === undefined || form === undefined || form === 'aggregate';
    const [scratch, defined] = await Promise.all([
      openScratch(options),
      isNeededHere ? loadStage(stage, stagesDir) : undefined,
      pool?.warm(),
    ]);
    const declaration = defined?.declaration ?? stage.declares;
    if (declaration === undefined)
      throw new PodlineError('PDL_STAGE_LOAD', `stage ${stage.name} does not say what it is`, { place: stage.name });
    const workers = pool ?? new InlineWorkers(stage.name, defined as DefinedStage, scratch);
    this.#loaded = { scratch, defined, declaration, workers };
  }

  run(request: RunRequest, events: RunEvents, signal: AbortSignal, startedAtMs: number): Promise<RunEnd> {
    return endOf(startedAtMs, nowMs, signal, async (counts) => {
      const loaded = this.#loaded;
      if (loaded === undefined)
        throw new PodlineError('PDL_INTERNAL', `stage ${this.setup.stage.name} was started before it was loaded`);
      const { stage } = this.setup;
      const { declaration, defined, scratch } = loaded;
      if (declaration.form !== 'files') return runBlocks({ stage, nowMs, ...loaded }, request, events, signal, counts);
      if (defined === undefined) throw new PodlineError('PDL_INTERNAL', `stage ${stage.name} was not loaded`);
      return runFiles({ stage: stage.name, defined, scratch, nowMs }, request, events, signal, counts);
    });
  }

  async close(): Promise<void> {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    await loaded?.workers.close();
    await loaded?.scratch.close();
  }
}
