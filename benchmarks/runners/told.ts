/** What the processes of a baseline told, as a runner tells it. */
import { inputStream, noBytes } from '../../runtime/contracts/block.js';
import type { StageDone } from '../stage-protocol.js';
import type { Job } from '../workload.js';
import type { JobEnd } from './runner.js';

export function jobEndOf(job: Job, done: readonly StageDone[]): JobEnd {
  const bytes = noBytes();
  for (const { networkRead, networkWritten, sourceReadMemory, sourceReadSsd } of done) {
    bytes.network.read += networkRead;
    bytes.network.written += networkWritten;
    bytes.memory.read += sourceReadMemory;
    bytes.ssd.read += sourceReadSsd;
  }
  const stages = done
    .filter(({ stage }) => stage !== inputStream)
    .map(({ stage, work, cpuMs }) => ({ stage, workMs: work.cpuMs, handoverMs: Math.max(cpuMs - work.cpuMs, 0) }));
  return { dir: job.resultDir, bytes, stages };
}
