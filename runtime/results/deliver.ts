/**
 * Delivery in a thread, so that the agent stays responsive while a large result is written.
 *
 * One thread serves a process: it starts with the first delivery and stays warm for the next. Invariants
 *  1. A delivery is answered exactly once: by the thread, or by its death.
 *  2. An idle thread does not keep the process alive; `closeDelivery` ends it.
 */
import { Worker } from 'node:worker_threads';
import { PodlineError, type WireError } from '../contracts/errors.js';
import { endThread } from '../platform/uninterrupted.js';
import { entryPath } from '../platform/entries.js';
import type { Delivered, DeliverRequest } from './types.js';

/** To the thread. `cancelled`: one int32, set to 1 when the delivery is not wanted any more. */
export interface DeliveryOrder {
  id: number;
  request: Omit<DeliverRequest, 'signal' | 'resultStages'> & { resultStages: string[] };
  cancelled: Int32Array<SharedArrayBuffer>;
}
export type DeliveryAnswer = { id: number; delivered: Delivered } | { id: number; error: WireError };

/** Deliveries that one line asks for at once: as many as it has residents, at most. */
const ordersMax = 1024;

class DeliveryThread {
  #worker: Worker | undefined;
  readonly #pending = new Map<number, { resolve: (delivered: Delivered) => void; reject: (error: PodlineError) => void }>();
  #nextId = 1;

  deliver(request: DeliverRequest): Promise<Delivered> {
    if (this.#pending.size >= ordersMax) {
      return Promise.reject(new PodlineError('PDL_INTERNAL', `${String(ordersMax)} deliveries wait already`, { retry: 'later' }));
    }
    const { signal, resultStages, ...rest } = request;
    const cancelled = new Int32Array(new SharedArrayBuffer(4));
    const cancel = (): void => {
      Atomics.store(cancelled, 0, 1);
    };
    if (signal?.aborted === true) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    const id = this.#nextId++;
    const order: DeliveryOrder = { id, cancelled, request: { ...rest, resultStages: [...resultStages] } };
    return new Promise<Delivered>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      try {
        this.#worker ??= this.#start();
        this.#worker.ref();
        this.#worker.postMessage(order);
      } catch (error) {
        this.#settle(id, ({ reject: fail }) => {
          fail(PodlineError.from(error));
        });
      }
    }).finally(() => {
      signal?.removeEventListener('abort', cancel);
    });
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    if (worker !== undefined) await endThread(worker);
    this.#failAll('the delivery thread was closed');
  }

  #start(): Worker {
    const worker = new Worker(entryPath('runtime/results/deliver-thread'));
    worker.on('message', (answer: DeliveryAnswer) => {
      this.#settle(answer.id, ({ resolve, reject }) => {
        if ('delivered' in answer) resolve(answer.delivered);
        else reject(PodlineError.fromWire(answer.error));
      });
    });
    const gone = (why: string): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#failAll(why);
    };
    worker.on('error', (error) => {
      gone(`the delivery thread failed: ${PodlineError.from(error).message}`);
    });
    worker.on('exit', (code) => {
      gone(`the delivery thread ended with code ${String(code)}`);
    });
    return worker;
  }

  #settle(
    id: number,
    how: (pending: { resolve: (delivered: Delivered) => void; reject: (error: PodlineError) => void }) => void,
  ): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending !== undefined) how(pending);
    if (this.#pending.size === 0) this.#worker?.unref();
  }

  #failAll(why: string): void {
    for (const id of [...this.#pending.keys()]) {
      this.#settle(id, ({ reject }) => {
        reject(new PodlineError('PDL_INTERNAL', why));
      });
    }
  }
}

const thread = new DeliveryThread();

/**
 * Writes the result of a shard and puts it in place; see `write-result.ts` for what is guaranteed.
 * Throws PDL_RESULT_DIR, PDL_RESULT_TAKEN, PDL_LEASE_LOST (aborted, or a higher epoch delivers), PDL_STAGE_OUTPUT.
 */
export const deliverInThread = (request: DeliverRequest): Promise<Delivered> => thread.deliver(request);

/** Ends the thread; deliveries under way fail and leave nothing under a final name. A later delivery starts it again. Idempotent. */
export const closeDelivery = (): Promise<void> => thread.close();
