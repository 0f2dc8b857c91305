/** A worker thread that does nothing but transactions on the index in `workerData`, after it has said that it begins. */
import { parentPort, workerData } from 'node:worker_threads';
import { IndexStore } from '../../../dist/runtime/scratch/index-store.js';

const index = new IndexStore(workerData);
parentPort.postMessage('begins');
for (let n = 1; ; n += 1) {
  index.transact((txn) => {
    for (let key = 0; key < 50; key += 1) txn.put('progress', { consumed: n }, 'busy', String(key));
  });
}
