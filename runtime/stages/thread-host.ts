/**
 * A TypeScript stage in this process: in this thread when it has one worker, in worker threads when it has more; `auto` begins
 * in this one and takes more where they are worth it.
 *
 * Invariants
 *  1. A stage with a memory limit never runs in this thread: the limit ends its thread, not the process.
 *  2. Module, scratch and threads stay between runs.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseBytes } from '../config/units.js';
import { PodlineError } from '../contracts/errors.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import { openScratch } from '../scratch/scratch.js';
import type { Scratch } from '../scratch/types.js';
import { AdaptiveWorkers } from './adaptive.js';
import type { RunEvents } from './commits.js';
import type { DefinedStage } from './define.js';
import { runFiles } from './files-form.js';
import type { HostSetup, StageHost } from './host.js';
import { InlineWorkers } from './inline.js';
import { loadStage } from './load.js';
import type { RunNews } from './news.js';
import { endOf, runBlocks, type RunEnd } from './runner.js';
import { ThreadPool } from './threads.js';
import type { Workers } from './workers.js';

const nowMs = (): number => performance.now();

interface Loaded {
  scratch: Scratch;
  defined: DefinedStage | undefined;
  declaration: StageDeclaration;
  workers: Workers;
  /** Threads that are up, or may be later. */
  pool: ThreadPool | undefined;
}

export class ThreadHost implements StageHost {
  #loaded: Loaded | undefined;

  constructor(private readonly setup: HostSetup) {}

  async load(): Promise<void> {
    const { stage, stagesDir, scratch: options } = this.setup;
    const pool = this.#pool();
    const isAdaptive = pool !== undefined && stage.workers === 'auto' && stage.resources.memory === undefined;
    const form = stage.declares?.form;
    // With threads, this thread needs the module only to merge; and to learn what the stage is, where nobody has told.
    const isNeededHere = pool === undefined || isAdaptive || form === undefined || form === 'aggregate';
    const [scratch, defined] = await Promise.all([
      openScratch(options),
      isNeededHere ? loadStage(stage, stagesDir) : undefined,
      isAdaptive ? undefined : pool?.warm(),
    ]);
    const declaration = defined?.declaration ?? stage.declares;
    if (declaration === undefined)
      throw new PodlineError('PDL_STAGE_LOAD', `stage ${stage.name} does not say what it is`, { place: stage.name });
    const inline = (): InlineWorkers => new InlineWorkers(stage.name, defined as DefinedStage, scratch, nowMs);
    const workers = pool === undefined ? inline() : isAdaptive ? new AdaptiveWorkers(inline(), pool, this.#threads) : pool;
    this.#loaded = { scratch, defined, declaration, workers, pool };
  }

  run(request: RunRequest, events: RunEvents, news: RunNews, signal: AbortSignal, startedAtMs: number): Promise<RunEnd> {
    return endOf(startedAtMs, nowMs, signal, async (counts) => {
      const loaded = this.#loaded;
      if (loaded === undefined)
        throw new PodlineError('PDL_INTERNAL', `stage ${this.setup.stage.name} was started before it was loaded`);
      const { stage } = this.setup;
      const { declaration, defined, scratch } = loaded;
      if (declaration.form !== 'files') return runBlocks({ stage, nowMs, ...loaded }, request, events, news, signal, counts);
      if (defined === undefined) throw new PodlineError('PDL_INTERNAL', `stage ${stage.name} was not loaded`);
      return runFiles({ stage: stage.name, defined, scratch, nowMs }, request, events, signal, counts);
    });
  }

  /** In this thread, and in those that are up: each compiles for itself. */
  async rehearse(signal: AbortSignal): Promise<number> {
    const loaded = this.#loaded;
    const form = loaded?.declaration.form;
    if (loaded === undefined || form === undefined || form === 'files') return 0;
    // A stage that is worked on in this process has no other use for the folder. What lies there was left by a process that was ended.
    const { runsDir: dir, scratch } = this.setup;
    await rm(dir, { recursive: true, force: true });
    const { rehearse } = await import('./rehearsal/rehearsal.js');
    const hostOf = (setup: HostSetup): Promise<StageHost> => Promise.resolve(new ThreadHost(setup));
    try {
      const [runs, inThreads = 0] = await Promise.all([
        rehearse({ form, setup: this.setup, dir: join(dir, 'slot') }, hostOf, signal),
        loaded.pool?.rehearse({ form, scratch, dir: join(dir, 'thread') }),
      ]);
      return runs + inThreads;
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    await loaded?.workers.close();
    await loaded?.scratch.close();
  }

  get #threads(): number {
    const { stage, workers } = this.setup;
    return stage.workers === 'auto' ? workers : stage.workers;
  }

  /** For a stage that is worked on block by block, and may have more than one thread or must not have this one. */
  #pool(): ThreadPool | undefined {
    const { stage, stagesDir, scratch } = this.setup;
    const size = this.#threads;
    const memory = stage.resources.memory === undefined ? undefined : parseBytes(stage.resources.memory);
    if (stage.declares?.form === 'files' || (size === 1 && memory === undefined)) return undefined;
    const heapBytesMax = memory === undefined ? undefined : memory / size;
    return new ThreadPool({ stage: { name: stage.name, module: stage.module }, stagesDir, scratch, size, heapBytesMax });
  }
}
