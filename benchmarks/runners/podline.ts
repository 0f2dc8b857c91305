/**
 * Podline itself, as a user has it: `podline serve` with one line, a shard submitted over its API, its report read from there.
 *
 * Wall time has everything: submission, journal, lease, load, stages, digest, delivery, and the client's hearing of it. `spanMs` is by the
 * line's own report, and by the clock that its processes share: from "the input is whole in the scratch" to "the output of the last stage is"
 * (the stage that only takes the digest aside), with every way between processes. No stage begins before the input is whole.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { PodlineClient } from '../../runtime/api/client.js';
import type { Shard, ShardReport } from '../../runtime/contracts/shard.js';
import { layOut } from '../../runtime/local/places.js';
import { entryPath } from '../../runtime/platform/entries.js';
import { folderName } from '../../runtime/results/names.js';
import type { Job, WorkKind } from '../work/work.js';
import { podlinePipelineOf, type PodlinePipeline, type PodlineSetting } from './podline-manifest.js';
import type { JobEnd, Peer, Runner } from './runner.js';

export class PodlineRunner implements Runner {
  readonly memoryDirs: string[];
  readonly jobsMax = 64;
  /** Where the line's checkpoints and logs lie. */
  readonly workDir: string;
  readonly #pipeline: PodlinePipeline;
  #child: ChildProcess | undefined;
  #client: PodlineClient | undefined;

  constructor(
    readonly name: string,
    readonly title: string,
    pipeline: PodlinePipeline,
    dir: string,
  ) {
    this.#pipeline = pipeline;
    this.workDir = join(dir, 'work');
    this.memoryDirs = [layOut(this.workDir, 'Memory').scratchRoot];
  }

  async start(): Promise<void> {
    await mkdir(this.workDir, { recursive: true });
    const manifestFile = join(this.workDir, 'pipeline.yaml');
    await writeFile(manifestFile, stringify(this.#pipeline.manifest));
    const child = spawn(process.execPath, [entryPath('runtime/cli/main'), 'serve', manifestFile, '--work-dir', this.workDir], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const url = await firstLine(child);
    const { token } = JSON.parse(await readFile(join(this.workDir, 'coordinator.json'), 'utf8')) as { token: string };
    this.#client = PodlineClient.connect(url, token);
  }

  pids(): number[] {
    return this.#child?.pid === undefined ? [] : [this.#child.pid];
  }

  async run(job: Job): Promise<JobEnd> {
    const { report } = await this.shard(job);
    const { bytes, stages } = report;
    const measured = stages.filter(({ stage }) => this.#pipeline.measured.includes(stage));
    return {
      dir: join(job.resultDir, folderName(job.id)),
      bytes,
      spanMs: measured.at(-1)?.wholeAfterMs,
      stages: measured.map(({ stage, workMs, handoverMs, swapMs }) => ({ stage, workMs, handoverMs, swapMs })),
      told: { loadMs: report.load.ms, scratchPeakBytes: report.scratchPeakBytes },
    };
  }

  /** Takes one shard through the line. */
  async shard(job: Job): Promise<Shard & { report: ShardReport }> {
    const client = this.#client;
    if (client === undefined) throw new Error('not started');
    const answer = await client.submit(this.#pipeline.manifest.metadata.name, {
      key: job.id,
      source: job.source,
      parameters: this.#pipeline.parameters,
      resultDir: job.resultDir,
      priority: 5,
    });
    if (answer.outcome !== 'accepted') throw new Error(`the shard was ${answer.outcome}`);
    const shard = await client.waitFor(answer.id);
    const { report } = shard;
    if (shard.state !== 'completed' || report === undefined)
      throw new Error(`the shard ended as ${shard.state}: ${shard.error?.message ?? ''}`);
    return { ...shard, report };
  }

  async close(): Promise<void> {
    await this.#client?.close();
    this.#client = undefined;
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }
}

/** The address that `podline serve` prints when it takes shards; what it said on stderr where it does not come to that. */
async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null || child.stderr === null) throw new Error('no output to read');
  let said = '';
  child.stderr.on('data', (piece: Buffer) => (said = (said + piece.toString()).slice(-2000)));
  const lines = createInterface({ input: child.stdout });
  const exited = once(child, 'exit').then(([code]) => {
    throw new Error(`podline serve ended with ${String(code)}: ${said}`);
  });
  exited.catch(() => undefined);
  const [line] = (await Promise.race([once(lines, 'line'), exited])) as [string];
  return line;
}

/** One way to set Podline up. */
export const podlineAs = (name: string, title: string, does: readonly WorkKind[], setting: PodlineSetting): Peer => ({
  name,
  title,
  does,
  make: (work, dir) => new PodlineRunner(name, title, podlinePipelineOf(work, setting), dir),
});

/** Every stage warm in a slot of its own, nothing durable between stages: as the peers are. */
export const podline = podlineAs('podline', 'Podline', ['bytes', 'numbers', 'orders', 'flights'], {});

/** The same, one stage after another: what lies between the stages, and their own speed, can be told apart. */
export const podlineSteps = podlineAs('podline-steps', 'Podline, streaming off', ['bytes', 'numbers', 'orders'], {
  streaming: 'off',
});

/** As a small pod has it. */
export const podlineTurns = podlineAs(
  'podline-turns',
  'Podline, stages take turns in 2 slots, a checkpoint after each',
  ['orders', 'flights'],
  { slots: 2, checkpoints: 'stage' },
);

export const podlineThread = podlineAs('podline-1-thread', 'Podline, streaming off, one thread a stage', ['bytes'], {
  workers: 1,
  streaming: 'off',
});
