/** The assembly line within a shard: a stage works on what the one before it has committed while that one works still. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Bench } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { adding, csvInput, deeds, rowsCsv, testEnv } from '../../support/deeds.js';

const blocks = 8;
const rows = 10 * blocks;
/** At its third block it waits for the stage behind it: where that one does not come before it ends, neither ever does. */
const meet = (follower: string): string => `reached(ctx);
    if (batch.index === 2)
      while (!readFileSync(dir + '/reached', 'utf8').includes('${follower} ')) await new Promise((go) => setImmediate(go));`;
const leading = (name: string, follower: string, more = ''): string =>
  adding(name, 1, more + meet(follower)).replace(
    'import { appendFileSync,',
    'import { appendFileSync, readFileSync, writeFileSync,',
  );
/** Its process ends, once, at its fourth block; by then somebody follows it. */
const dieOnce = (name: string): string => `
    if (batch.index === 3 && !existsSync(dir + '/${name}-died')) {
      writeFileSync(dir + '/${name}-died', '');
      process.kill(process.pid, 'SIGKILL');
      for (;;);
    }`;

function chain(stages: Record<string, string>, more: Record<string, unknown> = {}): Bench {
  const bench = Bench.make();
  bench.file('rows.csv', rowsCsv(rows));
  const names = Object.keys(stages);
  for (const [name, code] of Object.entries(stages)) bench.file(`${name}.mjs`, code);
  bench.pipeline('streaming', {
    input: csvInput(rows, { blockRows: rows / blocks }),
    slots: names.length,
    resources: { cpu: names.length },
    checkpoints: { ssd: 'never' },
    result: { format: 'csv' },
    stages: names.map((name, at) => ({
      name,
      uses: `./${name}.mjs`,
      workers: 1,
      ...(at === 0 ? {} : { after: [names[at - 1]] }),
    })),
    ...more,
  });
  return bench;
}

async function resultOf(bench: Bench): Promise<string[]> {
  const { shards } = await bench.journal();
  const [result] = shards.map((shard) => shard.result);
  return readFileSync(join(result?.dir ?? '', result?.files[0]?.name ?? ''), 'utf8')
    .trimEnd()
    .split('\n');
}

describe('stages of one shard', () => {
  it('work on it at the same time, each behind the one before it', async () => {
    const bench = chain({
      first: leading('first', 'second'),
      second: leading('second', 'third'),
      third: adding('third', 3, 'reached(ctx);'),
    });
    await bench.run({ env: testEnv(bench) });
    const { shards, events } = await bench.journal();
    const report = shards[0]?.report;
    expect(report?.stages.map((stage) => [stage.stage, stage.runs, stage.blocks, stage.rows])).toEqual(
      ['first', 'second', 'third'].map((stage) => [stage, 1, blocks, rows]),
    );
    expect(report?.stages[1]?.why).toBe('it began on the blocks of first that were there');
    expect(events.filter((event) => event.type === 'stage.started').map((event) => event.data['follows'])).toEqual([
      undefined,
      ['first'],
      ['second'],
    ]);
    const lines = await resultOf(bench);
    expect(lines).toHaveLength(rows + 1);
    expect(lines[1]).toMatch(/^0,name-00,0,1,1,3$/);
  });

  it.each(['first', 'second'])('end as if nothing had been when the %s is killed while they work', async (victim) => {
    const death = (name: string): string => (name === victim ? dieOnce(name) : '');
    const bench = chain({
      first: leading('first', 'second', death('first')),
      second: adding('second', 2, `reached(ctx);${death('second')}`).replace(
        'import { appendFileSync,',
        'import { appendFileSync, writeFileSync,',
      ),
    });
    await bench.run({ env: testEnv(bench) });
    const { shards } = await bench.journal();
    expect(shards[0]?.report?.stages.map((stage) => [stage.stage, stage.runs])).toEqual(
      ['first', 'second'].map((stage) => [stage, stage === victim ? 2 : 1]),
    );
    expect(await resultOf(bench)).toHaveLength(rows + 1);
  });

  it('wait for each other where streaming is off', async () => {
    const bench = chain(
      { first: adding('first', 1, 'reached(ctx);'), second: adding('second', 2, 'reached(ctx);') },
      { streaming: 'off' },
    );
    await bench.run({ env: testEnv(bench) });
    const order = readFileSync(join(bench.dir, 'reached'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ')[0]);
    expect(order).toEqual([...Array.from({ length: blocks }, () => 'first'), ...Array.from({ length: blocks }, () => 'second')]);
  });

  it('go on from their checkpoint, leader and follower, when all processes were killed', async () => {
    const bench = chain({ first: adding('first', 1, deeds.gateAtFour), second: adding('second', 2, 'reached(ctx);') });
    const child = bench.start({ env: testEnv(bench) });
    const seen = (): string[] => readFileSync(join(bench.dir, 'reached'), 'utf8').split('\n');
    await until(() => {
      try {
        return seen().filter((line) => line.startsWith('second ')).length >= 3;
      } catch {
        return false;
      }
    });
    child.kill('SIGKILL');
    await child.ended;
    bench.file('gate', '');
    await bench.run({ command: 'resume', env: testEnv(bench) });
    const { shards } = await bench.journal();
    expect(shards[0]?.report?.stages.map((stage) => [stage.stage, stage.blocks, stage.rows])).toEqual([
      ['first', blocks, rows],
      ['second', blocks, rows],
    ]);
    expect(await resultOf(bench)).toHaveLength(rows + 1);
  });
});
