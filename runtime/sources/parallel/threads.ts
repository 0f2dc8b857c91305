/**
 * Threads that decode and copy: each does one thing after another, and answers.
 *
 * Owns: the threads, which begin when they are first asked. Invariants
 *  1. Whoever asks is answered exactly once: with what was made, a fault, or the death of the thread.
 *  2. Idle threads do not keep the process alive.
 */
import { Worker } from 'node:worker_threads';
import { PodlineError } from '../../contracts/errors.js';
import { entryPath } from '../../platform/entries.js';
import type { WrittenBlock } from '../../scratch/types.js';
import type { DecodedPart, FromDecoder, ToDecoder, Work } from './messages.js';

export type Answer =
  { done: DecodedPart } | { copied: WrittenBlock | undefined } | { error: PodlineError; start: number; bytesRead: number };

interface Thread {
  worker: Worker;
  pending: Map<number, (answer: Answer) => void>;
}

export class Threads {
  readonly #threads = new Map<number, Thread>();
  #nextId = 1;
  #isClosed = false;

  constructor(readonly count: number) {}

  /** The thread is the one of that number, counted around. */
  ask(number: number, work: Work): Promise<Answer> {
    if (this.#isClosed) return Promise.resolve(failed(new PodlineError('PDL_INTERNAL', 'the decoding threads are closed')));
    const place = number % this.count;
    const thread = this.#threads.get(place) ?? this.#begin(place);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      thread.pending.set(id, (answer) => {
        thread.pending.delete(id);
        if (thread.pending.size === 0) thread.worker.unref();
        resolve(answer);
      });
      thread.worker.ref();
      thread.worker.postMessage({ id, work } satisfies ToDecoder);
    });
  }

  #begin(place: number): Thread {
    const thread: Thread = { worker: new Worker(entryPath('runtime/sources/parallel/decode-thread')), pending: new Map() };
    let fault: unknown;
    thread.worker.on('message', (message: FromDecoder) => {
      thread.pending.get(message.id)?.(
        'failed' in message ? { ...message.failed, error: PodlineError.fromWire(message.failed.error) } : message,
      );
    });
    thread.worker.on('error', (error) => {
      fault = error;
    });
    thread.worker.on('exit', () => {
      if (this.#threads.get(place) === thread) this.#threads.delete(place);
      const why = fault instanceof Error ? `: ${fault.message}` : '';
      for (const settle of [...thread.pending.values()])
        settle(failed(new PodlineError('PDL_INTERNAL', `a decoding thread ended${why}`, { cause: fault })));
    });
    this.#threads.set(place, thread);
    return thread;
  }

  /** Ends the threads when they have done what they are at. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(
      [...this.#threads.values()].map(
        (thread) =>
          new Promise<void>((resolve) => {
            thread.worker.ref();
            thread.worker.once('exit', () => resolve());
            thread.worker.postMessage({ type: 'close' } satisfies ToDecoder);
          }),
      ),
    );
  }
}

const failed = (error: PodlineError): Answer => ({ error, start: 0, bytesRead: 0 });
