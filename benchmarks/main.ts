/** `npm run bench`: options in, tables out; results as JSON, Markdown and pictures under `.podline/bench/`. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { packageRoot } from '../runtime/platform/entries.js';
import { bench, runnerNames, type BenchOptions } from './bench.js';
import { picturesOf } from './pictures.js';
import { markdownOf, rowsOf } from './report.js';

interface Flags {
  repeats?: number;
  rows?: number;
  small?: number;
  seed: number;
  only?: string[];
  out: string;
  quick: boolean;
  record: boolean;
}

const whole = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('It must be a whole number.');
  return value;
};

const flags = new Command('bench')
  .description('The flights pipeline on Podline, over HTTP and over Redis, in one run.')
  .option('--repeats <n>', 'measurements of each runner (default: 7; quick: 3)', whole)
  .option('--rows <n>', 'rows of the source (default: all 3,000,000; quick: 500,000)', whole)
  .option('--small <n>', 'small shards for each runner and round (default: 50; quick: 10)', whole)
  .option('--seed <n>', 'of the order of measurements', whole, 1)
  .option('--only <name...>', `of ${runnerNames.join(', ')}; the first is always there`)
  .option('--out <dir>', 'where results go', join('.podline', 'bench'))
  .option('--quick', 'fewer rows and repeats', false)
  .option('--record', 'write benchmarks/RESULTS.md and its pictures too', false)
  .parse()
  .opts<Flags>();

const stray = (flags.only ?? []).filter((name) => !runnerNames.includes(name));
if (stray.length > 0) {
  console.error(`there is no runner ${stray.join(', ')}; there are ${runnerNames.join(', ')}`);
  process.exit(2);
}
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));

const options: BenchOptions = {
  repeats: Math.max(flags.repeats ?? (flags.quick ? 3 : 7), 1),
  rows: flags.rows ?? (flags.quick ? 500_000 : undefined),
  smallShards: flags.small ?? (flags.quick ? 10 : 50),
  smallRounds: flags.quick ? 1 : 3,
  smallRows: 64,
  signal: interrupted.signal,
  coldRuns: flags.quick ? 1 : 3,
  seed: flags.seed,
  only: flags.only,
  quick: flags.quick,
  say: (line) => console.error(line),
};

const out = resolve(flags.out);
await mkdir(out, { recursive: true });
const dir = await mkdtemp(join(out, 'run-'));
try {
  const results = await bench(dir, options);
  const markdown = markdownOf(results);
  const pictures = picturesOf(results);
  await writeFile(join(out, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(join(out, 'results.md'), markdown);
  for (const [name, svg] of Object.entries(pictures)) await writeFile(join(out, name), svg);
  if (flags.record) await record(markdown, pictures);
  console.log(`\n${markdown}`);
  console.log(`Results as JSON, Markdown and pictures: ${flags.out}`);
  process.exitCode =
    rowsOf(results).some(({ isVoid }) => isVoid) || results.runners.some(({ failed }) => failed !== undefined) ? 1 : 0;
} finally {
  await rm(dir, { recursive: true, force: true });
}

async function record(markdown: string, pictures: Readonly<Record<string, string>>): Promise<void> {
  const folder = join(packageRoot, 'benchmarks');
  await mkdir(join(folder, 'pictures'), { recursive: true });
  for (const [name, svg] of Object.entries(pictures)) await writeFile(join(folder, 'pictures', name), svg);
  const shown = ['wall.svg', 'added-cpu.svg'].map((name) => `![${name}](pictures/${name})`);
  await writeFile(
    join(folder, 'RESULTS.md'),
    `${markdown}\n## Pictures\n\n${shown.join('\n\n')}\n\nRecorded with \`npm run bench -- --record\`; see [README.md](README.md) for what the figures mean.\n`,
  );
}
