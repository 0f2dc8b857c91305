/** A process that opens an index, counts `key` up to `count` in as many transactions, and leaves: `node open-index.mjs DIR KEY COUNT`. */
import { IndexStore } from '../../../dist/runtime/scratch/index-store.js';

const [dir, key, count] = process.argv.slice(2);
const index = new IndexStore(dir);
for (let n = 1; n <= Number(count); n += 1) index.transact((txn) => txn.put('progress', { consumed: n }, 'others', key));
await index.close();
