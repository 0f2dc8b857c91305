/** The entry of the process that runs the bare loops (`runners/bare.ts`). */
import { monotonicMs } from './work/clock.js';
import { BytesDigest, digestFile, writeResult } from './work/result.js';
import { piecesOf, readWhole } from './work/source.js';
import { xor, xorKeyOf } from './work/stages.js';
import type { BytesWork, Job } from './work/work.js';

export interface ToBare {
  job: Job;
  work: BytesWork;
  buffers: 'new' | 'reused';
}
export type FromBare = { spanMs: number } | { failed: string };

async function run({ job, work, buffers }: ToBare): Promise<FromBare> {
  let pieces = [...piecesOf(await readWhole(job), work.blockBytes)];
  // Two sets that take turns; made, and their pages touched, before the time begins.
  const sets = buffers === 'reused' ? [0, 1].map(() => pieces.map(({ length }) => new Uint8Array(length).fill(1))) : undefined;
  const beganMs = monotonicMs();
  for (let stage = 0; stage < work.stages; stage++) {
    if (work.stage === 'pass') continue;
    const key = xorKeyOf(stage);
    pieces = pieces.map((from, index) => {
      const into = sets?.[stage % 2]?.[index] ?? new Uint8Array(from.length);
      xor(from, into, key);
      return into;
    });
  }
  const spanMs = monotonicMs() - beganMs;
  const digest = new BytesDigest();
  for (const piece of pieces) digest.add(piece);
  writeResult(job.resultDir, digestFile, [digest.text()]);
  return { spanMs };
}

process.on('message', (message: ToBare) => {
  run(message)
    .catch((thrown: unknown): FromBare => ({ failed: String(thrown) }))
    .then((answer) => process.send?.(answer))
    .catch(() => process.exit(1));
});
process.on('disconnect', () => process.exit(0));
