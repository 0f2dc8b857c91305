/**
 * Thread entry: deliveries, a few side by side, because most of one is waiting for the disk. Keeps the scratch open between them;
 * another one is opened when nothing of the one before is under way.
 */
import { parentPort } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { openScratch } from '../scratch/scratch.js';
import type { Scratch, ScratchOptions } from '../scratch/types.js';
import type { DeliveryAnswer, DeliveryOrder } from './deliver.js';
import { TextThreads } from './parallel/text-threads.js';
import { writeResult } from './write-result.js';

if (parentPort === null) throw new Error('deliver-thread is a thread entry');
const port = parentPort;

/** Deliveries at once. */
const atOnceMax = 4;

const textThreads = new TextThreads();

const waiting: DeliveryOrder[] = [];
let working = 0;
/** The scratch that deliveries under way, `users` of them, read. */
let open: { key: string; scratch: Scratch } | undefined;
let users = 0;
/** One after another asks for the scratch. */
let asking: Promise<unknown> = Promise.resolve();
let unused: () => void = () => undefined;

port.on('message', (order: DeliveryOrder) => {
  waiting.push(order);
  void work();
});

async function work(): Promise<void> {
  if (working >= atOnceMax) return;
  working += 1;
  for (let order = waiting.shift(); order !== undefined; order = waiting.shift()) port.postMessage(await answer(order));
  working -= 1;
}

async function answer({ id, request, cancelled }: DeliveryOrder): Promise<DeliveryAnswer> {
  const { scratchOptions, ...rest } = request;
  // An abort of the asker's signal is seen through shared memory, also while this thread is busy.
  const signal = {
    get aborted() {
      return Atomics.load(cancelled, 0) === 1;
    },
  };
  try {
    const scratch = await use(scratchOptions);
    try {
      return { id, delivered: await writeResult({ ...rest, scratch, signal, help: textThreads.help(scratchOptions) }) };
    } finally {
      users -= 1;
      if (users === 0) unused();
    }
  } catch (error) {
    return { id, error: PodlineError.from(error).toWire() };
  }
}

/** Its user is counted until it says that it is done. */
function use(options: Omit<ScratchOptions, 'role'>): Promise<Scratch> {
  const used = asking.then(async () => {
    const scratch = await scratchOf(options);
    users += 1;
    return scratch;
  });
  asking = used.catch(() => undefined);
  return used;
}

async function scratchOf(options: Omit<ScratchOptions, 'role'>): Promise<Scratch> {
  const key = JSON.stringify(options);
  if (open?.key === key) return open.scratch;
  if (users > 0) await new Promise<void>((resolve) => (unused = resolve));
  await open?.scratch.close();
  open = undefined;
  const scratch = await openScratch({ ...options, role: 'stage' });
  open = { key, scratch };
  return scratch;
}
