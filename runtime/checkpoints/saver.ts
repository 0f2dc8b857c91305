/**
 * A thread that saves, as its owner sees it: `run` a job, `close`.
 *
 * Owns the thread, which starts with the first job and is started anew after it died. Invariants
 *  1. A job is answered exactly once: by the thread, by its death, or by `close`.
 *  2. At most `jobsInFlightMax` jobs lie at the thread; the others wait here.
 *  3. An idle thread does not keep the process alive.
 */
import { Worker } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { endThread } from '../platform/uninterrupted.js';
import { entryPath } from '../platform/entries.js';
import type { SaveAnswer, SaveJob } from './save.js';

const jobsInFlightMax = 4;

interface Pending {
  job: SaveJob;
  answer: (answer: SaveAnswer) => void;
}

export class Saver {
  #worker: Worker | undefined;
  #waiting: Pending[] = [];
  readonly #inFlight = new Map<number, Pending>();
  #nextId = 1;
  #closed = false;

  /** Resolves with what the job answered, be it a failure. */
  run(job: SaveJob): Promise<SaveAnswer> {
    if (this.#closed) return Promise.resolve(failure('the checkpoints are closed'));
    return new Promise((answer) => {
      this.#waiting.push({ job, answer });
      this.#pump();
    });
  }

  /** Ends the thread; jobs that are not done are answered as failed. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    this.#worker = undefined;
    // First the thread, then the answers: whoever is answered closes files that the thread may be reading.
    if (worker !== undefined) await endThread(worker);
    this.#settleAll('the checkpoints were closed');
  }

  #pump(): void {
    while (this.#inFlight.size < jobsInFlightMax) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      const id = this.#nextId++;
      this.#inFlight.set(id, next);
      try {
        this.#worker ??= this.#start();
        this.#worker.postMessage({ id, job: next.job });
      } catch (error) {
        this.#settle(id, failure(PodlineError.from(error).message));
      }
    }
    if (this.#inFlight.size === 0) this.#worker?.unref();
    else this.#worker?.ref();
  }

  #start(): Worker {
    const worker = new Worker(entryPath('runtime/checkpoints/save-thread'));
    worker.on('message', ({ id, answer }: { id: number; answer: SaveAnswer }) => {
      this.#settle(id, answer);
      this.#pump();
    });
    const gone = (why: string): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const id of [...this.#inFlight.keys()]) this.#settle(id, failure(why));
      this.#pump();
    };
    worker.on('error', (error) => {
      gone(`the saving thread failed: ${PodlineError.from(error).message}`);
    });
    worker.on('exit', (code) => {
      gone(`the saving thread ended with code ${String(code)}`);
    });
    return worker;
  }

  #settle(id: number, answer: SaveAnswer): void {
    const pending = this.#inFlight.get(id);
    this.#inFlight.delete(id);
    pending?.answer(answer);
  }

  #settleAll(why: string): void {
    for (const id of [...this.#inFlight.keys()]) this.#settle(id, failure(why));
    for (const { answer } of this.#waiting.splice(0)) answer(failure(why));
  }
}

const failure = (message: string): SaveAnswer => ({ ok: false, code: 'UNKNOWN', message });
