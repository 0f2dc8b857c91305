/** One work directory, several runs: who may work in it, how one is stopped and gone on with, and what is not taken over. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Bench } from '../../support/podline.js';
import { until } from '../../support/until.js';
import { adding, csvInput, deeds, impatient, openGate, reached, rowsCsv, testEnv } from '../../support/deeds.js';

const threeStages = (more: Record<string, unknown> = {}): Record<string, unknown>[] => [
  { name: 'one', uses: './one.mjs', workers: 1 },
  { name: 'two', after: ['one'], uses: './two.mjs', workers: 1, ...more },
  { name: 'three', after: ['two'], uses: './three.mjs', workers: 1, retries: 0 },
];

function make(third: string, spec: Record<string, unknown> = {}): Bench {
  const bench = Bench.make();
  bench.file('rows.csv', rowsCsv(2_000));
  bench.file('one.mjs', adding('one', 1));
  bench.file('two.mjs', adding('two', 2));
  bench.file('three.mjs', adding('three', 3, third));
  return bench.pipeline('again', { ...impatient, input: csvInput(1_000), slots: 2, stages: threeStages(), ...spec });
}

it('a second coordinator in a work directory is refused, with the process that has it', async () => {
  const bench = make(deeds.gate);
  const first = bench.start({ env: testEnv(bench) });
  await until(() => reached(bench).length > 0);
  const second = bench.start({ args: ['--resume'] });
  expect(await second.ended).toMatchObject({ code: 2 });
  expect(second.json().error).toMatchObject({
    code: 'PDL_WORKDIR_BUSY',
    message: expect.stringContaining(`process ${String(first.pid)}`) as string,
  });
  openGate(bench);
  expect(await first.ended).toMatchObject({ code: 0 });
});

it('an unfinished run is never thrown away: without --resume it is refused', async () => {
  const bench = make(deeds.gate);
  const first = bench.start({ env: testEnv(bench) });
  await until(() => reached(bench).length > 0);
  first.kill('SIGKILL');
  await first.ended;
  const second = bench.start();
  expect(await second.ended).toMatchObject({ code: 2 });
  expect(second.json().error).toMatchObject({ code: 'PDL_RUN_UNFINISHED', hint: expect.stringContaining('--resume') as string });
});

it('Ctrl-C stops cleanly, says how to go on, and going on makes nothing again that was done', async () => {
  const bench = make(deeds.gate);
  const first = bench.start({ env: testEnv(bench), json: false });
  await until(() => reached(bench).length > 0);
  first.kill('SIGINT');
  expect(await first.ended).toMatchObject({ code: 130, signal: null });
  expect(first.stderr).toMatch(/--work-dir \S+ --resume/);
  expect(bench.processes()).toEqual([]);
  const stopped = await bench.journal();
  expect(stopped.shards.map(({ state, attempts }) => [state, attempts])).toEqual([
    ['pending', 0],
    ['pending', 0],
  ]);
  openGate(bench);
  const summary = await bench.run({ args: ['--resume'], env: testEnv(bench) });
  expect(summary.shards).toMatchObject({ completed: 2, failed: 0 });
  expect(summary.sourceReads).toBe(0);
  const gone = (await bench.journal()).shards.find(({ key }) => reached(bench)[0]?.endsWith(key));
  expect(gone?.report?.stages.map(({ stage, outcome }) => [stage, outcome])).toEqual([
    ['one', 'skipped'],
    ['two', 'restored'],
    ['three', 'ran'],
  ]);
});

describe('a checkpoint is not used, and the reason is told,', () => {
  /** A run whose last stage failed on the second shard; then something is changed, mended, and gone on with. */
  async function change(what: (bench: Bench) => void): Promise<{ why: string; ran: string[] }> {
    const bench = make(deeds.throwOddWhileBroken);
    const env = testEnv(bench);
    await bench.run({ env, code: 1 });
    what(bench);
    bench.file('mended', '');
    await bench.run({ args: ['--resume'], env });
    const { shards, events } = await bench.journal();
    const odd = shards.find(({ key }) => key.endsWith('1'));
    const refused = events
      .filter(({ type, shardId }) => type === 'checkpoint.refused' && shardId === odd?.id)
      .map(({ data }) => String(data['why']));
    const why = [...refused, ...(odd?.report?.stages.map((stage) => stage.why) ?? [])].join('\n');
    return { why, ran: odd?.report?.stages.filter(({ outcome }) => outcome === 'ran').map(({ stage }) => stage) ?? [] };
  }

  it('when nothing was changed it is used', async () => {
    const { ran } = await change(() => undefined);
    expect(ran).toEqual(['three']);
  });

  it('when it was made by another version of a stage', async () => {
    const { why, ran } = await change((bench) => bench.file('two.mjs', adding('two', 20)));
    expect(ran).toContain('two');
    expect(why).toMatch(/two.*version|version.*two/);
  });

  it('when it was made with other parameters', async () => {
    const { why, ran } = await change((bench) =>
      bench.pipeline('again', {
        ...impatient,
        input: csvInput(1_000),
        slots: 2,
        stages: threeStages({ parameters: { factor: 3 } }),
      }),
    );
    expect(ran).toContain('two');
    expect(why).toMatch(/factor/);
  });
});

describe('a run is not gone on with', () => {
  async function goOn(what: (bench: Bench) => readonly string[]): Promise<string> {
    const bench = make(deeds.throwOddWhileBroken, { parameters: { factor: { type: 'integer', default: 1 } } });
    await bench.run({ env: testEnv(bench), code: 1 });
    const run = bench.start({ args: ['--resume', ...what(bench)], env: testEnv(bench) });
    expect(await run.ended).toMatchObject({ code: 2 });
    const { error } = run.json();
    expect(error.code).toBe('PDL_RUN_UNFINISHED');
    return error.message;
  }

  it('when its source has changed', async () => {
    const words = await goOn((bench) => {
      const path = `${bench.dir}/rows.csv`;
      writeFileSync(path, readFileSync(path, 'utf8').replaceAll('name-05', 'name-77'));
      return [];
    });
    expect(words).toMatch(/rows\.csv was \(.*\) and is \(.*\)/);
  });

  it('when its parameters have changed', async () => {
    expect(await goOn(() => ['--param', 'factor=2'])).toMatch(/factor was 1 and is 2/);
  });
});

describe('the result is the same, bit by bit,', () => {
  const whole = async (
    spec: Record<string, unknown>,
    env: Record<string, string> = {},
  ): Promise<{ hash: string; onTmpfs: boolean }> => {
    const bench = make('', spec);
    const run = bench.start({ env });
    const onTmpfs = await until(() =>
      bench.processes().some(({ role }) => role === 'slot')
        ? { is: existsSync(`${bench.places.scratchRoot}/again-0`) }
        : !run.isAlive && { is: false },
    );
    expect(await run.ended, run.stderr).toMatchObject({ code: 0 });
    return { hash: run.json<{ hash: string }>().hash, onTmpfs: onTmpfs.is };
  };

  it('in memory, on SSD, and read without a memory map', async () => {
    const memory = await whole({});
    const ssd = await whole({ scratch: { medium: 'SSD' } });
    const pread = await whole({}, { PODLINE_MMAP: 'off' });
    expect(new Set([memory.hash, ssd.hash, pread.hash]).size).toBe(1);
  });
});
