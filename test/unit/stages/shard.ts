/** A shard in a real scratch on which stages are run, one after another, in this thread. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockRecord, ColumnSchema, Lineage } from '../../../runtime/contracts/block.js';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import type { RunRequest } from '../../../runtime/contracts/shim-protocol.js';
import type { AnyColumn, DefinedStage } from '../../../runtime/index.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import type { Scratch } from '../../../runtime/scratch/types.js';
import { BatchSource } from '../../../runtime/stages/batch.js';
import type { RunEvents } from '../../../runtime/stages/commits.js';
import { runFiles } from '../../../runtime/stages/files-form.js';
import { InlineWorkers } from '../../../runtime/stages/inline.js';
import { RunNews } from '../../../runtime/stages/news.js';
import { endOf, runBlocks, type RunEnd } from '../../../runtime/stages/runner.js';
import { rowsOf } from '../../../runtime/stages/stream-input.js';

const shardId = 's1';
const silent: RunEvents = {
  progress: () => undefined,
  note: () => undefined,
  log: () => undefined,
  room: () => Promise.resolve('none'),
};
const lineage = (stage: string): Lineage => ({
  digest: createHash('sha256').update(stage).digest('hex'),
  stage,
  version: 'v',
  parameters: '',
  inputs: {},
});

export class Shard {
  #runs = 0;

  private constructor(
    private readonly dir: string,
    readonly scratch: Scratch,
  ) {}

  static async open(): Promise<Shard> {
    const dir = await mkdtemp(join(tmpdir(), 'podline-shard-'));
    const scratch = await openScratch({
      dir: join(dir, 'scratch'),
      spillDir: join(dir, 'spill'),
      sizeBytesMax: 256 * 1024 * 1024,
      medium: 'memory',
      role: 'owner',
    });
    await scratch.putShard({ shardId, epoch: 1, revision: 1 });
    return new Shard(dir, scratch);
  }

  async close(): Promise<void> {
    await this.scratch.close();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Writes a stream of tables, a block for each record of columns. */
  async load(stream: string, ...blocks: Record<string, { toData(): ReturnType<AnyColumn['toData']> }>[]): Promise<void> {
    const run = { runId: `load-${stream}`, epoch: 1 };
    const tables = blocks.map((columns) => Object.entries(columns).map(([name, made]) => ({ name, data: made.toData() })));
    const schema = (tables[0] ?? []).map(({ name, data }): ColumnSchema => ({ name, type: data.type, nullable: true }));
    await this.scratch.beginRun(shardId, stream, run);
    const writer = await this.scratch.openWriter({ shardId, stream, kind: 'table', schema, lineage: lineage(stream), run });
    for (const columns of tables) await writer.appendTable(columns[0]?.data.rows ?? 0, columns);
    await writer.seal();
    await writer.close();
  }

  async loadBytes(stream: string, ...chunks: Uint8Array[]): Promise<void> {
    const run = { runId: `load-${stream}`, epoch: 1 };
    await this.scratch.beginRun(shardId, stream, run);
    const writer = await this.scratch.openWriter({ shardId, stream, kind: 'bytes', schema: [], lineage: lineage(stream), run });
    for (const chunk of chunks) await writer.appendBytes(chunk);
    await writer.seal();
    await writer.close();
  }

  /** Runs a stage, whose stream has its name, and throws where it did not end well. */
  async run(name: string, defined: DefinedStage, inputs = ['input'], parameters: RunRequest['parameters'] = {}): Promise<RunEnd> {
    const { scratch } = this;
    const runId = `run-${++this.#runs}`;
    await scratch.beginRun(shardId, name, { runId, epoch: 1 });
    const request: RunRequest = {
      runId,
      shardId,
      shardKey: 'k',
      epoch: 1,
      attempt: 1,
      parameters,
      inputs,
      lineage: lineage(name),
      consumed: 0,
    };
    const stage = { name, combine: 'zip' } as ResolvedStage;
    const { signal } = new AbortController();
    const nowMs = (): number => performance.now();
    const end = await endOf(nowMs(), nowMs, signal, (counts) => {
      if (defined.declaration.form === 'files')
        return runFiles({ stage: name, defined, scratch, nowMs }, request, silent, signal, counts);
      const workers = new InlineWorkers(name, defined, scratch, nowMs);
      const parts = { stage, declaration: defined.declaration, defined, scratch, workers, nowMs };
      return runBlocks(parts, request, silent, new RunNews(), signal, counts);
    });
    if (end.error !== undefined) throw new Error(`${end.error.code} ${end.error.message}`);
    return end;
  }

  blocks(stream: string): BlockRecord[] {
    return this.scratch.blocks(shardId, stream);
  }

  schema(stream: string): string[] {
    return (this.scratch.stream(shardId, stream)?.schema ?? []).map(({ name, type }) => `${name} ${type}`);
  }

  free(stream: string, columns: string[]): Promise<number> {
    return this.scratch.freeColumns(shardId, stream, columns);
  }

  /** All columns, or those named. */
  rows(stream: string, columns?: string[]): Record<string, unknown>[] {
    const reader = this.scratch.openReader(shardId);
    try {
      const source = new BatchSource(reader, 'test', { form: 'files', keep: 'none' });
      return this.blocks(stream).flatMap((block) =>
        rowsOf(source.batch({ ...block, columns: block.columns.filter(({ name }) => columns?.includes(name) ?? true) })),
      );
    } finally {
      reader.close();
    }
  }

  /** The bytes of a stream of bytes or of the files of one, as one text. */
  text(stream: string, file?: string): string {
    const reader = this.scratch.openReader(shardId);
    try {
      const wanted = this.blocks(stream).filter((block) => block.file === file);
      return Buffer.concat(wanted.map((block) => Buffer.from(reader.payload(block)))).toString();
    } finally {
      reader.close();
    }
  }
}
