/**
 * Thread entry: saves stretches of segments, one after another.
 *
 * It stands back behind everything else: it works at the lowest priority, which on Linux a thread has for itself, and which the disk's scheduler takes over for its requests.
 */
import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { runSave, type SaveJob } from './save.js';

if (parentPort === null) throw new Error('save-thread is a thread entry');
const port = parentPort;
standBack();
port.on('message', ({ id, job }: { id: number; job: SaveJob }) => {
  runSave(job, (answer) => {
    port.postMessage({ id, answer });
  });
});

/** Nowhere needed: where it is refused, or there is no /proc, the thread works at the priority of its process. */
function standBack(): void {
  try {
    const thread = Number(/\d+$/.exec(readlinkSync('/proc/thread-self'))?.[0]);
    if (thread > 0) setPriority(thread, constants.priority.PRIORITY_LOW);
  } catch {
    // See above.
  }
}
