/**
 * The threads of one stage: they load its module once, open the scratch for themselves, and take blocks from a ring.
 *
 * Owns the worker threads and the committer's side of the ring. Leaves to the runner what is committed when.
 *
 * Invariants
 *  1. On the way of a block there is no message: claims, outcomes and waking go through the ring.
 *  2. When a thread ends within a run, the run fails; the next run begins with a new thread in its place.
 *  3. When a run has ended, no thread is inside of it: who does not leave in time is ended.
 *  4. One thread asks for room at a time.
 */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Packr } from 'msgpackr';
import { PodlineError } from '../contracts/errors.js';
import type { ScratchOptions, WrittenBlock } from '../scratch/types.js';
import type { StageModule } from './load.js';
import type { ThreadRehearsal } from './rehearsal/in-thread.js';
import { RingCommitter, type Taken } from './ring.js';
import { StageThread } from './stage-thread.js';
import { packing, type FromRun } from './thread-protocol.js';
import { nothingRead, type Job, type Outcome, type ReadBytes, type Workers } from './workers.js';

export interface PoolSetup {
  stage: StageModule;
  stagesDir: string;
  scratch: ScratchOptions;
  /** Threads. */
  size: number;
  /** Of each thread. */
  heapBytesMax: number | undefined;
}

/** Slots for each thread: enough that a slow block does not stop the others at once, few enough that little waits for it. */
const slotsPerThread = 4;
/** The description of a block of some hundred columns. What is larger goes by message. */
const slotBytes = 32 * 1024;
/** From a cancel to the end of a thread that is still busy with its block. */
const cancelGraceMs = 1_000;

interface PoolRun {
  job: Job;
  state: number;
  /** What came by message for a block. */
  told: Map<number, Outcome | PodlineError>;
  failure?: PodlineError | undefined;
  isOver: boolean;
  /** Messages that came. */
  heard: number;
  rooms: Promise<unknown>;
  onAbort: () => void;
}

export class ThreadPool implements Workers {
  #threads: StageThread[] = [];
  readonly #ring: RingCommitter;
  readonly #packr = new Packr(packing);
  #run: PoolRun | undefined;
  #closed = false;

  constructor(private readonly setup: PoolSetup) {
    this.#ring = new RingCommitter({ slots: setup.size * slotsPerThread, slotBytes, threads: setup.size });
  }

  /** All threads up, with the module loaded. Throws PDL_STAGE_LOAD. */
  async warm(): Promise<void> {
    for (let number = 0; number < this.setup.size; number++) {
      if (this.#threads[number]?.isAlive !== true) this.#threads[number] = this.#start(number);
    }
    await Promise.all(this.#threads.map((thread) => thread.warm));
  }

  /** Those that are up, each in a folder of its own within `dir`. Returns how many runs there were in all of them together. */
  async rehearse({ dir, ...rehearsal }: ThreadRehearsal): Promise<number> {
    const up = this.#threads.filter((thread) => thread.isAlive);
    const runs = await Promise.all(up.map((thread) => thread.rehearse({ ...rehearsal, dir: join(dir, String(thread.number)) })));
    return runs.reduce((sum, of) => sum + of, 0);
  }

  get firstCallAtMs(): number | undefined {
    const { firstCallNs } = this.#ring;
    return firstCallNs === undefined ? undefined : performance.now() - Number(process.hrtime.bigint() - firstCallNs) / 1e6;
  }

  async begin(job: Job): Promise<void> {
    if (this.#threads.length < this.setup.size || this.#threads.some((thread) => !thread.isAlive)) await this.warm();
    const { plan, signal, isHeld } = job;
    const state = this.#ring.begin(job.from);
    const onAbort = (): void => this.#cancel();
    this.#run = { job, state, told: new Map(), rooms: Promise.resolve(), onAbort, isOver: false, heard: 0 };
    for (const thread of this.#threads) thread.post({ type: 'begin', state, plan, isHeld });
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    await job.open();
    this.#ring.open();
  }

  grow(blocks: number, isWhole: boolean): void {
    if (this.#run === undefined) return;
    this.#ring.grow(blocks, isWhole);
    this.#ring.ring();
  }

  touch(): void {
    for (const thread of this.#threads) thread.post({ type: 'touch' });
  }

  async next(): Promise<readonly Outcome[]> {
    const ring = this.#ring;
    const run = this.#run;
    ring.release();
    while (run !== undefined && run === this.#run) {
      const heard = ring.bell;
      const outcomes = this.#takeAll(run);
      if (outcomes.length > 0) return outcomes;
      if (run.failure !== undefined) throw run.failure;
      if (ring.isDone) return outcomes;
      await ring.rung(heard);
    }
    throw new PodlineError('PDL_INTERNAL', `stage ${this.setup.stage.name} was asked for blocks outside of a run`);
  }

  async end(): Promise<ReadBytes> {
    const run = this.#run;
    if (run === undefined) return nothingRead();
    run.job.signal.removeEventListener('abort', run.onAbort);
    // Whoever is still inside of a run that came to its end waits for this; another has to be told to let go.
    if (!this.#ring.isDone) this.#cancel();
    run.isOver = true;
    this.#ring.over();
    await this.#leave();
    await this.#hearAll(run);
    this.#run = undefined;
    // Whoever still waits for the next outcomes is told that there are none.
    this.#ring.ring();
    // What was lost is made good while the slot is parked.
    if (!this.#closed && this.#threads.some((thread) => !thread.isAlive)) void this.warm().catch(() => undefined);
    const [memory = 0, ssd = 0, read = 0, written = 0] = this.#ring.counts();
    return { memory, ssd, network: { read, written } };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.end();
    await Promise.all(this.#threads.map((thread) => thread.close()));
    this.#threads = [];
  }

  #start(number: number): StageThread {
    const { stage, stagesDir, scratch, heapBytesMax } = this.setup;
    this.#ring.forget(number);
    const ring = { memory: this.#ring.memory, shape: this.#ring.shape };
    return new StageThread({ stage, stagesDir, scratch, ring, thread: number }, heapBytesMax, {
      message: (message) => this.#hear(number, message),
      lost: (failure) => {
        if (this.#run !== undefined) this.#run.failure ??= failure;
        this.#ring.forget(number);
        this.#ring.ring();
      },
    });
  }

  /** What is published, in order, up to the first block that is not. */
  #takeAll(run: PoolRun): Outcome[] {
    const outcomes: Outcome[] = [];
    for (;;) {
      const block = this.#ring.nextBlock;
      const taken = run.failure === undefined ? this.#ring.take((kind) => kind !== 'message' || run.told.has(block)) : undefined;
      if (taken === undefined) return outcomes;
      const outcome = this.#outcomeOf(run, taken);
      if (outcome instanceof PodlineError) run.failure = outcome;
      else outcomes.push(outcome);
    }
  }

  #outcomeOf(run: PoolRun, { block, kind, bytes }: Taken): Outcome | PodlineError {
    switch (kind) {
      case 'nothing':
        return { kind: 'nothing' };
      case 'bytes':
        return { kind: 'written', block: this.#packr.unpack(bytes) as WrittenBlock };
      case 'message': {
        const told = run.told.get(block);
        run.told.delete(block);
        return told ?? new PodlineError('PDL_INTERNAL', `nothing was told of block ${block}`);
      }
    }
  }

  #hear(thread: number, message: FromRun): void {
    const run = this.#run;
    if (run?.state !== message.state) return;
    run.heard++;
    switch (message.type) {
      case 'log':
        run.job.voice.log(message.level, message.message);
        break;
      case 'note':
        run.job.voice.note(message.note);
        break;
      case 'outcome':
        run.told.set(message.block, message.outcome);
        break;
      case 'failed':
        run.told.set(message.block, PodlineError.fromWire(message.error));
        break;
      case 'room':
        run.rooms = run.rooms
          .then(() => (run.isOver ? 'none' : run.job.room(message.bytes)))
          .catch(() => 'none' as const)
          .then((answer) => this.#threads[thread]?.post({ type: 'roomAnswer', answer }));
        break;
    }
    this.#ring.ring();
  }

  #cancel(): void {
    for (const thread of this.#threads) thread.post({ type: 'cancel' });
  }

  /** Nobody is inside any more. A thread that still works on a block gets a moment to end it; then it is ended. */
  async #leave(): Promise<void> {
    const inside = (): StageThread[] => this.#threads.filter(({ number }) => this.#ring.isInside(number));
    const ended: Promise<void>[] = [];
    const end = (): void => void ended.push(...inside().map((thread) => thread.close()));
    const grace = setTimeout(end, cancelGraceMs);
    for (;;) {
      const heard = this.#ring.bell;
      if (inside().length === 0) break;
      await this.#ring.rung(heard);
    }
    clearTimeout(grace);
    await Promise.all(ended);
  }

  /** What the threads said in the run is heard before it is over. */
  async #hearAll(run: PoolRun): Promise<void> {
    for (;;) {
      const heard = this.#ring.bell;
      const said = this.#ring.counts()[4] ?? 0;
      if (run.heard >= said || this.#threads.some((thread) => !thread.isAlive)) return;
      await this.#ring.rung(heard);
    }
  }
}
