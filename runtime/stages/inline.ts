/**
 * Workers of one: the stage runs in the thread of the runner, with no hop between them.
 *
 * Outcomes are given in batches, so that small blocks share a commit and large ones do not wait for each other: a batch ends after
 * `batchMs`, sooner where somebody waits for its blocks, and before a wait. The first block of a run is a batch of its own: whoever
 * follows can begin.
 *
 * Invariants
 *  1. Between batches, and while the stage waits, the events of this thread have their turn: a cancel is heard.
 *  2. One block at a time. A block that is waited for holds back nothing that is done.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PodlineError } from '../contracts/errors.js';
import type { Scratch } from '../scratch/types.js';
import { BlockWork } from './block-work.js';
import type { DefinedStage } from './define.js';
import { isPromise } from './work.js';
import { nothingRead, type Job, type Outcome, type ReadBytes, type Workers } from './workers.js';

/** Work between two commits. A commit takes about a tenth of a millisecond: more often would cost, less often would hold back. */
const batchMs = 2;
/** The same where another stage follows: it is told of every commit, and woken, which costs about as much again. */
const followedBatchMs = 0.5;
const batchBlocksMax = 256;

export class InlineWorkers implements Workers {
  #run: InlineRun | undefined;
  #firstCallAtMs: number | undefined;
  #workMs = 0;

  constructor(
    private readonly stage: string,
    private readonly defined: DefinedStage,
    private readonly scratch: Scratch,
    private readonly nowMs: () => number,
  ) {}

  get firstCallAtMs(): number | undefined {
    return this.#firstCallAtMs;
  }

  /** Time that the blocks of this run took so far. */
  get workMs(): number {
    return this.#workMs;
  }

  /** A block is under way that is waited for. */
  get isWaiting(): boolean {
    return this.#run?.pending !== undefined || this.#run?.failure !== undefined;
  }

  async begin(job: Job): Promise<void> {
    const { stage, defined, scratch } = this;
    const { plan, signal, voice, room, open, reading } = job;
    const awaitOutput = (): void => void open().catch(() => undefined);
    const onCall = (): void => void (this.#firstCallAtMs ??= this.nowMs());
    this.#firstCallAtMs = undefined;
    this.#workMs = 0;
    this.#run = {
      job,
      work: new BlockWork({ stage, defined, scratch, plan, signal, voice, room, awaitOutput, onCall, reading }),
      next: job.from,
      blocks: job.from,
      isWhole: false,
      turnAtMs: this.nowMs(),
    };
  }

  grow(blocks: number, isWhole: boolean): void {
    const run = this.#run;
    if (run === undefined) return;
    run.blocks = Math.max(run.blocks, blocks);
    run.isWhole = isWhole;
    run.onGrowth?.();
  }

  touch(): void {
    this.#run?.work.touch(this.#run.next);
  }

  async next(): Promise<readonly Outcome[]> {
    const run = this.#run;
    if (run === undefined) throw new PodlineError('PDL_INTERNAL', `stage ${this.stage} was asked for blocks outside of a run`);
    if (this.nowMs() - run.turnAtMs >= batchMs) {
      await nextTurn();
      run.turnAtMs = this.nowMs();
    }
    let beganMs = this.nowMs();
    const done: Outcome[] = [];
    for (;;) {
      run.job.signal.throwIfAborted();
      if (run.failure !== undefined) throw run.failure.thrown;
      if (run.next >= run.blocks) {
        if (done.length > 0 || run.isWhole) break;
        await new Promise<void>((resolve) => (run.onGrowth = resolve));
        beganMs = this.nowMs();
        continue;
      }
      const outcome = await this.#block(run, done.length > 0);
      if (outcome === undefined) break;
      done.push(outcome);
      if (this.#isBatch(run, done.length, this.nowMs() - beganMs)) break;
    }
    this.#workMs += this.nowMs() - beganMs;
    return done;
  }

  async end(): Promise<ReadBytes> {
    const run = this.#run;
    this.#run = undefined;
    if (run === undefined) return nothingRead();
    const { bytes } = run.work;
    // Unmapping a large input takes its time, which nobody need wait for.
    run.work.close(run.pending ?? nextTurn());
    return bytes;
  }

  async close(): Promise<void> {
    await this.end();
  }

  /** The next block's outcome; undefined where it must be waited for, or failed, and something else is to be told first. */
  async #block(run: InlineRun, isOtherDone: boolean): Promise<Outcome | undefined> {
    try {
      const given = run.pending ?? run.work.do(run.next);
      if (!isPromise(given)) {
        run.next++;
        return given;
      }
      given.catch(() => undefined);
      run.pending = given;
      if (isOtherDone) return undefined;
      const outcome = await given;
      run.pending = undefined;
      run.next++;
      return outcome;
    } catch (thrown) {
      run.failure = { thrown };
      if (isOtherDone) return undefined;
      throw thrown;
    }
  }

  #isBatch(run: InlineRun, blocks: number, ms: number): boolean {
    const isFirst = run.next === run.job.from + 1;
    return isFirst || blocks >= batchBlocksMax || ms >= (run.job.isFollowed() ? followedBatchMs : batchMs);
  }
}

interface InlineRun {
  job: Job;
  work: BlockWork;
  /** The block that is worked on next. */
  next: number;
  /** Blocks that are there. */
  blocks: number;
  isWhole: boolean;
  turnAtMs: number;
  /** The block that is waited for. */
  pending?: Promise<Outcome> | undefined;
  failure?: { thrown: unknown } | undefined;
  onGrowth?: (() => void) | undefined;
}
