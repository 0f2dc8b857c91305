/** Inputs and manifests with faults. */
import { readFileSync, truncateSync } from 'node:fs';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { Bench } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { adding, csvInput, deeds, impatient, openGate, reached, rowsCsv, testEnv } from '../../support/deeds.js';

const oneStage = [{ name: 'one', uses: './one.mjs', workers: 1 }];

function parquet(rows: number): Uint8Array {
  const amounts = Int32Array.from({ length: rows }, (_, row) => row);
  return new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'amount', data: amounts, type: 'INT32' }] }));
}

it('a truncated parquet file fails its shard, named, and the whole file beside it is done', async () => {
  const bench = Bench.make();
  bench.file('one.mjs', adding('one', 1));
  bench.file('data/a.parquet', parquet(5_000));
  const torn = bench.file('data/b.parquet', parquet(5_000));
  truncateSync(torn, Math.floor(readFileSync(torn).byteLength * 0.6));
  bench.pipeline('torn', { ...impatient, input: { source: './data/*.parquet', format: 'parquet' }, stages: oneStage });
  const summary = await bench.run({ code: 1 });
  expect(summary.shards).toMatchObject({ completed: 1, failed: 1 });
  expect(summary.failures).toMatchObject([
    {
      code: 'PDL_SOURCE_UNREADABLE',
      key: expect.stringContaining('b.parquet') as string,
      message: expect.stringContaining('b.parquet') as string,
    },
  ]);
});

it('a value of the wrong type fails its chunk, with place and value, and no other chunk', async () => {
  const bench = Bench.make();
  bench.file('one.mjs', adding('one', 1));
  const lines = rowsCsv(4_000).split('\n');
  lines[1_500] = '0001499,name-00,three';
  bench.file('rows.csv', lines.join('\n'));
  bench.pipeline('wrong', { ...impatient, input: csvInput(1_000), stages: oneStage });
  const summary = await bench.run({ code: 1 });
  expect(summary.shards).toMatchObject({ completed: 3, failed: 1 });
  expect(summary.failures).toMatchObject([
    { code: 'PDL_COLUMN_TYPE', message: expect.stringMatching(/amount.*three|three.*amount/) as string },
  ]);
});

it('a stage that needs another type than its input has is told before anything runs', async () => {
  const bench = Bench.make();
  bench.file('rows.csv', rowsCsv(10));
  bench.file('one.mjs', adding('one', 1));
  bench.pipeline('types', { input: csvInput(10, { columns: { id: 'int32', name: 'utf8', amount: 'utf8' } }), stages: oneStage });
  const run = bench.start();
  expect(await run.ended).toMatchObject({ code: 2 });
  expect(run.json().error).toMatchObject({ code: 'PDL_STAGE_COLUMNS', message: expect.stringContaining('amount') as string });
});

it('a manifest with a cycle is refused with line and column, by run and by lint', async () => {
  const bench = Bench.make();
  bench.file('one.mjs', adding('one', 1));
  bench.pipeline('cycle', {
    input: { source: { inline: [] }, format: 'ndjson' },
    stages: [
      { name: 'one', after: ['two'], uses: './one.mjs' },
      { name: 'two', after: ['one'], uses: './one.mjs' },
    ],
  });
  for (const given of [{}, { command: 'lint', args: [bench.manifest] }]) {
    const run = bench.start({ ...given, json: false });
    expect(await run.ended).toMatchObject({ code: 2 });
    expect(run.stderr + run.stdout).toMatch(/cycle: one → two → one/);
    expect(run.stderr + run.stdout).toMatch(/pipeline\.yaml:\d+:\d+/);
  }
});

it('the same key again is a duplicate and not a second shard', async () => {
  const bench = Bench.make();
  bench.file('rows.csv', rowsCsv(100));
  bench.file('one.mjs', adding('one', 1, deeds.gate));
  bench.pipeline('twice', { input: csvInput(100), stages: oneStage });
  const run = bench.start({ env: testEnv(bench) });
  await until(() => reached(bench).length > 0);
  const client = await bench.client();
  const [shard] = (await client.list('twice')).shards;
  const again = await client.submit('twice', { key: shard?.key ?? '', source: { inline: [], format: 'csv' } });
  expect(again).toMatchObject({ outcome: 'duplicate', id: shard?.id, message: expect.stringContaining('running') as string });
  openGate(bench);
  expect(await run.ended).toMatchObject({ code: 0 });
  expect((await bench.journal()).shards).toHaveLength(1);
});

describe('one chunk of many that fails', () => {
  it('leaves the others done, is a dead letter with its reason, and is done after a retry once the cause is gone', async () => {
    const bench = Bench.make();
    bench.file('rows.csv', rowsCsv(1_000));
    bench.file('one.mjs', adding('one', 1));
    bench.file('two.mjs', adding('two', 2, deeds.throwOddWhileBroken));
    bench.pipeline('chunks', {
      ...impatient,
      input: csvInput(100),
      slots: 2,
      stages: [
        { name: 'one', uses: './one.mjs', workers: 1 },
        { name: 'two', after: ['one'], uses: './two.mjs', workers: 1, retries: 1 },
      ],
    });
    const env = testEnv(bench);
    const first = await bench.run({ env, code: 1 });
    expect(first.shards).toMatchObject({ completed: 9, failed: 1 });
    expect(first.failures).toMatchObject([
      { code: 'PDL_STAGE_FAILED', message: expect.stringContaining('the wheel came off') as string },
    ]);

    bench.file('mended', '');
    const retry = bench.start({ command: 'retry', args: ['--work-dir', bench.workDir] });
    expect(await retry.ended).toMatchObject({ code: 0 });
    expect(retry.stdout).toContain(`pending  ${first.failures[0]?.shardId ?? ''}`);
    const second = await bench.run({ env, args: ['--resume'] });
    expect(second.shards).toMatchObject({ completed: 10, failed: 0 });
    const { shards, events } = await bench.journal();
    // Nine were left alone; the tenth went on behind what its checkpoint holds.
    expect(events.filter(({ type }) => type === 'shard.completed')).toHaveLength(10);
    const mended = shards.find(({ id }) => id === first.failures[0]?.shardId);
    expect(mended?.report?.stages.map(({ stage, outcome }) => [stage, outcome])).toEqual([
      ['one', 'restored'],
      ['two', 'ran'],
    ]);
  });
});
