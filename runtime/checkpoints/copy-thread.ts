/** Thread entry: runs copy jobs one after another. */
import { parentPort } from 'node:worker_threads';
import { runCopyJob, type CopyJob } from './copy.js';

if (parentPort === null) throw new Error('copy-thread is a thread entry');
const port = parentPort;
port.on('message', ({ id, job }: { id: number; job: CopyJob }) => {
  port.postMessage({ id, answer: runCopyJob(job) });
});
