/** A process that ends, with code 7, while a thread of it does nothing but transactions: `node busy-process.mjs DIR`. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { endProcess } from '../../../dist/runtime/platform/uninterrupted.js';

const worker = new Worker(new URL('busy-thread.mjs', import.meta.url), { workerData: process.argv[2] });
await once(worker, 'message');
endProcess(7);
