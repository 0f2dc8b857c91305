/**
 * Loading in a thread, as the agent sees it: `loadInThread` per shard, on one warm thread of this process.
 *
 * Owns: the thread, which begins with the first load and is begun anew after it died. Invariants
 *  1. A load is settled exactly once: by its result, its error, or the death of the thread.
 *  2. A cancelled load is settled only after the thread has let go of it: nothing writes for it any more.
 *  3. An idle thread does not keep the process alive.
 */
import { Worker } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { entryPath } from '../platform/entries.js';
import type { LoadProgress, LoadResult } from './load.js';
import type { FromLoader, LoadRequest, ToLoader } from './load-messages.js';

export type { LoadRequest } from './load-messages.js';

export interface LoadInThreadOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Default: `none`. A rejection counts as `none`. */
  onFull?: ((bytes: number) => Promise<'memory' | 'ssd' | 'none'>) | undefined;
}

interface Pending extends LoadInThreadOptions {
  worker: Worker;
  resolve: (result: LoadResult) => void;
  reject: (reason: Error) => void;
  onAbort: () => void;
}

export class LoadThread {
  #worker: Worker | undefined;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #closing: Promise<void> | undefined;

  /** As `loadSource`; rejects with the signal's reason when that aborts. */
  load(request: LoadRequest, options: LoadInThreadOptions = {}): Promise<LoadResult> {
    options.signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const worker = (this.#worker ??= this.#start());
      const id = this.#nextId++;
      const onAbort = (): void => {
        send(worker, { type: 'cancel', id });
      };
      this.#pending.set(id, { ...options, worker, resolve, reject, onAbort });
      options.signal?.addEventListener('abort', onAbort, { once: true });
      worker.ref();
      send(worker, { type: 'load', id, request });
    });
  }

  /** Cancels what is under way and ends the thread when it has closed its files. Idempotent; a later load begins another. */
  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return this.#closing;
    this.#worker = undefined;
    worker.ref();
    this.#closing = new Promise((resolve) => worker.once('exit', () => resolve()));
    for (const [id, pending] of this.#pending) if (pending.worker === worker) send(worker, { type: 'cancel', id });
    send(worker, { type: 'close' });
    return this.#closing;
  }

  #start(): Worker {
    const worker = new Worker(entryPath('runtime/sources/load-thread'));
    let fault: unknown;
    worker.on('message', (message: FromLoader) => {
      this.#take(message);
    });
    worker.on('error', (error) => {
      fault = error;
    });
    worker.on('exit', (code) => {
      if (this.#worker === worker) this.#worker = undefined;
      const why = fault instanceof Error ? fault.message : `with code ${String(code)}`;
      for (const [id, pending] of [...this.#pending]) {
        if (pending.worker === worker)
          this.#fail(id, new PodlineError('PDL_INTERNAL', `the loading thread ended: ${why}`, { cause: fault }));
      }
    });
    return worker;
  }

  #take(message: FromLoader): void {
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    switch (message.type) {
      case 'progress':
        pending.onProgress?.(message.progress);
        return;
      case 'full':
        void this.#makeRoom(message.id, pending, message.bytes);
        return;
      case 'done':
        this.#settle(message.id)?.resolve(message.result);
        return;
      case 'failed':
        this.#fail(message.id, PodlineError.fromWire(message.error));
    }
  }

  async #makeRoom(id: number, pending: Pending, bytes: number): Promise<void> {
    const answer = (await pending.onFull?.(bytes).catch(() => 'none' as const)) ?? 'none';
    send(pending.worker, { type: 'room', id, answer });
  }

  #fail(id: number, error: PodlineError): void {
    const pending = this.#settle(id);
    if (pending === undefined) return;
    const { signal } = pending;
    const reason: unknown = signal?.reason;
    pending.reject(signal?.aborted === true && reason instanceof Error ? reason : error);
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.signal?.removeEventListener('abort', pending.onAbort);
    if (
      pending !== undefined &&
      ![...this.#pending.values()].some((other) => other.worker === pending.worker) &&
      this.#worker === pending.worker
    )
      pending.worker.unref();
    return pending;
  }
}

function send(worker: Worker, message: ToLoader): void {
  worker.postMessage(message);
}

/** One for the process: a thread costs more to begin than a small shard to load. */
const shared = new LoadThread();

export const loadInThread = (request: LoadRequest, options: LoadInThreadOptions = {}): Promise<LoadResult> =>
  shared.load(request, options);
/** Ends the thread of `loadInThread`; before a scratch is closed for good. */
export const closeLoadThread = (): Promise<void> => shared.close();
