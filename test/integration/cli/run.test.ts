/** `podline run` and what goes on from it, on the built command line. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Shard } from '../../../runtime/contracts/shard.js';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { cli, CliFolder, startCli } from '../../support/cli.js';
import { writeSmallPipeline, type SmallPipeline } from '../../support/small-pipeline.js';

let folder: CliFolder;
let pipeline: SmallPipeline;
beforeEach(() => {
  folder = new CliFolder();
  pipeline = writeSmallPipeline(join(folder.dir, 'small'), [1, 2, 3]);
});
afterEach(() => {
  folder.remove();
});

const run = (...more: string[]) => cli(['run', pipeline.manifest, '--work-dir', 'work', ...more], { cwd: folder.dir });
const of = (command: string, ...more: string[]) => cli([command, ...more, '--work-dir', 'work'], { cwd: folder.dir });
const summaryOf = (stdout: string): RunSummary => JSON.parse(stdout) as RunSummary;
const sums = (dir: string): string[] =>
  readdirSync(dir)
    .sort()
    .map((name) => readFileSync(join(dir, name, 'sum.txt'), 'utf8'));

describe('podline run', () => {
  it('answers with one JSON object that tells stages, bytes, times and the hash', async () => {
    const { code, stdout, stderr } = await run('--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const summary = summaryOf(stdout);
    expect(summary.shards).toEqual({ pending: 0, running: 0, completed: 3, failed: 0, cancelled: 0 });
    const medium = { read: expect.any(Number) as number, written: expect.any(Number) as number };
    const bytes = { memory: medium, ssd: medium, volume: medium, network: medium };
    const stage = {
      runs: 3,
      restored: 0,
      skipped: 0,
      bytes,
      workMs: expect.any(Number) as number,
      swapMs: expect.any(Number) as number,
    };
    expect(summary.stages).toEqual([
      expect.objectContaining({ stage: 'double', rows: 3, ...stage }),
      expect.objectContaining({ stage: 'sum', ...stage }),
    ]);
    for (const { handoverMs } of summary.stages) expect(handoverMs.max).toBeGreaterThanOrEqual(handoverMs.p50);
    expect(summary).toMatchObject({ pipeline: 'small', interrupted: false, bytes, sourceReads: 3, failures: [] });
    expect(summary.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(summary.results.map((result) => result.key)).toEqual(['values.csv#000000', 'values.csv#000001', 'values.csv#000002']);
    expect(sums(join(folder.dir, 'small', 'results'))).toEqual(['2', '4', '6']);
    expect(folder.leftovers()).toEqual([]);
    // A run that has ended makes way for the next, which gives the same.
    const again = await run('--json', '--result-dir', 'elsewhere');
    expect(summaryOf(again.stdout).hash).toBe(summary.hash);
    expect(sums(join(folder.dir, 'elsewhere'))).toEqual(['2', '4', '6']);
  });

  it('tells plain lines where no terminal is, and names commands that work from there', async () => {
    const { code, stdout, stderr } = await run('--result-dir', 'out', '--param', 'bad=7');
    expect(code).toBe(0);
    expect(stderr).toMatch(/^small: 3 shards through 2 stages on 1 line; work directory work\n/);
    expect(stderr.match(/completed: /g)).toHaveLength(3);
    expect(stderr.match(/stage (double|sum) done/g)).toHaveLength(6);
    expect(stderr + stdout).not.toContain('\u001b');
    expect(stdout).toMatch(/^small: 3 completed in /);
    expect(stdout).toMatch(/Result {2}out\/values\.csv#000000|Result {2}out\//);
    const commands = [...stdout.matchAll(/^ {2}node (\S+) (get|resume|clean) (.*)$/gm)];
    expect(commands.map((command) => command[2])).toEqual(['get', 'resume', 'clean']);
    for (const [, , name = '', rest = ''] of commands) {
      const tried = await cli([name, ...rest.split(' ')], { cwd: folder.dir });
      expect({ name, code: tried.code, stderr: tried.code === 0 ? '' : tried.stderr }).toEqual({ name, code: 0, stderr: '' });
    }
    expect(existsSync(folder.workDir)).toBe(false);
    expect(folder.leftovers()).toEqual([]);
  });

  it('ends with 1 where a shard failed, and goes on with it when its cause is gone', async () => {
    const failed = await run('--json', '--param', 'bad=2');
    expect(failed.code).toBe(1);
    const summary = summaryOf(failed.stdout);
    expect(summary.shards).toMatchObject({ completed: 2, failed: 1 });
    expect(summary.failures).toEqual([expect.objectContaining({ key: 'values.csv#000001', code: 'PDL_STAGE_FAILED' })]);
    const id = summary.failures[0]?.shardId ?? '';

    const told = await of('get', id);
    expect(told.stdout).toContain('the value 2 is bad');
    const listed = await of('get', '--state', 'failed', '--json');
    expect((JSON.parse(listed.stdout) as Shard).id).toBe(id);

    // Its parameters are its own: a retry fails again, for the same reason.
    const queued = await of('retry');
    expect(queued.stdout).toBe(`pending  ${id}  values.csv#000001\n`);
    expect(queued.stderr).toContain('--resume');
    const unfinished = await run('--json');
    expect(unfinished.code).toBe(2);
    const other = await run('--json', '--resume');
    expect(other.stderr).toContain('the parameter bad was 2 and is -1');
    expect(unfinished.stderr).toContain('PDL_RUN_UNFINISHED work holds a run with 1 of 3 shards unfinished');
    const resumed = await run('--json', '--resume', '--param', 'bad=2');
    expect(resumed.code).toBe(1);

    // The stage was mended: the shard that had failed completes, the others are left alone.
    const stage = join(folder.dir, 'small', 'double.ts');
    writeFileSync(stage, readFileSync(stage, 'utf8').replace('values.includes(ctx.parameters.bad)', 'values.includes(99)'));
    const mended = summaryOf((await run('--json', '--resume', '--param', 'bad=2')).stdout);
    expect(mended.shards).toMatchObject({ completed: 3, failed: 0 });
    expect(mended.stages.find(({ stage }) => stage === 'sum')?.runs).toBe(3);
    expect(sums(join(folder.dir, 'small', 'results'))).toEqual(['2', '4', '6']);

    const logs = await of('logs', id);
    expect(logs.stdout).toContain('a shard failed');
    expect(logs.stdout).toContain('doubled');
    expect(folder.leftovers()).toEqual([]);
  });

  it('stops cleanly with Ctrl-C, ends with 130 and says how to go on', async () => {
    const gate = join(folder.dir, 'small', 'gate');
    const running = startCli(['run', pipeline.manifest, '--work-dir', 'work', '--param', `gate=${gate}`], { cwd: folder.dir });
    await running.said(/loaded 1 row/);
    running.child.kill('SIGINT');
    const { code, stderr } = await running.ended;
    expect(code).toBe(130);
    expect(stderr).toContain('stopped with 3 shards left');
    const goOn = /go on with +node \S+ (.*)\n/.exec(stderr)?.[1] ?? '';
    writeFileSync(gate, '');
    const resumed = await cli([...goOn.split(' '), '--json'], { cwd: folder.dir });
    expect({ code: resumed.code, stderr: resumed.stderr }).toEqual({ code: 0, stderr: '' });
    expect(summaryOf(resumed.stdout).shards.completed).toBe(3);
    expect(folder.leftovers()).toEqual([]);
  });
});

describe('podline resume', () => {
  it('runs a stage again on every shard of a run that was killed, those in work included', async () => {
    const gate = join(folder.dir, 'small', 'gate');
    const running = startCli(['run', pipeline.manifest, '--work-dir', 'work', '--param', `gate=${gate}`], { cwd: folder.dir });
    await running.said(/loaded 1 row/);
    running.child.kill('SIGKILL');
    await running.ended;
    writeFileSync(gate, '');
    const resumed = await cli(
      ['resume', pipeline.manifest, '--work-dir', 'work', '--param', `gate=${gate}`, '--from', 'sum', '--json'],
      {
        cwd: folder.dir,
      },
    );
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(summaryOf(resumed.stdout).shards.completed).toBe(3);
    for (const { shardId } of summaryOf(resumed.stdout).results) {
      const { report } = JSON.parse((await of('get', shardId, '--json')).stdout) as Shard;
      expect(report?.stages.find(({ stage }) => stage === 'sum')?.why).toContain('asked to resume from here');
    }
    expect(folder.leftovers()).toEqual([]);
  });

  it('runs a stage again on every shard, and then has nothing left to do', async () => {
    const first = summaryOf((await run('--json')).stdout);
    const { code, stdout } = await cli(['resume', pipeline.manifest, '--work-dir', 'work', '--from', 'sum', '--json'], {
      cwd: folder.dir,
    });
    expect(code).toBe(0);
    const again = summaryOf(stdout);
    expect(again.hash).toBe(first.hash);
    expect(again.stages.find(({ stage }) => stage === 'sum')?.runs).toBe(3);
    const nothing = await cli(['resume', pipeline.manifest, '--work-dir', 'work'], { cwd: folder.dir });
    expect(nothing.code).toBe(0);
    expect(nothing.stderr).toContain('nothing is left to do in work');
    expect(folder.leftovers()).toEqual([]);
  });

  it('refuses a stage that is not there, and a work directory that holds no run', async () => {
    const unknown = await cli(['resume', pipeline.manifest, '--work-dir', 'work', '--from', 'summ'], { cwd: folder.dir });
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringMatching(/no stage summ\n {2}Did you mean sum\?/) as string });
    const none = await cli(['resume', pipeline.manifest, '--work-dir', 'work'], { cwd: folder.dir });
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('work holds no run of pipeline small') as string });
    expect(folder.leftovers()).toEqual([]);
  });
});
