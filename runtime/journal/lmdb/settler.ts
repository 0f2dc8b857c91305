/**
 * The thread that settles the log. It is started with the first file, and keeps the process alive only while it has one.
 *
 * Invariants
 *  1. One file at a time, in the order in which they came.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { PodlineError, type WireError } from '../../contracts/errors.js';
import { entryPath } from '../../platform/entries.js';

export interface SettleOrder {
  file: string;
  /** Of the writer that filled it. */
  term: number;
}

export interface SettleAnswer {
  error?: WireError;
}

export class Settler {
  #worker: Worker | undefined;
  #before: Promise<unknown> = Promise.resolve();

  constructor(private readonly dir: string) {}

  /** In LMDB, and on disk, when it resolves. */
  settle(order: SettleOrder): Promise<void> {
    const settled = this.#before.then(() => this.#settle(order));
    this.#before = settled.catch(() => undefined);
    return settled;
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.#before;
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    worker.ref();
    const ended = once(worker, 'exit');
    worker.postMessage('close');
    await ended;
  }

  async #settle(order: SettleOrder): Promise<void> {
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    try {
      worker.postMessage(order);
      // Also rejects when the thread fails.
      const [answer] = (await once(worker, 'message')) as [SettleAnswer];
      if (answer.error !== undefined) throw PodlineError.fromWire(answer.error);
    } finally {
      worker.unref();
    }
  }

  #start(): Worker {
    const worker = new Worker(entryPath('runtime/journal/lmdb/settle-thread'), { workerData: { dir: this.dir } });
    worker.once('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    // Told to who waits for it.
    worker.on('error', () => undefined);
    return worker;
  }
}
