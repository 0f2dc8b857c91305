/** Graphs that are longer than a line is wide. */
import { describe, expect, it } from 'vitest';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { Bench } from '../../support/podline.js';
import { adding, csvInput, rowsCsv, testEnv } from '../../support/deeds.js';
import { fewestSwaps } from '../../support/fewest-swaps.js';

async function chain(
  stages: number,
  shards: number,
  more: Record<string, unknown> = {},
): Promise<{ summary: RunSummary; perShard: number[] }> {
  const bench = Bench.make();
  bench.file('rows.csv', rowsCsv(shards * 50));
  const names = Array.from({ length: stages }, (_, at) => `s${String(at)}`);
  for (const [at, name] of names.entries()) bench.file(`${name}.mjs`, adding(name, at));
  bench.pipeline('chain', {
    input: csvInput(50),
    slots: 2,
    checkpoints: { ssd: 'never' },
    stages: names.map((name, at) => ({
      name,
      uses: `./${name}.mjs`,
      workers: 1,
      ...(at === 0 ? {} : { after: [`s${String(at - 1)}`] }),
    })),
    ...more,
  });
  const summary = await bench.run();
  return { summary, perShard: (await bench.journal()).shards.map(({ report }) => report?.swaps ?? 0) };
}

const sequence = (stages: number): string[] => Array.from({ length: stages }, (_, at) => `s${String(at)}`);

describe('a line of two slots', () => {
  it('takes a shard through twelve stages with the fewest swaps', async () => {
    const { summary } = await chain(12, 1);
    expect(summary.shards).toMatchObject({ completed: 1, failed: 0 });
    expect(summary.swaps).toBe(fewestSwaps(sequence(12), 2));
  });

  it('takes several shards through twelve stages with fewer swaps than shards times stages', async () => {
    const shards = 4;
    const { summary } = await chain(12, shards, { residents: shards });
    expect(summary.shards).toMatchObject({ completed: shards, failed: 0 });
    expect(summary.stages.every(({ runs }) => runs === shards)).toBe(true);
    expect(summary.swaps).toBeLessThanOrEqual(12 * 2);
    expect(summary.swaps).toBeLessThan(shards * 12);
  });

  it('takes a shard through 128 stages with the fewest swaps', async () => {
    const { summary } = await chain(128, 1);
    expect(summary.shards).toMatchObject({ completed: 1, failed: 0 });
    expect(summary.swaps).toBe(fewestSwaps(sequence(128), 2));
  }, 300_000);
});

describe('a line of one slot', () => {
  /** A stage that fails where another one is at work. */
  const alone = `writeFileSync(dir + '/at-work', '', { flag: 'wx' });
    for (let turn = 0; turn < 20; turn++) await new Promise((go) => setImmediate(go));
    rmSync(dir + '/at-work');`;
  const lonely = (name: string): string =>
    adding(name, 1, alone).replace('import { appendFileSync,', 'import { appendFileSync, rmSync, writeFileSync,');

  it('works sequentially: no two stages of any shards overlap, and a swap is paid for several shards', async () => {
    const bench = Bench.make();
    const shards = 8;
    bench.file('rows.csv', rowsCsv(shards * 50));
    for (const name of ['first', 'second']) bench.file(`${name}.mjs`, lonely(name));
    bench.pipeline('lonely', {
      input: csvInput(50),
      slots: 1,
      residents: 4,
      retries: { limit: 0 },
      stages: [
        { name: 'first', uses: './first.mjs', workers: 1, retries: 0 },
        { name: 'second', after: ['first'], uses: './second.mjs', workers: 1, retries: 0 },
      ],
    });
    const summary = await bench.run({ env: testEnv(bench) });
    expect(summary.shards).toMatchObject({ completed: shards, failed: 0 });
    expect(summary.swaps).toBeLessThan(shards * 2);
  });
});

describe('branches and waiting stages', () => {
  /** A stage that ends only when the other one has begun: two that do not run side by side never end. */
  const meet = (other: string): string => `reached(ctx);
    while (!readFileSync(dir + '/reached', 'utf8').includes('${other} ')) await new Promise((go) => setImmediate(go));`;
  const meeting = (name: string, other: string): string =>
    adding(name, 1, meet(other)).replace('import { appendFileSync,', 'import { appendFileSync, readFileSync,');

  it('the two branches of a diamond run side by side', async () => {
    const bench = Bench.make();
    bench.file('rows.csv', rowsCsv(100));
    bench.file('top.mjs', adding('top', 1));
    bench.file('left.mjs', meeting('left', 'right'));
    bench.file('right.mjs', meeting('right', 'left'));
    bench.file('bottom.mjs', adding('bottom', 1));
    bench.pipeline('diamond', {
      input: csvInput(100),
      slots: 2,
      resources: { cpu: 2 },
      stages: [
        { name: 'top', uses: './top.mjs', workers: 1 },
        { name: 'left', after: ['top'], uses: './left.mjs', workers: 1 },
        { name: 'right', after: ['top'], uses: './right.mjs', workers: 1, keep: 'none' },
        { name: 'bottom', after: ['left'], uses: './bottom.mjs', workers: 1 },
      ].map(({ keep: _keep, ...stage }: Record<string, unknown>) => stage),
    });
    expect((await bench.run({ env: testEnv(bench) })).shards).toMatchObject({ completed: 1 });
  });

  it('io-bound stages run beyond the number of cores', async () => {
    const bench = Bench.make();
    bench.file('rows.csv', rowsCsv(100));
    bench.file('here.mjs', meeting('here', 'there'));
    bench.file('there.mjs', meeting('there', 'here'));
    bench.pipeline('waiting', {
      input: csvInput(100),
      slots: 2,
      resources: { cpu: 1 },
      stages: [
        { name: 'here', uses: './here.mjs', workers: 1, bound: 'io' },
        { name: 'there', uses: './there.mjs', workers: 1, bound: 'io' },
      ],
    });
    expect((await bench.run({ env: testEnv(bench) })).shards).toMatchObject({ completed: 1 });
  });
});
