/** What the scratch holds of a shard is what something to come reads, and little more. */
import { expect, it } from 'vitest';
import { loadNative } from '../../../runtime/scratch/native.js';
import { Bench } from '../../support/podline.js';

const blockRows = 65_536;
const rows = 2 * blockRows;
const columnBytes = rows * 8;
const given = 20;
const stages = 24;

const csv = (): string => {
  const line = (row: number): string => Array.from({ length: given }, (_, at) => String((row * (at + 3)) % 1_000)).join(',');
  const names = Array.from({ length: given }, (_, at) => `in${String(at)}`).join(',');
  return `${names}\n${Array.from({ length: rows }, (_, row) => line(row)).join('\n')}\n`;
};

/** Reads the column of the one before it and writes its own; keeps all the others, which nobody reads but the last. */
const adding = (at: number): string => `
import { column, defineStage } from 'podline';
export default defineStage({
  input: { ${at === 0 ? 'in0' : `c${String(at - 1)}`}: 'float64' },
  output: { c${String(at)}: 'float64' },
  block(batch) {
    const from = batch.columns.${at === 0 ? 'in0' : `c${String(at - 1)}`}.values;
    const out = column.float64(batch.rows);
    for (let row = 0; row < batch.rows; row++) out.values[row] = from[row] + 1;
    return { columns: { c${String(at)}: out } };
  },
});
`;

/** Sums what came from the source, and the last column that was added. */
const summing = (): string => {
  const names = [...Array.from({ length: given }, (_, at) => `in${String(at)}`), `c${String(stages - 1)}`];
  return `
import { column, defineStage } from 'podline';
const names = ${JSON.stringify(names)};
export default defineStage({
  input: Object.fromEntries(names.map((name) => [name, 'float64'])),
  output: { total: 'float64' },
  aggregate: {
    start: () => ({ total: 0 }),
    add(state, batch) {
      for (const name of names) for (const value of batch.columns[name].values) state.total += value;
    },
    merge(into, other) {
      into.total += other.total;
      return into;
    },
    finish: ({ total }) => ({ total: Float64Array.of(total) }),
  },
});
`;
};

it.runIf(loadNative().functions !== undefined)('gives the bytes of columns back when they die: 23 of 45 do', async () => {
  const bench = Bench.make();
  bench.file('rows.csv', csv());
  const names = Array.from({ length: stages }, (_, at) => `s${String(at)}`);
  for (const [at, name] of names.entries()) bench.file(`${name}.mjs`, adding(at));
  bench.file('sum.mjs', summing());
  bench.pipeline('dying', {
    input: {
      source: './rows.csv',
      format: 'csv',
      columns: Object.fromEntries(Array.from({ length: given }, (_, at) => [`in${String(at)}`, 'float64'])),
      blockRows,
    },
    slots: 2,
    streaming: 'off',
    // Writers reserve ahead by a part of it.
    scratch: { size: '32Mi' },
    checkpoints: { ssd: 'never' },
    result: { format: 'ndjson' },
    stages: [
      ...names.map((name, at) => ({
        name,
        uses: `./${name}.mjs`,
        workers: 1,
        ...(at === 0 ? {} : { after: [`s${String(at - 1)}`] }),
      })),
      { name: 'sum', uses: './sum.mjs', workers: 1, after: [`s${String(stages - 1)}`] },
    ],
  });
  const summary = await bench.run();
  expect(summary.shards).toMatchObject({ completed: 1, failed: 0 });
  const peak = (await bench.journal()).shards[0]?.report?.scratchPeakBytes ?? Infinity;
  // Of what was added, a stage's own column and the one that it reads; and a block for each slot.
  const live = (given + 2) * columnBytes;
  expect(peak).toBeLessThanOrEqual(1.1 * live + 2 * blockRows * 8);
  expect(peak).toBeGreaterThan(live * 0.9);
});
