/**
 * One run of the benchmark: all runners started, warmed, measured in an order drawn anew for each round, and ended.
 *
 * Invariants
 *  1. Every figure of a run comes from the same processes on the same machine within it, limits of the machine included.
 *  2. No result is believed: the files that each job left are hashed, every time.
 *  3. What cannot run is named in the results; whoever fails once is out, and named.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem, type as osType } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { entryPath, packageRoot } from '../runtime/platform/entries.js';
import { hashOfFolder } from './checker.js';
import { measureLimits } from './limits.js';
import { measure } from './measure.js';
import { floorRunner, type BenchResults, type RunnerNote } from './results.js';
import { httpColumns, httpRecords } from './runners/http-msgpackr.js';
import { httpNdjson } from './runners/http-ndjson.js';
import { OneProcess } from './runners/one-process.js';
import { podlineAsIs, podlineWarm } from './runners/podline.js';
import { redisColumns, redisRecords } from './runners/redis.js';
import { Missing, type Runner } from './runners/runner.js';
import { randomOf, shuffled } from './statistics.js';
import { flightsManifest, inOrder, largeSource, prepareWorkload, smallSource, type Job, type Workload } from './workload.js';

export interface BenchOptions {
  repeats: number;
  /** Undefined: all. */
  rows: number | undefined;
  seed: number;
  /** Small shards for each runner and round. */
  smallShards: number;
  smallRows: number;
  /** Times that the whole command is run. */
  coldRuns: number;
  only: readonly string[] | undefined;
  quick: boolean;
  smallRounds: number;
  /** Ends the run at the next step; everything that was started is closed. */
  signal: AbortSignal;
  say: (line: string) => void;
}

const allRows = 3_000_000;
/** Rows of the job with which each runner is warmed. */
const warmRows = 300_000;
/** A swap for each stage of each small shard measures swaps, not shards. */
const notForSmall = new Set(['podline']);

const makers: Record<string, (workload: Workload, dir: string) => Runner> = {
  [floorRunner]: (workload) => new OneProcess(workload),
  podline: podlineAsIs,
  'podline-warm': podlineWarm,
  'http-columns': httpColumns,
  'http-records': httpRecords,
  'http-ndjson': httpNdjson,
  'redis-columns': redisColumns,
  'redis-records': redisRecords,
};
export const runnerNames = Object.keys(makers);

/** `dir`: on the disk that is to be measured; emptied by the caller. */
export async function bench(dir: string, options: BenchOptions): Promise<BenchResults> {
  const beganMs = performance.now();
  const loadBefore = loadavg();
  const workload = await prepareWorkload(join(dir, 'stages'));
  const results = emptyResults(options, workload, loadBefore);
  const field = new Field(workload, dir, results, options);
  try {
    const wanted = runnerNames.filter(
      (name) => name === floorRunner || options.only === undefined || options.only.includes(name),
    );
    for (const name of wanted) {
      options.signal.throwIfAborted();
      await field.enter(name);
    }
    await field.large();
    await field.small();
    results.reference.cold = await field.referenceOfAll();
  } finally {
    await field.close();
  }
  for (let round = 0; round < options.coldRuns && (options.only === undefined || options.only.includes('podline')); round++) {
    options.say(`cold ${round + 1} of ${options.coldRuns}`);
    results.cold.push(await coldRun(dir, round));
  }
  results.machine.loadAfter = loadavg();
  results.tookMs = performance.now() - beganMs;
  return results;
}

class Field {
  readonly #runners = new Map<string, Runner>();
  readonly #random: () => number;
  #jobs = 0;

  constructor(
    private readonly workload: Workload,
    private readonly dir: string,
    private readonly results: BenchResults,
    private readonly options: BenchOptions,
  ) {
    this.#random = randomOf(options.seed);
  }

  async enter(name: string): Promise<void> {
    const runner = makers[name]!(this.workload, this.dir);
    const note: RunnerNote = { name, title: runner.title };
    this.results.runners.push(note);
    const beganMs = performance.now();
    try {
      await runner.start();
      note.startMs = performance.now() - beganMs;
      this.#runners.set(name, runner);
      this.options.say(`started ${name} in ${note.startMs.toFixed(0)} ms`);
      await this.#clean(
        await runner.run(this.#job(largeSource(this.workload, Math.min(warmRows, this.options.rows ?? warmRows)))),
      );
    } catch (thrown) {
      await this.#leave(note, runner, thrown);
    }
  }

  async large(): Promise<void> {
    const { repeats, rows, say } = this.options;
    for (let round = 0; round < repeats; round++) {
      this.results.limits.push(measureLimits(this.dir));
      for (const [name, runner] of shuffled([...this.#runners], this.#random)) {
        await this.#guarded(name, runner, async () => {
          const job = this.#job(largeSource(this.workload, rows));
          const { result, ...taken } = await measure(
            () => runner.pids(),
            runner.memoryDirs,
            () => runner.run(job),
          );
          const hash = await hashOfFolder(result.dir);
          await this.#clean(result);
          if (name === floorRunner) this.results.reference.large = hash;
          this.results.samples.push({ runner: name, round, ...taken, bytes: result.bytes, stages: result.stages, hash });
          say(
            `round ${round + 1} of ${repeats}  ${name.padEnd(14)} wall ${taken.wallMs.toFixed(0)} ms  CPU ${taken.cpuMs.toFixed(0)} ms  ${hash.slice(0, 8)}`,
          );
        });
      }
    }
  }

  async small(): Promise<void> {
    const { smallShards, smallRounds, smallRows, say } = this.options;
    if (smallShards === 0) return;
    const sources = await Promise.all(
      Array.from({ length: smallShards }, (_, index) => smallSource(this.workload, index * smallRows, smallRows)),
    );
    for (let round = 0; round < smallRounds; round++) {
      const order = shuffled(
        [...this.#runners].filter(([name]) => !notForSmall.has(name)),
        this.#random,
      );
      for (const [name, runner] of order) {
        await this.#guarded(name, runner, async () => {
          // The first shards of a round wake what slept.
          for (const source of sources.slice(0, 3)) await this.#clean(await runner.run(this.#job(source)));
          const handoverMs: Record<string, number[]> = {};
          const shardMs: number[] = [];
          const ends: { dir: string }[] = [];
          const { cpuMs } = await measure(
            () => runner.pids(),
            runner.memoryDirs,
            async () => {
              for (const source of sources) {
                const job = this.#job(source);
                const startedMs = performance.now();
                const end = await runner.run(job);
                shardMs.push(performance.now() - startedMs);
                ends.push(end);
                if (name.startsWith('podline'))
                  for (const stage of end.stages) (handoverMs[stage.stage] ??= []).push(stage.handoverMs);
              }
            },
          );
          const hashes = await Promise.all(ends.map((end) => hashOfFolder(end.dir)));
          for (const end of ends) await this.#clean(end);
          if (name === floorRunner) this.results.reference.small = hashes;
          this.results.small.push({
            runner: name,
            round,
            shards: sources.length,
            rows: smallRows,
            cpuMs,
            shardMs,
            handoverMs,
            hashes,
          });
          say(
            `small ${round + 1} of ${smallRounds}  ${name.padEnd(14)} ${(shardMs.reduce((sum, ms) => sum + ms, 0) / shardMs.length).toFixed(2)} ms a shard`,
          );
        });
      }
    }
  }

  /** What the floor makes of all rows. */
  async referenceOfAll(): Promise<string> {
    const floor = this.#runners.get(floorRunner);
    if (this.options.rows === undefined || floor === undefined) return this.results.reference.large;
    const end = await floor.run(this.#job(largeSource(this.workload, undefined)));
    const hash = await hashOfFolder(end.dir);
    await this.#clean(end);
    return hash;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.close()));
    this.#runners.clear();
  }

  #job(source: Job['source']): Job {
    const id = `bench-${String(this.#jobs++).padStart(5, '0')}`;
    return { id, source, resultDir: join(this.dir, 'results', id) };
  }

  #clean({ dir }: { dir: string }): Promise<void> {
    return rm(dir, { recursive: true, force: true });
  }

  async #guarded(name: string, runner: Runner, call: () => Promise<void>): Promise<void> {
    this.options.signal.throwIfAborted();
    try {
      await call();
    } catch (thrown) {
      const note = this.results.runners.find((known) => known.name === name);
      if (note !== undefined) await this.#leave(note, runner, thrown);
    }
  }

  async #leave(note: RunnerNote, runner: Runner, thrown: unknown): Promise<void> {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    if (thrown instanceof Missing) note.missing = message;
    else note.failed = message;
    this.options.say(`left out ${note.name}: ${message}`);
    this.#runners.delete(note.name);
    await runner.close();
    if (note.name === floorRunner) throw thrown;
  }
}

/** `podline run` on the whole source, in a new work directory. */
async function coldRun(dir: string, round: number): Promise<BenchResults['cold'][number]> {
  const workDir = join(dir, `cold-${round}`);
  const resultDir = join(dir, 'results', `cold-${round}`);
  const beganMs = performance.now();
  const child = spawn(
    process.execPath,
    [entryPath('runtime/cli/main'), 'run', flightsManifest, '--work-dir', workDir, '--result-dir', resultDir, '--json'],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  let output = '';
  child.stdout.on('data', (piece: Buffer) => (output += piece.toString()));
  // It ends within: then its time is in this process's account of children.
  const { result: code, cpuMs } = await measure(
    () => [process.pid],
    [],
    async () => {
      const [exitCode] = (await once(child, 'close')) as [number | null];
      return exitCode;
    },
  );
  const wallMs = performance.now() - beganMs;
  const summary = JSON.parse(output) as { results: { dir: string }[] };
  const [result] = summary.results;
  if (code !== 0 || result === undefined) throw new Error(`podline run ended with ${String(code)}`);
  const hash = await hashOfFolder(result.dir);
  await rm(workDir, { recursive: true, force: true });
  await rm(resultDir, { recursive: true, force: true });
  return { round, wallMs, cpuMs, hash };
}

function emptyResults(options: BenchOptions, workload: Workload, loadBefore: number[]): BenchResults {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  const { repeats, rows, seed, smallShards, smallRows, quick } = options;
  return {
    format: 1,
    at: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryBytes: totalmem(),
      os: `${osType()} ${release()}`,
      node: process.version,
      podline: version,
      loadBefore,
      loadAfter: [],
    },
    options: { repeats, rows: rows ?? allRows, seed, smallShards, smallRows, quick },
    tookMs: 0,
    limits: [],
    runners: [],
    stages: inOrder(workload.pipeline.stages).map(({ name }) => name),
    reference: { large: '', small: [], cold: '' },
    samples: [],
    small: [],
    cold: [],
  };
}
