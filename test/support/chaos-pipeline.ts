/**
 * A small pipeline in which everything happens: a diamond, a row and a block form, an aggregation, files, bytes, a stage in a
 * process of its own, two commands, several shards by chunk, many small blocks, checkpoints on SSD and on the volume.
 *
 * Its TypeScript stages tell which block they are called for, in the file that PODLINE_TEST_TRACE names.
 */
import { readFileSync } from 'node:fs';
import type { Bench } from './podline.js';

export const chaosRows = 24_000;
export const chaosShards = 4;
const blockRows = 400;

const trace = `
import { appendFileSync } from 'node:fs';
export function trace(stage, ctx) {
  if (process.env.PODLINE_TEST_TRACE) appendFileSync(process.env.PODLINE_TEST_TRACE, [process.pid, ctx.shard.key, stage, ctx.block.index].join(' ') + '\\n');
}
`;

const stages: Record<string, string> = {
  'clean.mjs': `
import { defineStage } from 'podline';
import { trace } from './trace.mjs';
export default defineStage({
  input: { id: 'int32', city: 'utf8', amount: 'int32' },
  block(batch, ctx) {
    trace('clean', ctx);
    const { amount } = batch.columns;
    const select = new Uint8Array(batch.rows);
    for (let row = 0; row < batch.rows; row++) select[row] = amount.values[row] % 7 === 0 ? 0 : 1;
    return { select };
  },
});`,
  'left.mjs': `
import { column, defineStage } from 'podline';
import { trace } from './trace.mjs';
export default defineStage({
  input: { amount: 'int32' },
  output: { doubled: 'float64' },
  block(batch, ctx) {
    trace('left', ctx);
    const doubled = column.float64(batch.rows);
    for (let row = 0; row < batch.rows; row++) doubled.values[row] = batch.columns.amount.values[row] * 2 + 0.5;
    return { columns: { doubled } };
  },
});`,
  'right.mjs': `
import { defineStage } from 'podline';
export default defineStage({
  input: { id: 'int32', city: 'utf8' },
  output: { tag: 'utf8' },
  keep: 'none',
  row(row, out) { out.tag = row.city + '-' + (row.id % 5); },
});`,
  'totals.mjs': `
import { defineStage } from 'podline';
import { trace } from './trace.mjs';
export default defineStage({
  input: { tag: 'utf8', doubled: 'float64' },
  output: { tag: 'utf8', rows: 'int32', total: 'float64' },
  aggregate: {
    start: () => new Map(),
    add(state, batch, ctx) {
      trace('totals', ctx);
      for (let row = 0; row < batch.rows; row++) {
        const tag = batch.columns.tag.at(row);
        const sum = state.get(tag) ?? { rows: 0, total: 0 };
        sum.rows += 1;
        sum.total += batch.columns.doubled.values[row];
        state.set(tag, sum);
      }
    },
    merge(before, more) {
      for (const [tag, sum] of more) {
        const into = before.get(tag);
        if (into === undefined) before.set(tag, sum);
        else { into.rows += sum.rows; into.total += sum.total; }
      }
      return before;
    },
    finish(state) {
      const sorted = [...state].sort(([a], [b]) => (a < b ? -1 : 1));
      return { tag: sorted.map(([tag]) => tag), rows: Int32Array.from(sorted, ([, sum]) => sum.rows), total: Float64Array.from(sorted, ([, sum]) => sum.total) };
    },
  },
});`,
  'upper.mjs': `
import { defineStage } from 'podline';
export default defineStage({ bytes: (chunk) => Buffer.from(Buffer.from(chunk).toString('utf8').toUpperCase()) });`,
  'report.mjs': `
import { defineStage } from 'podline';
export default defineStage({
  files(inputs) {
    const rows = inputs.stream('ranked').toRows();
    return { 'report.txt': rows.map((row) => row.tag + ' ' + row.total).join('\\n') + '\\n', 'upper/copy.txt': inputs.stream('upper').read() };
  },
});`,
  // The command of 'text': how many bytes the totals are. One process all the while: a shell passes over a part of its pipe that was killed.
  'text.sh': `printf 'of shard %s\\n' "$PODLINE_SHARD_KEY" > "$PODLINE_OUTPUT_DIR/text.txt"
exec wc -c < "$PODLINE_INPUT_DIR"/totals.arrow >> "$PODLINE_OUTPUT_DIR/text.txt"
`,
};

export interface ChaosOptions {
  spec?: Record<string, unknown>;
}

/** Writes data, stages and manifest into the bench. */
export function chaosPipeline(bench: Bench, { spec = {} }: ChaosOptions = {}): Bench {
  const cities = ['Aachen', 'Bonn', 'Celle', 'Düren', 'Emden', 'Fulda', 'Gera'];
  const lines = ['id,city,amount'];
  for (let id = 0; id < chaosRows; id++)
    lines.push(`${String(id)},${cities[(id * 31) % cities.length] ?? ''},${String((id * 7919) % 10_007)}`);
  bench.file('rows.csv', `${lines.join('\n')}\n`);
  bench.file('stages/trace.mjs', trace);
  for (const [name, code] of Object.entries(stages)) bench.file(`stages/${name}`, code);
  return bench.pipeline('chaos', {
    input: {
      source: './rows.csv',
      format: 'csv',
      columns: { id: 'int32', city: 'utf8', amount: 'int32' },
      chunk: { rows: chaosRows / chaosShards },
      blockRows,
    },
    scratch: { size: '64Mi' },
    slots: 2,
    stages: [
      { name: 'clean', uses: './stages/clean.mjs' },
      { name: 'left', after: ['clean'], uses: './stages/left.mjs' },
      { name: 'right', after: ['clean'], uses: './stages/right.mjs', executor: 'process', workers: 1 },
      { name: 'totals', after: ['left', 'right'], uses: './stages/totals.mjs', workers: 1 },
      { name: 'ranked', after: ['totals'], command: ['sed', 's/-/ of /'], stdio: 'ndjson' },
      { name: 'text', after: ['totals'], command: ['sh', './stages/text.sh'], output: 'bytes', bound: 'io' },
      { name: 'upper', after: ['text'], uses: './stages/upper.mjs', workers: 1 },
      { name: 'report', after: ['ranked', 'upper'], uses: './stages/report.mjs' },
    ],
    checkpoints: { ssd: 'stage', major: { blocks: 40 } },
    result: { format: 'csv', stages: ['totals', 'report'] },
    ...spec,
  });
}

export interface Call {
  pid: number;
  key: string;
  stage: string;
  block: number;
}

/** What the stages told of their calls. */
export function callsIn(traceFile: string): Call[] {
  let text: string;
  try {
    text = readFileSync(traceFile, 'utf8');
  } catch {
    return [];
  }
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [pid = '', key = '', stage = '', block = ''] = line.split(' ');
      return { pid: Number(pid), key, stage, block: Number(block) };
    });
}
