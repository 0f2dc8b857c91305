/**
 * Ends this process when the one that started it is gone, even while its own thread is busy and hears no signal and no
 * closing pipe: a thread of its own looks after the parent.
 */
import { Worker } from 'node:worker_threads';

const watchEveryMs = 500;

const script = `
const { workerData } = require('node:worker_threads');
const timer = setInterval(() => {
  if (process.ppid === workerData.parent) return;
  clearInterval(timer);
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), workerData.graceMs);
}, workerData.everyMs);
`;

/** `graceMs`: what the process gets to end by itself before it is killed. */
export function orphanWatch(graceMs: number): void {
  const worker = new Worker(script, {
    eval: true,
    stdout: true,
    stderr: true,
    workerData: { graceMs, everyMs: watchEveryMs, parent: process.ppid },
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4 },
  });
  worker.on('error', () => undefined);
  worker.unref();
}
