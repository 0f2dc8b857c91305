/** Hands on a run while it goes: cancel, pause and resume over HTTP, time limits, a stage that is added. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { PodlineClient } from '../../../runtime/api/client.js';
import { readManifest } from '../../../runtime/config/manifest.js';
import { resolvePipeline } from '../../../runtime/config/pipeline.js';
import type { Pipeline } from '../../../runtime/contracts/manifest.js';
import { readArrowBlocks } from '../../../runtime/scratch/arrow/file-reader.js';
import { Bench, type PodlineProcess } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { adding, csvInput, deeds, impatient, openGate, reached, rowsCsv, testEnv } from '../../support/deeds.js';

/** Four shards, one at a time on the line; the first waits at the gate in its first stage. */
async function atTheGate(
  spec: Record<string, unknown> = {},
): Promise<{ bench: Bench; run: PodlineProcess; client: PodlineClient }> {
  const bench = Bench.make();
  bench.file('rows.csv', rowsCsv(400));
  bench.file('one.mjs', adding('one', 1, deeds.gate));
  bench.file('two.mjs', adding('two', 2));
  bench.pipeline('hands', {
    ...impatient,
    input: csvInput(100),
    slots: 2,
    residents: 1,
    stages: [
      { name: 'one', uses: './one.mjs', workers: 1 },
      { name: 'two', after: ['one'], uses: './two.mjs', workers: 1 },
    ],
    ...spec,
  });
  const run = bench.start({ env: testEnv(bench) });
  await until(() => reached(bench).length > 0 || !run.isAlive);
  return { bench, run, client: await bench.client() };
}

const running = async (client: PodlineClient): Promise<string> =>
  until(async () => {
    const [first] = (await client.list('hands', { state: 'running' })).shards;
    return first?.id;
  });

it('a cancelled shard leaves the line, and the next one takes its place', async () => {
  const { bench, run, client } = await atTheGate();
  const id = await running(client);
  expect(await client.cancel(id)).toMatchObject({ state: 'cancelled' });
  await until(() => reached(bench).length > 1);
  openGate(bench);
  expect(await run.ended, run.stderr).toMatchObject({ code: 1 });
  const { shards } = await bench.journal();
  expect(shards.find((shard) => shard.id === id)).toMatchObject({ state: 'cancelled' });
  expect(shards.filter(({ state }) => state === 'completed')).toHaveLength(3);
});

it('a paused pipeline ends what it has begun and begins nothing, until it is resumed', async () => {
  const { bench, run, client } = await atTheGate();
  await client.pause('hands');
  openGate(bench);
  await until(async () => (await client.progress('hands')).running === 0);
  expect(await client.progress('hands')).toMatchObject({ completed: 1, pending: 3 });
  const [waiting] = (await client.list('hands', { state: 'pending' })).shards;
  expect((await client.explain(waiting?.id ?? '')).because.join(' ')).toContain('paused');
  expect(run.isAlive).toBe(true);
  await client.resume('hands');
  expect(await run.ended, run.stderr).toMatchObject({ code: 0 });
});

it('a shard that waits too long fails by its time limit', async () => {
  const { bench, run, client } = await atTheGate({ timeLimits: { pending: '3s' } });
  await until(async () => (await client.progress('hands')).failed === 3);
  openGate(bench);
  expect(await run.ended, run.stderr).toMatchObject({ code: 1 });
  const { shards } = await bench.journal();
  expect(shards.map(({ state, error }) => [state, error?.code])).toEqual([
    ['completed', undefined],
    ...Array.from({ length: 3 }, () => ['failed', 'PDL_TIME_LIMIT']),
  ]);
});

it('a shard that runs too long fails by its time limit, and the next one takes its place', async () => {
  const { bench, run, client } = await atTheGate({ timeLimits: { running: '4s' } });
  const id = await running(client);
  await until(async () => (await client.get(id)).state === 'failed');
  openGate(bench);
  await run.ended;
  const { shards } = await bench.journal();
  expect(shards.find((shard) => shard.id === id)).toMatchObject({ state: 'failed', error: { code: 'PDL_TIME_LIMIT' } });
  expect(shards.filter(({ state }) => state === 'completed').length).toBeGreaterThan(0);
});

it('a stage that is added while a shard is on the line is carried out on it', async () => {
  const { bench, run, client } = await atTheGate();
  const id = await running(client);
  const { pipeline } = await client.pipeline('hands');
  const two = pipeline?.stages.find(({ name }) => name === 'two');
  if (pipeline === undefined || two === undefined) throw new Error('the pipeline is not there');
  const longer: Pipeline = {
    ...pipeline,
    stages: [...pipeline.stages, { ...two, name: 'three', after: ['one'] }],
    spec: {
      ...pipeline.spec,
      stages: [...pipeline.spec.stages, { ...(pipeline.spec.stages[1] ?? two), name: 'three', after: ['one'] }],
    },
  };
  expect((await client.applyPipeline(longer)).changed).toBe(true);
  await until(async () => (await client.lines()).every(({ revision }) => revision === longer.revision + 1));
  openGate(bench);
  expect(await run.ended, run.stderr).toMatchObject({ code: 0 });
  const { shards } = await bench.journal();
  const first = shards.find((shard) => shard.id === id);
  expect(first?.report?.stages.map(({ stage, outcome }) => [stage, outcome])).toEqual([
    ['one', 'ran'],
    ['two', 'ran'],
    ['three', 'ran'],
  ]);
  expect(first?.epoch).toBe(1);
  expect(first?.result?.files.map(({ name }) => name)).toEqual(['three.arrow', 'two.arrow']);
});

it('a new version of a stage is shipped under load: what is done stays, what follows runs the new one, nothing is begun anew', async () => {
  const { bench, run, client } = await atTheGate();
  const id = await running(client);
  bench.file('two.mjs', adding('two', 5));
  const { manifest, baseDir } = await readManifest(bench.manifest);
  const shipped = await resolvePipeline(manifest, { baseDir, stagesDir: bench.places.stagesDir, revision: 0 });
  const { revision } = await client.applyPipeline(shipped);
  await until(async () => (await client.lines()).every((line) => line.revision === revision));
  openGate(bench);
  expect(await run.ended, run.stderr).toMatchObject({ code: 0 });
  const { shards } = await bench.journal();
  expect(shards.map(({ state, epoch, attempts }) => [state, epoch, attempts])).toEqual(
    Array.from({ length: 4 }, () => ['completed', 1, 0]),
  );
  expect(shards.find((shard) => shard.id === id)?.report?.stages.map(({ stage, runs }) => [stage, runs])).toEqual([
    ['one', 1],
    ['two', 1],
  ]);
  for (const { result } of shards) {
    const table = readArrowBlocks(join(result?.dir ?? '', 'two.arrow'));
    const { rows, columns } = table.read(0);
    const [amounts, twos] = ['amount', 'two'].map((name) => [...((columns.get(name)?.values ?? []) as Int32Array)]);
    table.close();
    expect(rows).toBe(100);
    expect(twos).toEqual(amounts?.map((amount) => amount + 5));
  }
});
