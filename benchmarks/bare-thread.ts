/** What two bare threads reach against one on the loop of `pipelines/mix.ts`: the entry of the process and of its threads. */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { entryPath } from '../runtime/platform/entries.js';
import { monotonicMs } from './work/clock.js';

const rounds = 12;

function mix(words: Uint32Array): Uint32Array {
  const mixed = new Uint32Array(words.length);
  for (let at = 0; at < words.length; at++) {
    let word = words[at]!;
    for (let round = 0; round < rounds; round++) {
      word ^= word << 13;
      word ^= word >>> 17;
      word ^= word << 5;
    }
    mixed[at] = word;
  }
  return mixed;
}

interface ToThread {
  blocks: number;
  blockBytes: number;
}

/** Time in which so many threads, each warm, do all blocks. */
async function timeOf(threads: number, { blocks, blockBytes }: ToThread): Promise<number> {
  const workers = Array.from({ length: threads }, () => new Worker(entryPath('benchmarks/bare-thread')));
  const share = { blocks: Math.ceil(blocks / threads), blockBytes };
  const all = (): Promise<unknown> =>
    Promise.all(
      workers.map((worker) => {
        worker.postMessage(share);
        return once(worker, 'message');
      }),
    );
  await all();
  const beganMs = monotonicMs();
  await all();
  const tookMs = monotonicMs() - beganMs;
  await Promise.all(workers.map((worker) => worker.terminate()));
  return tookMs;
}

export interface BareThreads {
  oneMs: number;
  twoMs: number;
}

if (isMainThread) {
  const [blocks, blockBytes, first] = process.argv.slice(2).map(Number);
  const work = { blocks: blocks ?? 1, blockBytes: blockBytes ?? 4096 };
  const found: BareThreads = { oneMs: Number.NaN, twoMs: Number.NaN };
  for (const threads of first === 2 ? [2, 1] : [1, 2]) found[threads === 1 ? 'oneMs' : 'twoMs'] = await timeOf(threads, work);
  console.log(JSON.stringify(found));
} else {
  let words: Uint32Array | undefined;
  parentPort?.on('message', ({ blocks, blockBytes }: ToThread) => {
    words ??= Uint32Array.from({ length: blockBytes / 4 }, (_, index) => (index + 1) * 2654435761);
    // The last one is told, so that none is work for nothing.
    let last = 0;
    for (let block = 0; block < blocks; block++) last ^= mix(words)[block]!;
    parentPort?.postMessage(last);
  });
}
