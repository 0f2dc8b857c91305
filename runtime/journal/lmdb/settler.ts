/**
 * The thread that settles the log. It is started with the first file, and keeps the process alive only while it has one.
 *
 * Invariants
 *  1. One file at a time, in the order in which they came.
 *  2. Each order is answered, also when the thread ends without a word; the next order starts another one.
 *  3. The thread is not cut off within a transaction, however the process ends (`platform/uninterrupted.ts`). Where it is killed there, the
 *     log says what LMDB lacks.
 */
import { Worker } from 'node:worker_threads';
import { PodlineError, type WireError } from '../../contracts/errors.js';
import { entryPath } from '../../platform/entries.js';
import { guardEnd } from '../../platform/uninterrupted.js';
import type { WholeFile } from './settle.js';

export interface SettleAnswer {
  error?: WireError;
}

export class Settler {
  #thread: Worker | undefined;
  #before: Promise<unknown> = Promise.resolve();

  constructor(private readonly dir: string) {}

  /** In LMDB, and on disk, when it resolves. */
  settle(file: WholeFile): Promise<void> {
    const settled = this.#before.then(async () => {
      const { error } = await this.#ask(file);
      if (error !== undefined) throw PodlineError.fromWire(error);
    });
    this.#before = settled.catch(() => undefined);
    return settled;
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.#before;
    const thread = this.#thread;
    this.#thread = undefined;
    if (thread === undefined) return;
    thread.ref();
    await new Promise<void>((resolve) => {
      thread.once('exit', () => {
        resolve();
      });
      thread.postMessage('close');
    });
  }

  async #ask(file: WholeFile): Promise<SettleAnswer> {
    const thread = (this.#thread ??= this.#start());
    thread.ref();
    try {
      return await new Promise<SettleAnswer>((resolve, reject) => {
        const endedSilently = (code: number): void => {
          reject(new PodlineError('PDL_JOURNAL', `the thread that settles ${file.path} ended with ${String(code)}`));
        };
        const failed = (thrown: Error): void => {
          reject(PodlineError.from(thrown, 'PDL_JOURNAL', { place: file.path }));
        };
        thread.once('message', (answer: SettleAnswer) => {
          thread.off('exit', endedSilently).off('error', failed);
          resolve(answer);
        });
        thread.once('exit', endedSilently).once('error', failed);
        thread.postMessage(file);
      });
    } finally {
      thread.unref();
    }
  }

  #start(): Worker {
    const thread = new Worker(entryPath('runtime/journal/lmdb/settle-thread'), { workerData: { dir: this.dir } });
    guardEnd();
    thread.once('exit', () => {
      if (this.#thread === thread) this.#thread = undefined;
    });
    // Told to who waits for it.
    thread.on('error', () => undefined);
    return thread;
  }
}
