/** How busy a slot is when shards wait: back to back on a line of one slot, several of them resident at once. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { blockBytes } from '../comparisons.js';
import { Field } from '../field.js';
import type { BenchOptions, Place } from '../options.js';
import { madePipeline, stageFile } from '../runners/podline-manifest.js';
import { PodlineRunner } from '../runners/podline.js';
import type { Peer } from '../runners/runner.js';
import { writeBytes } from '../work/generate.js';

export interface PipeliningFigures {
  shards: number;
  shardBytes: number;
  /** Work of the stage on all shards ÷ time from the first one's submission to the last one's result, of each repeat. */
  utilisation: number[];
}

const name = 'pipelining';
const peer: Peer = {
  name,
  title: 'one slot, several shards resident',
  does: ['bytes'],
  make: (_, dir) => {
    const stages = [{ name: 'mix', uses: stageFile('mix') }];
    const input = { format: 'bytes', blockBytes };
    const setting = { slots: 1, workers: 1, residents: 4, streaming: 'off' as const };
    return new PodlineRunner(name, name, madePipeline({ name, input, stages, measured: ['mix'] }, setting), dir);
  },
};

export async function measurePipelining(place: Place, options: BenchOptions): Promise<PipeliningFigures> {
  const shards = options.record ? 40 : 20;
  const shardBytes = Math.ceil((32 * 1024 * 1024 * options.scale) / blockBytes) * blockBytes;
  const uri = join(place.memoryDir, 'pipelining.bin');
  writeBytes(uri, shardBytes, options.seed);
  const source = { uri, format: 'bytes' as const };
  const field = new Field(name, { kind: 'bytes', name, stages: 1, stage: 'xor', blockBytes }, place, options);
  const figures: PipeliningFigures = { shards, shardBytes, utilisation: [] };
  try {
    if (!(await field.enter(peer, source, shardBytes))) throw new Error('the line did not start');
    for (let round = 0; round < options.repeats; round++) {
      await field.each(async (runner) => {
        const beganMs = performance.now();
        const ends = await Promise.all(Array.from({ length: shards }, () => field.run(runner, field.job(source))));
        const wallMs = performance.now() - beganMs;
        const workMs = ends.reduce((sum, { stages }) => sum + (stages[0]?.workMs ?? 0), 0);
        figures.utilisation.push(workMs / wallMs);
        await Promise.all(ends.map((end) => field.hashOf(end)));
      });
    }
    return figures;
  } finally {
    await field.close();
    rmSync(uri, { force: true });
  }
}
