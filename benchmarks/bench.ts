/**
 * One run of the benchmark: its parts one after another, limits of the machine between them, everything closed at the end.
 *
 * Invariants
 *  1. Every figure of a run comes from the same machine within it, what it is held against included.
 *  2. A part that breaks is named in the results, and the others go on. So is one that a signal ended, and those that it kept from running.
 */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, type as osType } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { packageRoot } from '../runtime/platform/entries.js';
import { measureCheckpoints } from './checkpoints/main.js';
import { commitOf } from './commit.js';
import { blockBytes, comparisons, type Comparison } from './comparisons.js';
import { expectedHash } from './expected.js';
import { Field } from './field.js';
import { measureColumns } from './figures/columns.js';
import { measureFirstRun } from './figures/first-run.js';
import { measureLoad } from './figures/load.js';
import { measureJournal } from './journal/measure.js';
import { measurePipelining } from './figures/pipelining.js';
import { measureSlowdown } from './figures/slowdown.js';
import { measureThreads } from './figures/threads.js';
import { runGrowth } from './growth.js';
import { measureLimits, type MachineLimits } from './limits.js';
import type { BenchOptions, Place } from './options.js';
import type { BenchResults, ComparisonResult } from './results.js';
import { runSmall } from './small.js';

type Part = (results: BenchResults, place: Place, options: BenchOptions) => Promise<void>;

const comparing =
  (name: string): Part =>
  async (results, place, options) => {
    const comparison = await comparisons[name]!(place, options);
    results.comparisons.push(await compare(comparison, place, options));
  };

/** In the order in which they run. */
const parts: Readonly<Record<string, Part>> = {
  ...Object.fromEntries(Object.keys(comparisons).map((name) => [name, comparing(name)])),
  small: async (results, place, options) => void (results.small = await runSmall(place, options)),
  growth: async (results, place, options) => void (results.growth = await runGrowth(place, options)),
  columns: async (results, place, options) => void (results.columns = await measureColumns(place, options)),
  load: async (results, place, options) => void (results.load = await measureLoad(place, options)),
  threads: async (results, place, options) => void (results.threads = await measureThreads(place, options)),
  slowdown: async (results, place, options) => void (results.slowdown = await measureSlowdown(place, options)),
  checkpoints: async (results, { diskDir }, { repeats, seed, scale, say }) => {
    const bytes = Math.ceil((256 * 1024 * 1024 * scale) / blockBytes) * blockBytes;
    results.checkpoints = await measureCheckpoints({ diskDir, bytes, repeats, seed, say });
  },
  journal: async (results, place, options) => void (results.journal = await measureJournal(place, options)),
  pipelining: async (results, place, options) => void (results.pipelining = await measurePipelining(place, options)),
  first: async (results, place, options) => void (results.first = await measureFirstRun(place, options)),
};
export const partNames = Object.keys(parts);

export async function bench(place: Place, options: BenchOptions): Promise<BenchResults> {
  const beganMs = performance.now();
  const results = emptyResults(options, loadavg());
  const limits = (): MachineLimits => {
    const measured = measureLimits(place.diskDir);
    results.limits.push(measured);
    return measured;
  };
  const commit = commitOf();
  let before = limits();
  for (const [name, part] of Object.entries(parts)) {
    if (options.only?.includes(name) === false) continue;
    const partBeganMs = performance.now();
    const run = { at: new Date().toISOString(), loadBefore: loadavg(), commit };
    try {
      options.signal.throwIfAborted();
      await part(results, place, options);
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      results.broken.push({ part: name, message, ...(options.signal.aborted ? { isEnded: true } : {}) });
      if (options.signal.aborted) continue;
      options.say(`${name} broke: ${thrown instanceof Error ? (thrown.stack ?? message) : message}`);
    }
    const tookMs = performance.now() - partBeganMs;
    const loadAfter = loadavg();
    const after = limits();
    results.parts[name] = { ...run, tookMs, loadAfter, limits: [before, after] };
    before = after;
    options.say(`${name}: took ${(tookMs / 1000).toFixed(0)} s`);
  }
  results.machine.loadAfter = loadavg();
  results.tookMs = performance.now() - beganMs;
  return results;
}

/** All runners of one workload: entered, measured in rounds, checked. */
async function compare(comparison: Comparison, place: Place, options: BenchOptions): Promise<ComparisonResult> {
  const { name, title, work, source, shardBytes, rows, stages, runners, referenceBy } = comparison;
  const { repeats } = options;
  const expected = await expectedHash(work, source);
  const field = new Field(name, work, place, options);
  const samples: ComparisonResult['samples'] = [];
  try {
    for (const peer of runners) await field.enter(peer, source, shardBytes);
    for (let round = 0; round < repeats; round++) await field.round(round, source, (sample) => samples.push(sample));
  } finally {
    await field.close();
  }
  const byRunner = samples.find(({ runner }) => runner === referenceBy) ?? samples[0];
  return {
    name,
    title,
    shardBytes,
    rows,
    stages,
    repeats,
    reference: expected ?? byRunner?.hash ?? '',
    referenceBy: expected === undefined ? (byRunner?.runner ?? 'nobody') : 'the checker',
    runners: field.notes,
    samples,
  };
}

function emptyResults({ repeats, seed, record, full, scale, only }: BenchOptions, loadBefore: number[]): BenchResults {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  const processors = cpus();
  return {
    format: 3,
    at: new Date().toISOString(),
    machine: {
      cpu: processors[0]?.model.trim() ?? 'unknown',
      cores: processors.length,
      memoryBytes: totalmem(),
      os: `${osType()} ${release()}`,
      node: process.version,
      podline: version,
      loadBefore,
      loadAfter: [],
    },
    options: { repeats, seed, record, full, scale, ...(only === undefined ? {} : { only: [...only] }) },
    tookMs: 0,
    parts: {},
    limits: [],
    comparisons: [],
    broken: [],
  };
}
