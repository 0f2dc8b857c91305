/** Thread entry: settles files of the log in LMDB, beside the thread that writes them. */
import { parentPort, workerData } from 'node:worker_threads';
import { PodlineError } from '../../contracts/errors.js';
import { Environment } from './environment.js';
import { settleFile, type WholeFile } from './settle.js';
import type { SettleAnswer } from './settler.js';

if (parentPort === null) throw new Error('settle-thread is a thread entry');
const port = parentPort;
const environment = new Environment((workerData as { dir: string }).dir, '');

port.on('message', (order: WholeFile | 'close') => {
  if (order === 'close') {
    void environment.close().then(() => {
      port.close();
    });
    return;
  }
  let answer: SettleAnswer = {};
  try {
    settleFile(environment, order);
  } catch (thrown) {
    answer = { error: PodlineError.from(thrown, 'PDL_JOURNAL').toWire() };
  }
  port.postMessage(answer);
});
