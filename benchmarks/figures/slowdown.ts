/** How much slower stages are while what they made is checkpointed behind their back. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { bytesWork } from '../comparisons.js';
import { Field } from '../field.js';
import type { BenchOptions, Place } from '../options.js';
import { podlineAs } from '../runners/podline.js';
import { writeBytes } from '../work/generate.js';

export interface SlowdownFigures {
  shardBytes: number;
  /** Work of all stages together, ms, of each repeat. */
  withoutMs: number[];
  withMs: number[];
  /** Written to the SSD by each repeat. */
  checkpointBytes: number[];
}

const without = podlineAs('without-checkpoints', 'no checkpoints', ['bytes'], { workers: 1, streaming: 'off' });
const checkpointed = podlineAs('with-checkpoints', 'a checkpoint after each stage', ['bytes'], {
  workers: 1,
  streaming: 'off',
  checkpoints: 'stage',
});

export async function measureSlowdown(place: Place, options: BenchOptions): Promise<SlowdownFigures> {
  const shardBytes = Math.ceil((256 * 1024 * 1024 * options.scale) / 4096) * 4096;
  const uri = join(place.memoryDir, 'slowdown.bin');
  writeBytes(uri, shardBytes, options.seed);
  const source = { uri, format: 'bytes' as const };
  const figures: SlowdownFigures = { shardBytes, withoutMs: [], withMs: [], checkpointBytes: [] };
  const field = new Field('slowdown', bytesWork('xor', 5), place, options);
  try {
    for (const peer of [without, checkpointed])
      if (!(await field.enter(peer, source, shardBytes))) throw new Error('a line did not start');
    for (let round = 0; round < options.repeats; round++) {
      await field.round(round, source, ({ runner, stages, bytes }) => {
        const workMs = stages.reduce((sum, stage) => sum + stage.workMs, 0);
        if (runner === without.name) figures.withoutMs.push(workMs);
        else {
          figures.withMs.push(workMs);
          figures.checkpointBytes.push(bytes.ssd.written);
        }
      });
    }
    return figures;
  } finally {
    await field.close();
    rmSync(uri, { force: true });
  }
}
