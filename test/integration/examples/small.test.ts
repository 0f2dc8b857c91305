/** The small examples, each as a person would run it. */
import { createHash } from 'node:crypto';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../../../runtime/platform/entries.js';
import type { RunSummary } from '../../../runtime/cli/summary.js';
import { cli, CliFolder, exampleManifest } from '../../support/cli.js';
import { needs, python } from '../../support/require.js';

const data = join(packageRoot, 'node_modules', 'vega-datasets', 'data');

let folder: CliFolder;
beforeEach(() => {
  folder = new CliFolder();
});
afterEach(() => {
  folder.remove();
});

interface Run {
  summary: RunSummary;
  read(file: string): Buffer;
}

async function run(example: string, more: readonly string[] = [], env: Record<string, string> = {}): Promise<Run> {
  const { code, stdout, stderr } = await cli(
    ['run', exampleManifest(example), '--work-dir', folder.workDir, '--result-dir', folder.resultDir, '--json', ...more],
    { cwd: folder.dir, env },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const summary = JSON.parse(stdout) as RunSummary;
  expect(folder.leftovers()).toEqual([]);
  return { summary, read: (file) => readFileSync(join(summary.results[0]?.dir ?? '', file)) };
}

const csvRows = (text: string): string[][] =>
  text
    .trim()
    .split('\n')
    .map((line) => line.split(','));

describe('the ndjson example', () => {
  it('takes rows through grep and a script as lines of JSON', async () => {
    const { read } = await run('ndjson');
    const days = read('fahrenheit.ndjson')
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const snow = csvRows(readFileSync(join(data, 'seattle-weather.csv'), 'utf8')).filter((row) => row[5] === 'snow');
    const fahrenheit = (text = ''): number => Math.round((Number(text) * 1.8 + 32) * 10) / 10;
    expect(days).toEqual(
      snow.map(([date, precipitation, max, min, , weather]) => ({
        date,
        precipitation: Number(precipitation),
        weather,
        fahrenheitMin: fahrenheit(min),
        fahrenheitMax: fahrenheit(max),
      })),
    );
    expect(days.length).toBeGreaterThan(20);
  });
});

describe('the bytes example', () => {
  it('compresses a file in parallel and takes its checksum', async () => {
    const { read } = await run('bytes', ['--param', 'level=1']);
    const source = readFileSync(join(data, 'flights-200k.json'));
    expect(gunzipSync(read('gzip.bin')).equals(source)).toBe(true);
    const sha256 = createHash('sha256').update(source).digest('hex');
    expect(read('SHA256SUMS').toString()).toBe(`${sha256}  flights-200k.json\n`);
    const blocks = JSON.parse(read('blocks.json').toString()) as { bytes: number; sha256: string }[];
    expect(blocks.reduce((sum, block) => sum + block.bytes, 0)).toBe(source.length);
    expect(blocks).toHaveLength(Math.ceil(source.length / 2 ** 20));
  });
});

describe('the service example', () => {
  let server: ChildProcess | undefined;
  afterEach(() => {
    server?.kill();
  });

  it('counts what goes to a service and comes back as network bytes', async () => {
    const started = spawn(process.execPath, [join(packageRoot, 'examples', 'service', 'server.mjs'), '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    server = started;
    const address = await new Promise<string>((resolve) => {
      started.stdout.once('data', (text: Buffer) => {
        resolve(text.toString().trim());
      });
    });
    const { summary, read } = await run('service', ['--param', `service=${address}`]);
    const rows = csvRows(read('distance.csv').toString());
    expect(rows).toHaveLength(readFileSync(join(data, 'airports.csv'), 'utf8').trim().split('\n').length);
    // By the law of cosines, where the service takes haversines: at these distances they agree to the kilometre.
    const radians = (degrees: number): number => (degrees * Math.PI) / 180;
    const [up, across] = [radians(38.8895), radians(-77.0353)];
    for (const [, , latitude, longitude, kilometres] of rows.slice(1)) {
      const [lat, long] = [radians(Number(latitude)), radians(Number(longitude))];
      const angle = Math.acos(Math.sin(up) * Math.sin(lat) + Math.cos(up) * Math.cos(lat) * Math.cos(long - across));
      expect(Math.abs(Number(kilometres) - 6371 * angle)).toBeLessThan(1);
    }
    const [distance] = summary.stages;
    expect(distance?.bytes.network.written).toBeGreaterThan(rows.length * 20);
    expect(distance?.bytes.network.read).toBeGreaterThan(rows.length * 2);
    expect(summary.bytes.network).toEqual(distance?.bytes.network);
  });
});

describe('the python example', () => {
  needs('python3+pyarrow').it('maps its input without copying, and a TypeScript stage ranks what it counted', async () => {
    // The example names its program `python3`: the Python of the tests is put before any other.
    const bin = join(folder.dir, 'bin');
    mkdirSync(bin);
    const found = spawnSync(python, ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).stdout.trim();
    symlinkSync(found, join(bin, 'python3'));
    const path = [dirname(found), bin, process.env['PATH'] ?? ''].join(delimiter);
    const { read, summary } = await run('python', [], { PATH: path });
    const [head, ...rows] = csvRows(read('rank.csv').toString());
    expect(head).toEqual(['state', 'airports', 'latitude', 'longitude', 'rank']);
    const states = new Map<string, number>();
    for (const line of readFileSync(join(data, 'airports.csv'), 'utf8').trim().split('\n').slice(1)) {
      const state = /^(?:[^",]*|"[^"]*"),(?:"[^"]*"|[^,]*),(?:"[^"]*"|[^,]*),([^,]*),/.exec(line)?.[1] ?? '';
      states.set(state, (states.get(state) ?? 0) + 1);
    }
    expect(new Map(rows.map(([state, airports]) => [state, Number(airports)]))).toEqual(states);
    const ranked = [...rows].sort((a, b) => Number(a[4]) - Number(b[4])).map((row) => Number(row[1]));
    expect(ranked).toEqual([...ranked].sort((a, b) => b - a));
    expect(summary.stages.map((stage) => stage.stage)).toEqual(['count', 'rank']);
  });
});
