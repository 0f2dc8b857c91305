/**
 * The threads of one stage: they load its module once, open the scratch for themselves and turn blocks into answers.
 *
 * Owns the worker threads. Leaves to the runner which block is worked on when, and all writing.
 *
 * Invariants
 *  1. A thread has at most two blocks at once, so that it never waits for the runner and never hoards.
 *  2. When a thread ends, all that it owed is settled with an error; the next run begins with a new one in its place.
 *  3. Arrays of an answer are transferred: the thread that made them has them no longer. Input arrays never are.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { BlockRecord } from '../contracts/block.js';
import { PodlineError, type WireError } from '../contracts/errors.js';
import { entryPath } from '../platform/entries.js';
import type { ScratchOptions } from '../scratch/types.js';
import type { LogLevel, RunSetup, RunVoice } from './context.js';
import type { StageModule } from './load.js';
import type { Answer, ReadBytes } from './work.js';

export interface ThreadSetup {
  stage: StageModule;
  stagesDir: string;
  scratch: ScratchOptions;
}

export type ToThread =
  { type: 'begin'; run: RunSetup } | { type: 'block'; ticket: number; block: BlockRecord } | { type: 'cancel' } | { type: 'end' };
export type FromThread =
  | { type: 'warm' }
  | { type: 'unloadable'; error: WireError }
  | { type: 'answer'; ticket: number; answer: Answer; bytes: ReadBytes }
  | { type: 'failed'; ticket: number; error: WireError }
  | { type: 'log'; level: LogLevel; message: string }
  | { type: 'note'; note: string };

/** Turns blocks into answers for one run at a time. */
export interface Workers {
  /** Blocks that may be asked for before their answers are taken. */
  readonly depth: number;
  begin(setup: RunSetup, voice: RunVoice, signal: AbortSignal): Promise<void>;
  work(block: BlockRecord): Promise<Answer>;
  /** Ends the run; gives what it has read. Settles whatever is still under way; may be called twice. */
  end(): Promise<ReadBytes>;
  close(): Promise<void>;
}

/** From a cancel to the end of a thread that is still busy with its block. */
const cancelGraceMs = 1_000;

export class ThreadPool implements Workers {
  readonly depth: number;
  #threads: StageThread[] = [];
  #voice: RunVoice | undefined;
  #signal: AbortSignal | undefined;
  #closed = false;
  readonly #onAbort = (): void => this.#cancel();

  constructor(
    private readonly setup: ThreadSetup,
    private readonly size: number,
    private readonly heapBytesMax: number | undefined,
  ) {
    this.depth = size * 2;
  }

  /** All threads up, with the module loaded. Throws PDL_STAGE_LOAD. */
  async warm(): Promise<void> {
    this.#threads = this.#threads.filter((thread) => thread.alive);
    while (this.#threads.length < this.size) {
      this.#threads.push(
        new StageThread(this.setup, this.heapBytesMax, {
          log: (level, message) => this.#voice?.log(level, message),
          note: (note) => this.#voice?.note(note),
        }),
      );
    }
    await Promise.all(this.#threads.map((thread) => thread.warm));
  }

  async begin(run: RunSetup, voice: RunVoice, signal: AbortSignal): Promise<void> {
    if (this.#threads.some((thread) => !thread.alive)) await this.warm();
    this.#voice = voice;
    this.#signal = signal;
    for (const thread of this.#threads) thread.post({ type: 'begin', run });
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#cancel();
  }

  work(block: BlockRecord): Promise<Answer> {
    const idlest = this.#threads.reduce<StageThread | undefined>(
      (best, thread) => (best === undefined || thread.pending < best.pending ? thread : best),
      undefined,
    );
    if (idlest === undefined)
      return Promise.reject(new PodlineError('PDL_INTERNAL', `stage ${this.setup.stage.name} has no threads`));
    return idlest.ask(block);
  }

  async end(): Promise<ReadBytes> {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    await this.#settle();
    const total: ReadBytes = { memory: 0, ssd: 0, network: { read: 0, written: 0 } };
    for (const thread of this.#threads) {
      thread.post({ type: 'end' });
      total.memory += thread.bytes.memory;
      total.ssd += thread.bytes.ssd;
      total.network.read += thread.bytes.network.read;
      total.network.written += thread.bytes.network.written;
      thread.forgetBytes();
    }
    this.#voice = undefined;
    // What was lost is made good while the slot is parked.
    if (!this.#closed && this.#threads.some((thread) => !thread.alive)) void this.warm().catch(() => undefined);
    return total;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    await Promise.all(this.#threads.map((thread) => thread.close()));
    this.#threads = [];
  }

  #cancel(): void {
    for (const thread of this.#threads) thread.post({ type: 'cancel' });
  }

  /** A thread that still works on a block must not meet the next run with it: it gets a moment to end it, then it is ended. */
  async #settle(): Promise<void> {
    const busy = this.#threads.filter((thread) => thread.pending > 0);
    if (busy.length === 0) return;
    for (const thread of busy) thread.post({ type: 'cancel' });
    const grace = new AbortController();
    await Promise.race([
      Promise.all(busy.map((thread) => thread.idle())),
      delay(cancelGraceMs, undefined, { signal: grace.signal }).catch(() => undefined),
    ]);
    grace.abort();
    await Promise.all(busy.filter((thread) => thread.pending > 0).map((thread) => thread.close()));
  }
}

const nothingRead = (): ReadBytes => ({ memory: 0, ssd: 0, network: { read: 0, written: 0 } });

class StageThread {
  readonly warm: Promise<void>;
  alive = true;
  bytes = nothingRead();
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: unknown) => void }>();
  #tickets = 0;
  readonly #onIdle: (() => void)[] = [];
  #failure: PodlineError | undefined;
  #onWarm: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  constructor(
    private readonly setup: ThreadSetup,
    heapBytesMax: number | undefined,
    private readonly voice: RunVoice,
  ) {
    this.#worker = new Worker(entryPath('runtime/stages/thread-entry'), {
      workerData: setup,
      ...(heapBytesMax === undefined
        ? {}
        : { resourceLimits: { maxOldGenerationSizeMb: Math.max(16, Math.floor(heapBytesMax / 1_048_576)) } }),
    });
    this.warm = new Promise((resolve, reject) => (this.#onWarm = { resolve, reject }));
    // Whoever calls warm() sees the error; a thread that dies unwatched must not take the process with it.
    this.warm.catch(() => undefined);
    this.#worker.on('message', (message: FromThread) => this.#take(message));
    this.#worker.on('error', (thrown) => this.#lose(thrown));
    this.#worker.on('exit', (code) => this.#lose(new Error(`its thread ended with code ${code}`)));
  }

  get pending(): number {
    return this.#waiting.size;
  }

  post(message: ToThread): void {
    if (this.alive) this.#worker.postMessage(message);
  }

  ask(block: BlockRecord): Promise<Answer> {
    if (!this.alive)
      return Promise.reject(
        this.#failure ?? new PodlineError('PDL_STAGE_DIED', `a thread of stage ${this.setup.stage.name} is gone`),
      );
    const ticket = ++this.#tickets;
    return new Promise((resolve, reject) => {
      this.#waiting.set(ticket, { resolve, reject });
      this.post({ type: 'block', ticket, block });
    });
  }

  /** Resolves when nothing is owed any more. */
  idle(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  forgetBytes(): void {
    this.bytes = nothingRead();
  }

  async close(): Promise<void> {
    this.#lose(new Error('it was stopped'));
    await this.#worker.terminate();
  }

  #take(message: FromThread): void {
    switch (message.type) {
      case 'warm':
        this.#onWarm?.resolve();
        return;
      case 'unloadable':
        this.#onWarm?.reject(PodlineError.fromWire(message.error));
        return;
      case 'answer':
        this.bytes = message.bytes;
        this.#waiting.get(message.ticket)?.resolve(message.answer);
        this.#settled(message.ticket);
        return;
      case 'failed':
        this.#waiting.get(message.ticket)?.reject(PodlineError.fromWire(message.error));
        this.#settled(message.ticket);
        return;
      case 'log':
        this.voice.log(message.level, message.message);
        return;
      case 'note':
        this.voice.note(message.note);
        return;
    }
  }

  #settled(ticket: number): void {
    this.#waiting.delete(ticket);
    if (this.#waiting.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #lose(thrown: unknown): void {
    if (!this.alive) return;
    this.alive = false;
    const { name } = this.setup.stage;
    const memory = (thrown as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY';
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    this.#failure = memory
      ? new PodlineError('PDL_STAGE_MEMORY', `a thread of stage ${name} went over its memory limit`, { place: name })
      : new PodlineError('PDL_STAGE_DIED', `a thread of stage ${name} ended before its work did: ${message}`, {
          place: name,
          logTail: thrown instanceof Error ? thrown.stack?.slice(0, 4_096) : undefined,
        });
    this.#onWarm?.reject(this.#failure);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
