/**
 * Workers of as many threads as are worth their while: a run begins in the thread of the runner, at once, and goes over to threads
 * when what is left is long enough to pay for them. What was learned of the stage is kept for its next runs.
 *
 * Invariants
 *  1. Threads are started when they are first worth it, and stay.
 *  2. A run goes over once, between two blocks: one side has ended, with all that it gave committed, before the other begins.
 */
import type { InlineWorkers } from './inline.js';
import type { ThreadPool } from './threads.js';
import { addRead, nothingRead, type Job, type Outcome, type ReadBytes, type Workers } from './workers.js';

/** What it costs to start threads and load the stage in them, and to wake them: measured, with room to both sides. */
const startMs = 150;
const wakeMs = 0.5;
/** Gains must be larger than costs by this much. */
const worth = 2;

/** Whether threads would gain more than they cost, with so many blocks left that take one thread so long each. */
export function isWorthThreads(blocksLeft: number, blockMs: number, threads: number, areUp: boolean): boolean {
  const atOnce = Math.min(threads, blocksLeft);
  if (atOnce < 2) return false;
  const gainMs = blocksLeft * blockMs * (1 - 1 / atOnce);
  return gainMs > worth * (areUp ? wakeMs : startMs);
}

interface AdaptiveRun {
  job: Job;
  /** Blocks up to here were given. */
  given: number;
  blocks: number;
  isWhole: boolean;
  read: ReadBytes;
}

export class AdaptiveWorkers implements Workers {
  #areUp = false;
  #starting: Promise<void> | undefined;
  /** Of earlier runs, and of this one as soon as it has any. */
  #blockMs = 0;
  #run: AdaptiveRun | undefined;
  #threaded = false;

  constructor(
    private readonly inline: InlineWorkers,
    private readonly pool: ThreadPool,
    private readonly threads: number,
  ) {}

  get firstCallAtMs(): number | undefined {
    return this.inline.firstCallAtMs ?? (this.#threaded ? this.pool.firstCallAtMs : undefined);
  }

  async begin(job: Job): Promise<void> {
    this.#run = { job, given: job.from, blocks: job.from, isWhole: false, read: nothingRead() };
    this.#threaded = false;
    await this.inline.begin(job);
  }

  grow(blocks: number, isWhole: boolean): void {
    if (this.#run !== undefined) Object.assign(this.#run, { blocks, isWhole });
    this.#current.grow(blocks, isWhole);
  }

  touch(): void {
    this.#current.touch();
  }

  async next(): Promise<readonly Outcome[]> {
    const run = this.#run;
    if (run !== undefined && !this.#threaded && this.#isWorthIt(run.blocks - run.given)) {
      if (this.#areUp) await this.#goOver(run);
      else this.#start();
    }
    const outcomes = await this.#current.next();
    if (run !== undefined) {
      run.given += outcomes.length;
      const done = run.given - run.job.from;
      if (!this.#threaded && done > 0) this.#blockMs = this.inline.workMs / done;
    }
    return outcomes;
  }

  async end(): Promise<ReadBytes> {
    const run = this.#run;
    this.#run = undefined;
    const read = run?.read ?? nothingRead();
    addRead(read, await this.#current.end());
    return read;
  }

  async close(): Promise<void> {
    await this.end();
    await this.inline.close();
    await this.pool.close();
  }

  get #current(): Workers {
    return this.#threaded ? this.pool : this.inline;
  }

  #isWorthIt(blocksLeft: number): boolean {
    return !this.inline.isWaiting && isWorthThreads(blocksLeft, this.#blockMs, this.threads, this.#areUp);
  }

  /** In the background: the run goes on where it is. Where threads cannot be had, it stays there. */
  #start(): void {
    this.#starting ??= this.pool.warm().then(
      () => void (this.#areUp = true),
      () => undefined,
    );
  }

  async #goOver(run: AdaptiveRun): Promise<void> {
    addRead(run.read, await this.inline.end());
    this.#threaded = true;
    await this.pool.begin({ ...run.job, isHeld: false, from: run.given });
    this.pool.grow(run.blocks, run.isWhole);
  }
}
