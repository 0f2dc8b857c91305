/**
 * A worker thread that writes its share of a stream: blocks `from`, `from + step`, … below `blocks`, block k holding the value k in all
 * rows. Posts each block as it was written; closes its part when it is told to.
 */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { openScratch } from '../../../dist/runtime/scratch/scratch.js';

const { options, request, from, step, blocks, rows } = workerData;
const scratch = await openScratch(options);
const part = scratch.openPart(request);
for (let block = from; block < blocks; block += step) {
  const data = { type: 'int32', rows, nullCount: 0, values: new Int32Array(rows).fill(block) };
  parentPort.postMessage({ block, written: part.writeTable(rows, [{ name: 'n', data }]) });
}
await once(parentPort, 'message');
part.close();
await scratch.close();
parentPort.close();
