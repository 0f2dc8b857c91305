/** A scratch on which stages run in this thread, without a shim: inputs by hand, and what came out. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Lineage } from '../../runtime/contracts/block.js';
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { DefinedStage } from '../../runtime/index.js';
import { openScratch } from '../../runtime/scratch/scratch.js';
import type { Scratch } from '../../runtime/scratch/types.js';
import { columnOf } from '../../runtime/stages/columns.js';
import type { RunEvents } from '../../runtime/stages/commits.js';
import { InlineWorkers } from '../../runtime/stages/inline.js';
import { RunNews } from '../../runtime/stages/news.js';
import { endOf, runBlocks, type RunEnd } from '../../runtime/stages/runner.js';

export const benchLineage = (stage: string, version = 'v', inputs: Record<string, string> = {}): Lineage => ({
  digest: createHash('sha256')
    .update(stage + version)
    .digest('hex'),
  stage,
  version,
  parameters: '',
  inputs,
});

export interface BenchRun {
  inputs?: string[];
  growing?: string[];
  combine?: 'zip' | 'concat';
  events?: Partial<RunEvents>;
  news?: RunNews;
  signal?: AbortSignal;
  nowMs?: () => number;
}

export class StageBench {
  readonly shardId = 's1';

  private constructor(
    private readonly dir: string,
    readonly scratch: Scratch,
  ) {}

  static async start(): Promise<StageBench> {
    const dir = await mkdtemp(join(tmpdir(), 'podline-bench-'));
    const scratch = await openScratch({
      dir: join(dir, 'scratch'),
      spillDir: join(dir, 'spill'),
      sizeBytesMax: 64 * 1024 * 1024,
      medium: 'memory',
      role: 'owner',
    });
    const bench = new StageBench(dir, scratch);
    await scratch.putShard({ shardId: bench.shardId, epoch: 1, revision: 1 });
    return bench;
  }

  async close(): Promise<void> {
    await this.scratch.close();
    await rm(this.dir, { recursive: true, force: true });
  }

  async bytes(stream: string, chunks: readonly string[]): Promise<void> {
    const { scratch, shardId } = this;
    const run = { runId: 'load', epoch: 1 };
    await scratch.beginRun(shardId, stream, run);
    const lineage = benchLineage(stream);
    const writer = await scratch.openWriter({ shardId, stream, kind: 'bytes', schema: [], lineage, run });
    for (const chunk of chunks) await writer.appendBytes(Buffer.from(chunk));
    await writer.seal();
    await writer.close();
  }

  /** Runs a stage into the stream `out`. */
  async run(defined: DefinedStage, options: BenchRun = {}): Promise<RunEnd> {
    const { scratch, shardId } = this;
    const { inputs = ['input'], growing, combine = 'zip', news = new RunNews(), nowMs = () => performance.now() } = options;
    const name = 'out';
    const run = { runId: 'run', epoch: 1 };
    await scratch.beginRun(shardId, name, run);
    const digests = Object.fromEntries(inputs.map((input) => [input, benchLineage(input).digest]));
    const request = {
      ...run,
      shardId,
      shardKey: 'k',
      attempt: 1,
      parameters: {},
      inputs,
      growing,
      lineage: benchLineage(name, 'v', digests),
      consumed: 0,
    };
    const events: RunEvents = {
      progress: () => undefined,
      note: () => undefined,
      log: () => undefined,
      room: () => Promise.resolve('none'),
      ...options.events,
    };
    const signal = options.signal ?? new AbortController().signal;
    const workers = new InlineWorkers(name, defined, scratch, nowMs);
    const stage = { name, combine } as ResolvedStage;
    const parts = { stage, declaration: defined.declaration, defined, scratch, workers, nowMs };
    return endOf(nowMs(), nowMs, signal, (counts) => runBlocks(parts, request, events, news, signal, counts));
  }

  /** The values of a column. */
  read(name: string, stream = 'out'): unknown[] {
    const reader = this.scratch.openReader(this.shardId);
    const values = this.scratch.blocks(this.shardId, stream).flatMap((block) => {
      const data = reader.table(block, [name]).get(name);
      return data === undefined ? [] : Array.from({ length: block.rows }, (_, row) => columnOf(data).at(row));
    });
    reader.close();
    return values;
  }

  /** The payloads of a stream, as text. */
  texts(stream = 'out'): string[] {
    const reader = this.scratch.openReader(this.shardId);
    const texts = this.scratch.blocks(this.shardId, stream).map((block) => Buffer.from(reader.payload(block)).toString());
    reader.close();
    return texts;
  }
}
