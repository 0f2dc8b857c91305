/**
 * Threads beside the delivery's own that make blocks of tables into text.
 *
 * Owns: the threads, which begin when they are first asked and end with the thread that has them. Invariants
 *  1. Whoever asks is answered exactly once: with the text, a fault, or the death of the thread.
 *  2. Idle threads do not keep their process alive.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { PodlineError } from '../../contracts/errors.js';
import { entryPath } from '../../platform/entries.js';
import { endThread } from '../../platform/uninterrupted.js';
import type { TextHelp } from '../types.js';
import type { BlockText, FromTextThread, TextTask, ToTextThread } from './messages.js';

/** More bring little: what they make goes through one thread that hashes and writes it, at some five times the speed of one of them. */
const threadsMax = 4;

/** Columns of as many bytes are made into text by several threads: one that begins takes as long as a thread takes for these. */
const helpFromBytes = 8 * 1024 * 1024;

interface Thread {
  worker: Worker;
  pending: Map<number, { resolve: (text: BlockText) => void; reject: (error: PodlineError) => void }>;
}

export class TextThreads {
  readonly #threads = new Map<number, Thread>();
  #nextId = 1;

  /** As many as the processors beside the one that the delivery's own thread has. */
  constructor(readonly count = Math.min(availableParallelism() - 1, threadsMax)) {}

  /** For one delivery from that scratch. `fromBytes`: for tests, which have no large tables. */
  help(scratch: TextTask['scratch'], fromBytes = helpFromBytes): TextHelp {
    const read = { memory: 0, ssd: 0 };
    return {
      count: this.count,
      fromBytes,
      read,
      textOf: async (thread, block) => {
        const text = await this.#textOf(thread, { ...block, scratch });
        read.memory += text.read.memory;
        read.ssd += text.read.ssd;
        return text.pieces;
      },
    };
  }

  /** Ends them; who waits is told so. Needed where whoever has them does not end. */
  async close(): Promise<void> {
    await Promise.all([...this.#threads.values()].map(({ worker }) => endThread(worker)));
  }

  #textOf(number: number, task: TextTask): Promise<BlockText> {
    const thread = this.#threads.get(number) ?? this.#begin(number);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      thread.pending.set(id, { resolve, reject });
      thread.worker.ref();
      thread.worker.postMessage({ id, task } satisfies ToTextThread);
    });
  }

  #begin(number: number): Thread {
    const thread: Thread = { worker: new Worker(entryPath('runtime/results/parallel/text-thread')), pending: new Map() };
    let fault: unknown;
    thread.worker.on('message', (message: FromTextThread) => {
      const asked = thread.pending.get(message.id);
      thread.pending.delete(message.id);
      if (thread.pending.size === 0) thread.worker.unref();
      if ('text' in message) asked?.resolve(message.text);
      else asked?.reject(PodlineError.fromWire(message.error));
    });
    thread.worker.on('error', (error) => {
      fault = error;
    });
    thread.worker.on('exit', () => {
      if (this.#threads.get(number) === thread) this.#threads.delete(number);
      const why = fault instanceof Error ? `: ${fault.message}` : '';
      for (const { reject } of thread.pending.values())
        reject(new PodlineError('PDL_INTERNAL', `a thread that made text ended${why}`, { cause: fault }));
      thread.pending.clear();
    });
    this.#threads.set(number, thread);
    return thread;
  }
}
