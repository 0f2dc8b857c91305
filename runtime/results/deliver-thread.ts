/**
 * Thread entry: deliveries, one after another. Keeps the scratch open between them, and closes it when the next one is for
 * another scratch.
 */
import { parentPort } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { openScratch } from '../scratch/scratch.js';
import type { Scratch, ScratchOptions } from '../scratch/types.js';
import type { DeliveryAnswer, DeliveryOrder } from './deliver.js';
import { writeResult } from './write-result.js';

if (parentPort === null) throw new Error('deliver-thread is a thread entry');
const port = parentPort;

let open: { key: string; scratch: Scratch } | undefined;
let queue: Promise<void> = Promise.resolve();

port.on('message', (order: DeliveryOrder) => {
  queue = queue.then(async () => {
    port.postMessage(await answer(order));
  });
});

async function answer({ id, request, cancelled }: DeliveryOrder): Promise<DeliveryAnswer> {
  const { scratchOptions, ...rest } = request;
  // An abort of the asker's signal is seen through shared memory, also while this thread is busy.
  const signal = {
    get aborted() {
      return Atomics.load(cancelled, 0) === 1;
    },
  };
  try {
    return { id, delivered: await writeResult({ ...rest, scratch: await scratchOf(scratchOptions), signal }) };
  } catch (error) {
    return { id, error: PodlineError.from(error).toWire() };
  }
}

async function scratchOf(options: Omit<ScratchOptions, 'role'>): Promise<Scratch> {
  const key = JSON.stringify(options);
  if (open?.key === key) return open.scratch;
  await open?.scratch.close();
  open = undefined;
  const scratch = await openScratch({ ...options, role: 'stage' });
  open = { key, scratch };
  return scratch;
}
