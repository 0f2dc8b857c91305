/** Full and missing places: the run goes on where it can, and says so; or ends with an error that names the way out. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { Bench } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { needs } from '../../support/require.js';
import { adding, csvInput, deeds, impatient, openGate, reached, rowsCsv, testEnv } from '../../support/deeds.js';

const rows = 60_000;

function make(spec: Record<string, unknown>, first = ''): Bench {
  const bench = Bench.make();
  bench.file('rows.csv', rowsCsv(rows));
  bench.file('one.mjs', adding('one', 1, first));
  bench.file('two.mjs', adding('two', 2));
  bench.file('three.mjs', adding('three', 3));
  return bench.pipeline('space', {
    ...impatient,
    input: csvInput(rows, { blockRows: 4_000 }),
    slots: 2,
    stages: [
      { name: 'one', uses: './one.mjs', workers: 1 },
      { name: 'two', after: ['one'], uses: './two.mjs', workers: 1 },
      { name: 'three', after: ['two'], uses: './three.mjs', workers: 1 },
    ],
    ...spec,
  });
}

let roomy: string | undefined;
/** The hash of a run that has room for everything. */
async function hashWithRoom(): Promise<string> {
  return (roomy ??= (await make({}).run()).hash);
}

it('a full scratch moves what nobody reads to SSD, and the result is the same', async () => {
  const bench = make({ scratch: { size: '1536Ki' } });
  const summary = await bench.run();
  expect(summary.hash).toBe(await hashWithRoom());
  expect(summary.bytes.ssd.written).toBeGreaterThan(0);
  expect(
    summary.stages.some(({ bytes }) => bytes.ssd.written > 0) ||
      (await bench.journal()).events.some(({ type }) => type === 'scratch.spilled'),
  ).toBe(true);
});

it('a full scratch that may not spill is an error that says what to raise', async () => {
  const bench = make({ scratch: { size: '1536Ki', spill: false } });
  const summary = await bench.run({ code: 1 });
  expect(summary.failures).toMatchObject([{ code: 'PDL_SCRATCH_FULL', hint: expect.stringContaining('scratch.size') as string }]);
});

needs('root').it('a full SSD costs the checkpoints and not the run', async () => {
  const bench = make({ checkpoints: { ssd: 'stage' } });
  const { ssdDir } = bench.places;
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', ssdDir]);
  onTestFinished(() => {
    execFileSync('umount', [ssdDir]);
  });
  const summary = await bench.run();
  expect(summary.hash).toBe(await hashWithRoom());
  const { events } = await bench.journal();
  expect(events.filter(({ type }) => type === 'checkpoint.failed').map(({ data }) => data['code'])).toContain(
    'PDL_CHECKPOINT_FULL',
  );
});

it('a volume that is gone costs the major checkpoints and not the run', async () => {
  const bench = make({ checkpoints: { ssd: 'stage', major: 'stage' } }, deeds.gate);
  // A shard that has left the line needs no checkpoint: the last stage waits until what it waits for was told.
  bench.file('three.mjs', adding('three', 3, deeds.secondGate));
  const run = bench.start({ env: testEnv(bench) });
  await until(() => reached(bench).length > 0);
  const client = await bench.client();
  rmSync(bench.places.volumeDir, { recursive: true, force: true });
  // `places` lays everything out anew.
  rmSync(bench.workDir + '/volume', { recursive: true, force: true });
  openGate(bench);
  for await (const { type, data } of client.events({ after: 0 }))
    if (type === 'checkpoint.failed' && data['place'] === 'volume') {
      expect(data['code']).toBe('PDL_CHECKPOINT_MISSING');
      break;
    }
  openGate(bench, 'second-gate');
  expect(await run.ended, run.stderr).toMatchObject({ code: 0 });
  const { events } = await bench.journal();
  expect(events.some(({ type, data }) => type === 'checkpoint.written' && data['place'] === 'ssd')).toBe(true);
  mkdirSync(bench.workDir + '/volume', { recursive: true });
});

it('a result directory that cannot be written fails the shard by its code', async () => {
  const bench = make({ result: { format: 'csv' } });
  bench.file('results', 'a file is in the way');
  const summary = await bench.run({ code: 1 });
  expect(summary.failures).toMatchObject([{ code: 'PDL_RESULT_DIR' }]);
});
