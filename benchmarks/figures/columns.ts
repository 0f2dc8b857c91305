/** What adding a column writes, and how much of the scratch is taken at most. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { blockRows, numbersWork } from '../comparisons.js';
import { Field } from '../field.js';
import type { BenchOptions, Place } from '../options.js';
import { madePipeline, podlinePipelineOf, stageFile } from '../runners/podline-manifest.js';
import { PodlineRunner } from '../runners/podline.js';
import type { Peer } from '../runners/runner.js';
import { writeNumbers } from '../work/generate.js';

export interface ColumnFigures {
  rows: number;
  /** Of float64 values alone. */
  columnBytes: number;
  /** What the stage that adds a tenth column to nine wrote. */
  writtenBytes: number;
  /** Largest size of the scratch while five stages, one after another, replace one of eight columns. */
  scratchPeakBytes: number;
  /** Rounds, of which each figure is the largest; absent: one. */
  repeats?: number | undefined;
  /** The same while the stages stream, all of them on the shard at once. */
  streamingPeakBytes: number;
  /** Columns that something to come still reads, at the moment when they are most: the eight, and the one that is being made. */
  liveBytes: number;
  slots: number;
  blockBytes: number;
}

const rowBytes = 4 + 7 * 8;
const addName = 'columns-add';
const peakName = 'columns-peak';
const streamingName = 'columns-peak-streaming';

const adding: Peer = {
  name: addName,
  title: addName,
  does: ['numbers'],
  make: (_, dir) => {
    const stages = [
      { name: 'ninth', uses: stageFile('add') },
      { name: 'tenth', uses: stageFile('subtract') },
      { name: 'count', uses: stageFile('count') },
    ];
    const input = { format: 'arrow', blockRows };
    const pipeline = madePipeline(
      { name: addName, input, stages, measured: ['ninth', 'tenth'] },
      { residents: 1, streaming: 'off' },
    );
    return new PodlineRunner(addName, addName, pipeline, dir);
  },
};
const peaking = (name: string, streaming: 'auto' | 'off'): Peer => ({
  name,
  title: name,
  does: ['numbers'],
  make: (work, dir) => new PodlineRunner(name, name, podlinePipelineOf(work, { residents: 1, streaming }), dir),
});

export async function measureColumns(place: Place, options: BenchOptions): Promise<ColumnFigures> {
  const rows = Math.ceil((1_000_000 * options.scale) / blockRows) * blockRows;
  const uri = join(place.memoryDir, 'columns.arrow');
  await writeNumbers(uri, rows, options.seed, blockRows);
  const source = { uri, format: 'arrow' as const };
  const field = new Field('columns', numbersWork, place, options);
  // The most of any round: bounds are asked for.
  let writtenBytes = 0;
  let scratchPeakBytes = 0;
  let streamingPeakBytes = 0;
  try {
    for (const peer of [adding, peaking(peakName, 'off'), peaking(streamingName, 'auto')])
      if (!(await field.enter(peer, source, 0))) throw new Error('a line did not start');
    for (let round = 0; round < options.repeats; round++) {
      await field.each(async (runner, { name }) => {
        if (!(runner instanceof PodlineRunner)) return;
        const { report } = await runner.shard(field.job(source));
        if (name === peakName) scratchPeakBytes = Math.max(scratchPeakBytes, report.scratchPeakBytes);
        else if (name === streamingName) streamingPeakBytes = Math.max(streamingPeakBytes, report.scratchPeakBytes);
        else
          writtenBytes = Math.max(
            writtenBytes,
            report.stages.find(({ stage }) => stage === 'tenth')?.bytes.memory.written ?? Number.NaN,
          );
      });
    }
  } finally {
    await field.close();
    rmSync(uri, { force: true });
  }
  return {
    repeats: options.repeats,
    rows,
    columnBytes: rows * 8,
    writtenBytes,
    scratchPeakBytes,
    streamingPeakBytes,
    liveBytes: rows * (rowBytes + 8),
    slots: numbersWork.stages + 1,
    blockBytes: blockRows * rowBytes,
  };
}
