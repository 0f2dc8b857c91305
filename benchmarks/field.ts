/**
 * The runners of one workload, side by side: all started, warmed, measured in an order drawn anew for each round, and ended.
 *
 * Invariants
 *  1. No result is believed: the files that each job left are hashed, every time, outside of the measured time.
 *  2. Who cannot run is named in the results; who fails once is out, and named.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { hashOfFolder } from './checker.js';
import { measure } from './measure.js';
import type { BenchOptions, Place } from './options.js';
import type { RunnerNote, Sample } from './results.js';
import { Missing, type JobEnd, type Peer, type Runner } from './runners/runner.js';
import { randomOf, shuffled } from './statistics.js';
import type { Job, Work } from './work/work.js';

/** A runner whose first job takes longer is warmed by one job alone. */
const slowMs = 2_000;
/** A job that takes longer is given up, and its runner with it. */
const jobMs = 240_000;
/** Who takes longer than this is measured once, but for the record. */
const tooSlowMs = 5_000;

export class Field {
  readonly notes: RunnerNote[] = [];
  readonly #runners = new Map<string, Runner>();
  readonly #random: () => number;
  #jobs = 0;

  constructor(
    private readonly name: string,
    private readonly work: Work,
    private readonly place: Place,
    private readonly options: BenchOptions,
  ) {
    this.#random = randomOf(options.seed);
  }

  /** Starts a peer and warms it; returns whether it is there. */
  async enter(peer: Peer, source: Job['source'], shardBytes: number): Promise<boolean> {
    this.options.signal.throwIfAborted();
    const note: RunnerNote = { name: peer.name, title: peer.title };
    this.notes.push(note);
    if (peer.settings !== undefined) note.settings = peer.settings;
    if (!peer.does.includes(this.work.kind)) note.doesNot = peer.doesNot?.[this.work.kind] ?? 'not made for such work';
    else if (shardBytes > (peer.shardBytesMax ?? Number.POSITIVE_INFINITY))
      note.missing = `takes no shard of ${Math.round(shardBytes / 2 ** 20)} MiB`;
    if (note.missing !== undefined || note.doesNot !== undefined) return false;
    let runner: Runner | undefined;
    try {
      const beganMs = performance.now();
      runner = peer.make(this.work, join(this.place.diskDir, this.name, peer.name));
      await runner.start();
      note.startMs = performance.now() - beganMs;
      this.#runners.set(peer.name, runner);
      const firstMs = await this.#timed(runner, source);
      if (firstMs < slowMs) await this.#timed(runner, source);
      if (firstMs > tooSlowMs && !this.options.record) note.repeats = 1;
      this.options.say(`${this.name}: started ${peer.name} in ${note.startMs.toFixed(0)} ms, first job ${firstMs.toFixed(0)} ms`);
      return true;
    } catch (thrown) {
      await this.#leave(note, runner, thrown);
      return false;
    }
  }

  /** One measured job of each runner, in a new order. */
  async round(round: number, source: Job['source'], take: (sample: Sample) => void): Promise<void> {
    await this.each(async (runner, note) => {
      if (round >= (note.repeats ?? this.options.repeats)) return;
      const job = this.job(source);
      const { result, ...taken } = await measure(
        () => runner.pids(),
        runner.memoryDirs,
        () => this.run(runner, job),
      );
      const hash = await this.hashOf(result);
      const { spanMs, bytes, stages, told } = result;
      take({ runner: note.name, round, ...taken, spanMs, bytes, stages, told, hash });
      const span = spanMs === undefined ? '' : `  span ${spanMs.toFixed(1)} ms`;
      this.options.say(
        `${this.name} ${round + 1}: ${note.name.padEnd(18)} wall ${taken.wallMs.toFixed(0)} ms  CPU ${taken.cpuMs.toFixed(0)} ms${span}  ${hash.slice(0, 8)}`,
      );
    });
  }

  /** Calls for each runner in a new order; one whose call throws is out. */
  async each(call: (runner: Runner, note: RunnerNote) => Promise<void>): Promise<void> {
    for (const [name, runner] of shuffled([...this.#runners], this.#random)) {
      this.options.signal.throwIfAborted();
      const note = this.notes.find((known) => known.name === name);
      if (note === undefined) continue;
      try {
        await call(runner, note);
      } catch (thrown) {
        await this.#leave(note, runner, thrown);
      }
    }
  }

  /** One job, within bounds. */
  async run(runner: Runner, job: Job): Promise<JobEnd> {
    const enough = new AbortController();
    const signal = AbortSignal.any([enough.signal, this.options.signal]);
    const late = delay(jobMs, undefined, { signal }).then(() => {
      throw new Error(`a job did not end within ${jobMs / 1000} s`);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([runner.run(job), late]);
    } finally {
      enough.abort();
    }
  }

  job(source: Job['source']): Job {
    const id = `${this.name}-${String(this.#jobs++).padStart(6, '0')}`;
    return { id, source, resultDir: join(this.place.memoryDir, 'results', id) };
  }

  /** Of a job's result, which goes with it. */
  async hashOf({ dir }: JobEnd): Promise<string> {
    const hash = await hashOfFolder(dir);
    await rm(dir, { recursive: true, force: true });
    return hash;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.close()));
    this.#runners.clear();
    await rm(join(this.place.diskDir, this.name), { recursive: true, force: true });
    await rm(join(this.place.memoryDir, 'results'), { recursive: true, force: true });
  }

  async #timed(runner: Runner, source: Job['source']): Promise<number> {
    const beganMs = performance.now();
    const end = await this.run(runner, this.job(source));
    const tookMs = performance.now() - beganMs;
    await rm(end.dir, { recursive: true, force: true });
    return tookMs;
  }

  async #leave(note: RunnerNote, runner: Runner | undefined, thrown: unknown): Promise<void> {
    this.options.signal.throwIfAborted();
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    if (thrown instanceof Missing) note.missing = message;
    // Where in the code is for whoever watches; the report says why.
    else note.failed = message.split('\n', 1)[0] ?? message;
    this.options.say(`${this.name}: left out ${note.name}: ${message}`);
    this.#runners.delete(note.name);
    await runner?.close();
  }
}
