/** Podline itself: `podline serve` with one line, a shard submitted over its API. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { PodlineClient } from '../../runtime/api/client.js';
import type { PipelineManifest } from '../../runtime/contracts/manifest.js';
import { folderName } from '../../runtime/results/names.js';
import { layOut } from '../../runtime/local/places.js';
import { entryPath } from '../../runtime/platform/entries.js';
import type { Job, Workload } from '../workload.js';
import type { JobEnd, Runner } from './runner.js';

type Change = (spec: PipelineManifest['spec']) => void;

class PodlineRunner implements Runner {
  readonly memoryDirs: string[];
  readonly #workDir: string;
  #child: ChildProcess | undefined;
  #client: PodlineClient | undefined;

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly workload: Workload,
    dir: string,
    private readonly change: Change,
  ) {
    this.#workDir = join(dir, name);
    this.memoryDirs = [layOut(this.#workDir, 'Memory').scratchRoot];
  }

  async start(): Promise<void> {
    await mkdir(this.#workDir, { recursive: true });
    const manifestFile = join(this.#workDir, 'pipeline.yaml');
    await writeFile(manifestFile, stringify(changed(this.workload, this.change)));
    const child = spawn(process.execPath, [entryPath('runtime/cli/main'), 'serve', manifestFile, '--work-dir', this.#workDir], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child = child;
    const url = await firstLine(child);
    const { token } = JSON.parse(await readFile(join(this.#workDir, 'coordinator.json'), 'utf8')) as { token: string };
    this.#client = PodlineClient.connect(url, token);
  }

  pids(): number[] {
    return this.#child?.pid === undefined ? [] : [this.#child.pid];
  }

  async run(job: Job): Promise<JobEnd> {
    const client = this.#client;
    if (client === undefined) throw new Error('not started');
    const answer = await client.submit(this.workload.pipeline.name, {
      key: job.id,
      source: job.source,
      parameters: this.workload.parameters,
      resultDir: job.resultDir,
      priority: 5,
    });
    if (answer.outcome !== 'accepted') throw new Error(`the shard was ${answer.outcome}`);
    const shard = await client.waitFor(answer.id);
    if (shard.state !== 'completed' || shard.report === undefined)
      throw new Error(`the shard ended as ${shard.state}: ${shard.error?.message ?? ''}`);
    const { bytes, stages } = shard.report;
    return {
      dir: join(job.resultDir, folderName(job.id)),
      bytes,
      stages: stages.map(({ stage, workMs, handoverMs, swapMs }) => ({ stage, workMs, handoverMs, swapMs })),
    };
  }

  async close(): Promise<void> {
    await this.#client?.close();
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }
}

function changed(workload: Workload, change: Change): PipelineManifest {
  const manifest = structuredClone(workload.manifest);
  for (const stage of manifest.spec.stages) if (stage.uses !== undefined) stage.uses = resolve(workload.baseDir, stage.uses);
  delete manifest.spec.input.source;
  change(manifest.spec);
  return manifest;
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no output to read');
  const lines = createInterface({ input: child.stdout });
  const exited = once(child, 'exit').then(([code]) => {
    throw new Error(`podline serve ended with ${String(code)}`);
  });
  exited.catch(() => undefined);
  const [line] = (await Promise.race([once(lines, 'line'), exited])) as [string];
  return line;
}

/** As the example has it: two slots in which five stages take turns, a checkpoint after each stage. */
export const podlineAsIs = (workload: Workload, dir: string): Runner =>
  new PodlineRunner('podline', 'Podline, 2 slots, checkpoint after each stage', workload, dir, (spec) => {
    // What is kept of completed shards would only fill the disk here.
    spec.checkpoints.keepCompleted = false;
  });

/** As the baselines are: every stage warm in a place of its own, nothing durable between stages. */
export const podlineWarm = (workload: Workload, dir: string): Runner =>
  new PodlineRunner('podline-warm', 'Podline, a slot per stage, no checkpoints', workload, dir, (spec) => {
    spec.slots = spec.stages.length;
    spec.checkpoints = { ...spec.checkpoints, ssd: 'never', keepCompleted: false };
  });
