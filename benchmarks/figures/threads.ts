/** Two threads on a stage that is bound by the CPU, against one; beside it, what two bare threads reach. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BareThreads } from '../bare-thread.js';
import { jsonOf } from '../child-json.js';
import { blockBytes } from '../comparisons.js';
import { Field } from '../field.js';
import type { BenchOptions, Place } from '../options.js';
import { madePipeline, stageFile } from '../runners/podline-manifest.js';
import { PodlineRunner } from '../runners/podline.js';
import type { Peer } from '../runners/runner.js';
import { writeBytes } from '../work/generate.js';

export interface ThreadFigures {
  /** Work of the stage, ms, of each repeat. */
  oneMs: number[];
  twoMs: number[];
  bare: BareThreads[];
}

const mixOn = (workers: number): Peer => {
  const name = `mix-${workers}`;
  return {
    name,
    title: `${workers} threads`,
    does: ['bytes'],
    make: (_, dir) => {
      const stages = [
        { name: 'mix', uses: stageFile('mix') },
        { name: 'digest', uses: stageFile('digest') },
      ];
      const input = { format: 'bytes', blockBytes };
      return new PodlineRunner(
        name,
        name,
        madePipeline({ name, input, stages, measured: ['mix'] }, { workers, streaming: 'off' }),
        dir,
      );
    },
  };
};

export async function measureThreads(place: Place, options: BenchOptions): Promise<ThreadFigures> {
  const shardBytes = Math.ceil((128 * 1024 * 1024 * options.scale) / blockBytes) * blockBytes;
  const uri = join(place.memoryDir, 'mix.bin');
  writeBytes(uri, shardBytes, options.seed);
  const source = { uri, format: 'bytes' as const };
  const figures: ThreadFigures = { oneMs: [], twoMs: [], bare: [] };
  const field = new Field('threads', { kind: 'bytes', name: 'mix', stages: 1, stage: 'xor', blockBytes }, place, options);
  try {
    for (const workers of [1, 2])
      if (!(await field.enter(mixOn(workers), source, shardBytes))) throw new Error('a line did not start');
    const hashes = new Set<string>();
    for (let round = 0; round < options.repeats; round++) {
      // First in one round, second in the next, and so its one thread and its two: what a machine does for who begins is shared out.
      const isBareFirst = round % 2 === 0;
      const bare = async (): Promise<void> => {
        const task = [shardBytes / blockBytes, blockBytes, isBareFirst ? 1 : 2];
        figures.bare.push(await jsonOf<BareThreads>('benchmarks/bare-thread', task, options.signal));
      };
      if (isBareFirst) await bare();
      await field.round(round, source, (sample) => {
        hashes.add(sample.hash);
        (sample.runner === 'mix-1' ? figures.oneMs : figures.twoMs).push(sample.stages[0]?.workMs ?? Number.NaN);
      });
      if (!isBareFirst) await bare();
    }
    if (hashes.size !== 1) throw new Error('one thread and two gave different bytes');
    return figures;
  } finally {
    await field.close();
    rmSync(uri, { force: true });
  }
}
