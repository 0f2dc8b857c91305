/**
 * One worker thread of a stage, seen from the thread of the slot.
 *
 * Invariant
 *  1. A thread that ends, however it does, is told once, with an error that says why; it then never works again.
 */
import { Worker } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { endThread } from '../platform/uninterrupted.js';
import { entryPath } from '../platform/entries.js';
import type { ThreadRehearsal } from './rehearsal/in-thread.js';
import type { FromRun, FromThread, ThreadSetup, ToThread } from './thread-protocol.js';

export interface ThreadEvents {
  message(message: FromRun): void;
  /** It is gone. */
  lost(failure: PodlineError): void;
}

export class StageThread {
  /** Settles when the module is loaded. Throws PDL_STAGE_LOAD. */
  readonly warm: Promise<void>;
  readonly #worker: Worker;
  #failure: PodlineError | undefined;
  #onWarm: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #onRehearsed: { resolve: (runs: number) => void; reject: (error: unknown) => void } | undefined;

  constructor(
    private readonly setup: ThreadSetup,
    heapBytesMax: number | undefined,
    private readonly events: ThreadEvents,
  ) {
    this.#worker = new Worker(entryPath('runtime/stages/thread-entry'), {
      workerData: setup,
      ...(heapBytesMax === undefined
        ? {}
        : { resourceLimits: { maxOldGenerationSizeMb: Math.max(16, Math.floor(heapBytesMax / 1_048_576)) } }),
    });
    this.warm = new Promise((resolve, reject) => (this.#onWarm = { resolve, reject }));
    // Whoever warms it sees the error; a thread that dies unwatched must not take the process with it.
    this.warm.catch(() => undefined);
    this.#worker.on('message', (message: FromThread) => this.#take(message));
    this.#worker.on('error', (thrown) => this.#lose(thrown));
    this.#worker.on('exit', (code) => this.#lose(new Error(`its thread ended with code ${code}`)));
  }

  get number(): number {
    return this.setup.thread;
  }

  get isAlive(): boolean {
    return this.#failure === undefined;
  }

  /** Ends with its first run. Returns how many runs there were; throws what stood in the way, the end of the thread included. */
  rehearse(rehearsal: ThreadRehearsal): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#onRehearsed = { resolve, reject };
      if (this.#failure === undefined) this.post({ type: 'rehearse', ...rehearsal });
      else reject(this.#failure);
    });
  }

  post(message: ToThread): void {
    if (this.isAlive) this.#worker.postMessage(message);
  }

  /** Settles when the thread is gone, whatever it was doing. */
  async close(): Promise<void> {
    this.#lose(new Error('it was stopped'));
    await endThread(this.#worker);
  }

  #take(message: FromThread): void {
    switch (message.type) {
      case 'warm':
        this.#onWarm?.resolve();
        return;
      case 'unloadable':
        this.#unloadable(PodlineError.fromWire(message.error));
        return;
      case 'rehearsed':
        this.#onRehearsed?.resolve(message.runs);
        return;
      case 'unrehearsed':
        this.#onRehearsed?.reject(PodlineError.fromWire(message.error));
        return;
      default:
        this.events.message(message);
    }
  }

  #unloadable(error: PodlineError): void {
    this.#onWarm?.reject(error);
    void this.close();
  }

  #lose(thrown: unknown): void {
    if (!this.isAlive) return;
    const { name } = this.setup.stage;
    const isMemory = (thrown as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY';
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    this.#failure = isMemory
      ? new PodlineError('PDL_STAGE_MEMORY', `a thread of stage ${name} went over its memory limit`, { place: name })
      : new PodlineError('PDL_STAGE_DIED', `a thread of stage ${name} ended before its work did: ${message}`, {
          place: name,
          logTail: thrown instanceof Error ? thrown.stack?.slice(0, 4_096) : undefined,
        });
    this.#onWarm?.reject(this.#failure);
    this.#onRehearsed?.reject(this.#failure);
    this.events.lost(this.#failure);
  }
}
