/** Commands around a run: lint, serve and submit, clean, and what is said to whoever uses them wrongly. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Shard } from '../../../runtime/contracts/shard.js';
import type { Finding } from '../../../runtime/cli/findings.js';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { cli, CliFolder, exampleManifest, startCli } from '../../support/cli.js';
import { writeSmallPipeline, type SmallPipeline } from '../../support/small-pipeline.js';

let folder: CliFolder;
let pipeline: SmallPipeline;
beforeEach(() => {
  folder = new CliFolder();
  pipeline = writeSmallPipeline(join(folder.dir, 'small'), [1]);
});
afterEach(() => {
  folder.remove();
});

const here = (...args: string[]) => cli(args, { cwd: folder.dir });

describe('podline lint', () => {
  it('names file, line, column, path and hint of every fault', async () => {
    const faulty = readFileSync(pipeline.manifest, 'utf8')
      .replace('slots: 2', 'slots: two')
      .replace('after: [double]', 'after: [duoble]');
    writeFileSync(pipeline.manifest, faulty);
    const { code, stdout } = await here('lint', 'small/pipeline.yaml');
    expect(code).toBe(2);
    const lines = faulty.split('\n');
    const slots = lines.findIndex((line) => line.includes('slots: two'));
    const after = lines.findIndex((line) => line.includes('duoble'));
    expect(stdout).toContain(
      `small/pipeline.yaml:${String(slots + 1)}:${String((lines[slots]?.indexOf('two') ?? 0) + 1)} error: spec.slots: `,
    );
    expect(stdout).toMatch(new RegExp(`small/pipeline\\.yaml:${String(after + 1)}:\\d+ error: .*duoble.*\\n {2}.*double`));
    const json = await here('lint', 'small/pipeline.yaml', '--json');
    expect(JSON.parse(json.stdout)).toEqual(
      expect.arrayContaining([expect.objectContaining({ severity: 'error', line: slots + 1, path: 'spec.slots' })]),
    );
  });

  it('finds that a stage asks for a column that is not there, without running it', async () => {
    writeFileSync(pipeline.manifest, readFileSync(pipeline.manifest, 'utf8').replace('{ value: int32 }', '{ worth: int32 }'));
    const { code, stdout } = await here('lint', pipeline.manifest);
    expect(code).toBe(2);
    expect(stdout).toMatch(/PDL_STAGE_COLUMNS .*value/);
  });

  it('finds nothing wrong with the examples', async () => {
    const { code, stdout } = await here('lint', ...['flights', 'python', 'ndjson', 'bytes', 'service'].map(exampleManifest));
    expect({ code, faults: stdout.match(/no faults/g)?.length }).toEqual({ code: 0, faults: 5 });
  });
});

describe('podline serve and submit', () => {
  it('takes shards from another process, waits for them where asked, and knows a key that it has seen', async () => {
    const server = startCli(['serve', pipeline.manifest, '--work-dir', 'work'], {
      cwd: folder.dir,
      env: { PODLINE_LOG_LEVEL: 'warn' },
    });
    await server.said(/submit with: /);
    const submit = ['submit', 'small', '--work-dir', 'work', '--input', 'small/values.csv', '--result-dir', 'out'];
    const done = await here(...submit, '--key', 'mine', '--wait');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toMatch(/^accepted {2}(\S+) {2}mine\ncompleted {2}\1 {2}\S+\n$/);
    expect(readFileSync(join(folder.dir, 'out', 'mine', 'sum.txt'), 'utf8')).toBe('2');
    expect((await here(...submit, '--key', 'mine')).stdout).toMatch(/^duplicate /);
    const wrong = await here(...submit, '--param', 'bda=1');
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/PDL_PARAMETER_INVALID .*did you mean bad/i) as string,
    });
    const busy = await here('run', pipeline.manifest, '--work-dir', 'work');
    expect(busy).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`process ${String(server.child.pid)} works in`) as string,
    });
    const { code, stdout } = await here('doctor', '--work-dir', 'work', '--json');
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as { findings: Finding[] }).findings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ level: 'ok', about: 'coordinator', is: 'answers, and has 1 pipeline and 1 line' }),
        expect.objectContaining({ level: 'ok', about: 'pipeline small' }),
      ]),
    );
    server.child.kill('SIGTERM');
    expect((await server.ended).code).toBe(0);
    expect(folder.leftovers()).toEqual([]);
  });

  it('keeps what is submitted while no coordinator runs for the next one', async () => {
    expect((await here('run', pipeline.manifest, '--work-dir', 'work')).code).toBe(0);
    writeFileSync(join(folder.dir, 'more.csv'), 'value\n21\n');
    const submitted = await here('submit', 'small', '--work-dir', 'work', '--input', 'more.csv', '--json');
    expect(submitted.code).toBe(0);
    expect(submitted.stderr).toContain('no coordinator runs in work');
    const { id } = JSON.parse(submitted.stdout) as { id: string };
    const waiting = JSON.parse((await here('get', id, '--work-dir', 'work', '--json')).stdout) as Shard & {
      explanation: { because: string[] };
    };
    expect(waiting.state).toBe('pending');
    expect(waiting.explanation.because).toContain('There is no line for its pipeline.');
    const resumed = await here('run', pipeline.manifest, '--work-dir', 'work', '--resume', '--json');
    expect(resumed.code).toBe(0);
    const result = (JSON.parse(resumed.stdout) as RunSummary).results.find(({ shardId }) => shardId === id);
    expect(readFileSync(join(result?.dir ?? '', 'sum.txt'), 'utf8')).toBe('42');
    expect(folder.leftovers()).toEqual([]);
  });
});

describe('podline doctor', () => {
  it('says in a table how the machine is, without a coordinator', async () => {
    const { code, stdout } = await here('doctor');
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n')[0]).toBe(`  ok       node           ${process.versions.node}, of at least 20.19`);
    expect(stdout).toMatch(/shared memory {2}/);
  });
});

describe('podline clean', () => {
  it('refuses a folder that is not of podline, and leaves it as it is', async () => {
    mkdirSync(join(folder.dir, 'diary', 'journal'), { recursive: true });
    writeFileSync(join(folder.dir, 'diary', 'journal', 'monday.txt'), 'rain');
    const { code, stderr } = await here('clean', '--work-dir', 'diary');
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('diary is no work directory of podline') as string,
    });
    expect(existsSync(join(folder.dir, 'diary', 'journal', 'monday.txt'))).toBe(true);
  });
});

describe('wrong use', () => {
  it.each([
    [['run'], /missing required argument 'pipeline'/],
    [['rum', 'x'], /unknown command 'rum'[^]*run/],
    [['run', 'small/pipeline.yaml', '--lines', '0'], /whole number of at least 1/],
    [['run', 'small/pipeline.yaml', '--param', 'bad'], /name=value/],
    [['run', 'small/pipeline.yaml', '--param', 'bad=often'], /PDL_PARAMETER_INVALID --param: bad/],
    [['run', 'nowhere.yaml'], /PDL_USAGE the manifest nowhere\.yaml cannot be read/],
    [['run', 'small/pipeline.yaml', '--work-dir', 'work', '--input', 'nothing-*.csv'], /PDL_SOURCE_MISSING/],
    [['doctor', '--url', 'http://127.0.0.1:9', '--work-dir', 'work'], /PDL_USAGE doctor takes --url or --work-dir/],
    [['get', '--work-dir', 'nowhere'], /nowhere is no work directory of podline/],
    [['logs', '--work-dir', 'nowhere'], /nowhere is no work directory of podline/],
    [['submit', 'small', '--work-dir', 'nowhere', '--input', 'x'], /nowhere is no work directory of podline/],
  ])('%j ends with 2 and says why', async (args, why) => {
    const { code, stdout, stderr } = await here(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(why);
    expect(folder.leftovers()).toEqual([]);
  });
});
