/** A line that was stopped over the end of its lease and wakes up late: it delivers nothing and completes nothing. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Shard } from '../../../runtime/contracts/shard.js';
import { Bench } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { adding, csvInput, deeds, impatient, openGate, reached, rowsCsv, testEnv } from '../../support/deeds.js';

it('a zombie does not deliver: the result of the higher epoch stays as it is', { timeout: 240_000 }, async () => {
  const bench = Bench.make();
  bench.file('a.csv', rowsCsv(100));
  bench.file('b.csv', rowsCsv(100));
  bench.file('LAST.csv', rowsCsv(100));
  bench.file('one.mjs', adding('one', 1, deeds.gateOrLast));
  bench.pipeline('late', {
    ...impatient,
    input: { ...csvInput(100), source: ['a.csv', 'b.csv', 'LAST.csv'] },
    slots: 1,
    residents: 1,
    stages: [{ name: 'one', uses: './one.mjs', workers: 1 }],
  });
  const run = bench.start({ args: ['--lines', '3'], env: testEnv(bench) });
  await until(() => reached(bench).length === 3 || !run.isAlive);
  const client = await bench.client();
  const first = async (): Promise<Shard> => {
    const found = (await client.list('late')).shards.find(({ key }) => key.includes('a.csv'));
    if (found === undefined) throw new Error(run.stderr);
    return found;
  };
  const held = await first();
  const zombie = bench.processes().find(({ role, line }) => role === 'agent' && line === held.line);
  process.kill(zombie?.pid ?? 0, 'SIGSTOP');
  // Its stage ends, its lease does, and another line takes the shard and completes it.
  await until(async () => (await first()).state === 'pending' || !run.isAlive);
  openGate(bench);
  const completed = await until(async () => {
    const shard = await first();
    return shard.state === 'completed' ? shard : run.isAlive ? false : shard;
  });
  expect(completed).toMatchObject({ state: 'completed', epoch: 2 });
  expect(completed.line).not.toBe(held.line);
  const manifest = join(completed.result?.dir ?? '', 'manifest.json');
  const before = { text: readFileSync(manifest, 'utf8'), ino: statSync(manifest).ino };
  expect(JSON.parse(before.text)).toMatchObject({ epoch: 2, shardId: held.id });

  process.kill(zombie?.pid ?? 0, 'SIGCONT');
  await until(async () => {
    const line = (await client.lines()).find((one) => one.line === held.line);
    return (line !== undefined && line.state === 'active' && line.scratch?.usedBytes === 0) || !run.isAlive;
  });
  openGate(bench, 'second-gate');
  expect(await run.ended, run.stderr).toMatchObject({ code: 0 });
  expect({ text: readFileSync(manifest, 'utf8'), ino: statSync(manifest).ino }).toEqual(before);
  const { events, shards } = await bench.journal();
  expect(events.filter(({ type, shardId }) => type === 'shard.completed' && shardId === held.id)).toHaveLength(1);
  expect(shards.map(({ state }) => state)).toEqual(['completed', 'completed', 'completed']);
});
