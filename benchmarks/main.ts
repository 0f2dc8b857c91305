/** `npm run bench`: options in, tables out; results as JSON, Markdown and pictures under `.podline/bench/`. */
import { existsSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { packageRoot } from '../runtime/platform/entries.js';
import { bench, partNames } from './bench.js';
import { goalsOf } from './goals.js';
import { mergeResults } from './merge.js';
import type { BenchOptions, Place } from './options.js';
import { peers as allPeers } from './peers/index.js';
import { picturesOf } from './pictures.js';
import { goalTable, markdownOf, recordOf } from './report.js';
import type { BenchResults } from './results.js';
import { rowsOf } from './rows.js';

interface Flags {
  repeats?: number;
  seed: number;
  scale: number;
  only?: string[];
  peers?: string[];
  out: string;
  record: boolean;
  full: boolean;
  render: boolean;
}

const whole = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
};
const factor = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError('It must be above 0, and at most 1.');
  return value;
};
const names =
  (known: readonly string[]) =>
  (text: string): string[] => {
    const wanted = text.split(',').filter((name) => name !== '');
    const stray = wanted.filter((name) => !known.includes(name));
    if (stray.length > 0) throw new InvalidArgumentError(`There is no ${stray.join(', ')}; there are ${known.join(', ')}.`);
    return wanted;
  };
const peerNames = allPeers.map(({ name }) => name);

const flags = new Command('bench')
  .description('Podline beside what one would otherwise use, all in one run.')
  .option(
    '--record',
    '7 repeats, 1 GiB and 127 stages; writes benchmarks/RESULTS.md, results.json and pictures/; with --only, these parts of them',
    false,
  )
  .option('--full', 'with shards of 4 GiB (and of 1 GiB, and 127 stages, which --record has by itself)', false)
  .option('--render', 'measures nothing: writes benchmarks/RESULTS.md and pictures/ anew from benchmarks/results.json', false)
  .option('--repeats <n>', 'measurements of each runner (default: 3; with --record: 7)', whole)
  .option('--only <parts>', `some of ${partNames.join(',')}`, names(partNames))
  .option('--peers <names>', `some of podline,${peerNames.join(',')}; Podline is always there`, names(['podline', ...peerNames]))
  .option('--seed <n>', 'of the order of measurements and of the sources', whole, 1)
  .option('--scale <x>', 'multiplies the size of shards, to try something out', factor, 1)
  .option('--out <dir>', 'where results go', join('.podline', 'bench'))
  .parse()
  .opts<Flags>();

const recordFile = join(packageRoot, 'benchmarks', 'results.json');
if (flags.render) {
  await record(JSON.parse(await readFile(recordFile, 'utf8')) as BenchResults);
  process.exit();
}

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));

const options: BenchOptions = {
  repeats: flags.repeats ?? (flags.record ? 7 : 3),
  seed: flags.seed,
  record: flags.record,
  full: flags.full,
  scale: flags.scale,
  only: flags.only,
  peers: allPeers.filter(({ name }) => flags.peers === undefined || flags.peers.includes(name)),
  signal: interrupted.signal,
  say: (line) => console.error(line),
};

const out = resolve(flags.out);
await mkdir(out, { recursive: true });
const diskDir = await mkdtemp(join(out, 'run-'));
const place: Place = {
  diskDir,
  memoryDir: existsSync('/dev/shm') ? await mkdtemp('/dev/shm/podline-bench-') : diskDir,
};
// Also where something is thrown: shared memory outlives the process.
process.on('exit', () => {
  for (const dir of [place.memoryDir, place.diskDir]) rmSync(dir, { recursive: true, force: true });
});

const measured = await bench(place, options);
const results = flags.record && flags.only !== undefined ? await withRecord(measured) : measured;
const markdown = markdownOf(results, await notes());
const pictures = picturesOf(results);
await write(out, 'results.md', markdown, pictures, results);
// What was cut short lies in `out`, and is no record.
if (flags.record && !interrupted.signal.aborted) await record(results);
console.log(`\n${goalTable(results)}\n`);
const goals = goalsOf(results);
const isShort = flags.record ? '' : ' This was a short run: --record repeats more.';
console.log(
  `${goals.filter(({ holds }) => holds === true).length} of ${goals.length} hold, ${goals.filter(({ holds }) => holds === false).length} do not, ${goals.filter(({ holds }) => holds === undefined).length} were not measured.${isShort}`,
);
console.log(`All of it as Markdown, JSON and pictures: ${flags.out}`);
// A figure that is missed is a finding; a wrong result or a part that broke is a fault.
process.exitCode = interrupted.signal.aborted ? 130 : isFaulty(results) ? 1 : 0;

/** The record that is kept with the code. */
async function record(of: BenchResults): Promise<void> {
  const drawn = picturesOf(of);
  const page = recordOf(of, await notes(), Object.keys(drawn));
  await write(join(packageRoot, 'benchmarks'), 'RESULTS.md', page, drawn, of);
}

/** A part of a record, and the parts that were recorded before. */
async function withRecord(fresh: BenchResults): Promise<BenchResults> {
  if (!existsSync(recordFile)) return fresh;
  // A record of another format says so before anything else of it is looked at.
  const kept = JSON.parse(await readFile(recordFile, 'utf8')) as BenchResults;
  try {
    return mergeResults(kept, fresh, partNames);
  } catch (thrown) {
    // What was measured is not thrown away for it.
    await writeFile(join(out, 'results.json'), `${JSON.stringify(fresh)}\n`);
    throw thrown;
  }
}

function isFaulty({ comparisons, broken, small, growth }: BenchResults): boolean {
  return (
    broken.length > 0 ||
    comparisons.some(
      (comparison) =>
        comparison.runners.some(({ failed }) => failed !== undefined) || rowsOf(comparison).some(({ isVoid }) => isVoid),
    ) ||
    (small?.samples.some(({ isVoid }) => isVoid) ?? false) ||
    (growth?.points.some(({ isVoid }) => isVoid) ?? false)
  );
}

/** Pages on figures that do not hold: where the time goes, and what was tried. */
async function notes(): Promise<string[]> {
  const folder = join(packageRoot, 'benchmarks', 'notes');
  if (!existsSync(folder)) return [];
  const files = (await readdir(folder)).filter((name) => name.endsWith('.md')).sort();
  return Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
}

async function write(
  folder: string,
  page: string,
  markdown: string,
  pictures: Readonly<Record<string, string>>,
  results: BenchResults,
): Promise<void> {
  const pictureDir = join(folder, 'pictures');
  await mkdir(pictureDir, { recursive: true });
  for (const old of await readdir(pictureDir)) if (old.endsWith('.svg')) rmSync(join(pictureDir, old));
  for (const [name, svg] of Object.entries(pictures)) await writeFile(join(pictureDir, name), svg);
  await writeFile(join(folder, page), markdown);
  await writeFile(join(folder, 'results.json'), `${JSON.stringify(results)}\n`);
}
