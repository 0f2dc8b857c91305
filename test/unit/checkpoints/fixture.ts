/** A shard in a real scratch, with places on real folders, for the tests of checkpoints and results. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inputStream, type ColumnSchema, type Lineage } from '../../../runtime/contracts/block.js';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import { openCheckpoints } from '../../../runtime/checkpoints/checkpoints.js';
import { recover } from '../../../runtime/checkpoints/recovery.js';
import type { ReadingStage } from '../../../runtime/line/live-columns.js';
import type { Checkpoints, Recovery, WriteRequest, Written } from '../../../runtime/checkpoints/types.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import type { ColumnData, Scratch, ScratchOptions } from '../../../runtime/scratch/types.js';

export const shardId = 'shard-1';
/** input → clean → count */
export const stages = [
  { name: 'clean', after: [inputStream] },
  { name: 'count', after: ['clean'] },
] as ResolvedStage[];
export const results = ['count'];
export const rowsOfBlock = 1000;

export const schemas: Record<string, ColumnSchema[]> = {
  input: [
    { name: 'delay', type: 'int32', nullable: false },
    { name: 'origin', type: 'utf8', nullable: true },
  ],
  clean: [
    { name: 'delay', type: 'int32', nullable: false },
    { name: 'late', type: 'float64', nullable: false },
  ],
  count: [{ name: 'sum', type: 'float64', nullable: false }],
};

export function lineagesOf(versions: Partial<Record<string, string>> = {}): Map<string, Lineage> {
  const made = new Map<string, Lineage>();
  for (const [stage, above] of [
    ['input', undefined],
    ['clean', 'input'],
    ['count', 'clean'],
  ] as const) {
    const version = versions[stage] ?? 'v1';
    const inputs = above === undefined ? {} : { [above]: made.get(above)?.digest ?? '' };
    made.set(stage, { digest: `${stage}@${version}<${Object.values(inputs).join()}`, stage, version, parameters: 'p', inputs });
  }
  return made;
}

export const int32 = (values: number[]): ColumnData => ({
  type: 'int32',
  rows: values.length,
  nullCount: 0,
  values: Int32Array.from(values),
});
export const float64 = (values: number[]): ColumnData => ({
  type: 'float64',
  rows: values.length,
  nullCount: 0,
  values: Float64Array.from(values),
});
export function utf8(values: (string | null)[]): ColumnData {
  const bytes = values.map((value) => Buffer.from(value ?? ''));
  const offsets = new Int32Array(values.length + 1);
  bytes.forEach((part, index) => (offsets[index + 1] = (offsets[index] ?? 0) + part.length));
  const validity = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, index) => {
    if (value !== null) validity[index >> 3] = (validity[index >> 3] ?? 0) | (1 << (index & 7));
  });
  const nullCount = values.filter((value) => value === null).length;
  return {
    type: 'utf8',
    rows: values.length,
    nullCount,
    values: Buffer.concat(bytes),
    offsets,
    ...(nullCount > 0 ? { validity } : {}),
  };
}

/** A deterministic block of the input. */
export const delays = (block: number): number[] =>
  Array.from({ length: rowsOfBlock }, (_, row) => (block * 7919 + row * 31) % 1000);
const origins = (block: number): (string | null)[] =>
  Array.from({ length: rowsOfBlock }, (_, row) => (row % 10 === 0 ? null : `A${String((block + row) % 97)}`));

/** Appends blocks [from, to) of a stream as its stage would; `clean` refers to a column of the input. */
export async function run(
  scratch: Scratch,
  stream: string,
  from: number,
  to: number,
  options: { seal?: boolean; lineage?: Lineage; epoch?: number } = {},
): Promise<void> {
  const lineage = options.lineage ?? lineagesOf().get(stream);
  const schema = schemas[stream];
  if (lineage === undefined || schema === undefined) throw new Error(`no stream ${stream}`);
  const by = { runId: `${stream}.${String(from)}`, epoch: options.epoch ?? 1 };
  await scratch.beginRun(shardId, stream, by);
  const writer = await scratch.openWriter({ shardId, stream, kind: 'table', schema, lineage, run: by });
  for (let block = from; block < to; block += 1) {
    const progress = { consumed: block + 1, ...(stream === 'count' ? { state: Buffer.from([block]) } : {}) };
    if (stream === 'input') {
      await writer.appendTable(
        rowsOfBlock,
        [
          { name: 'delay', data: int32(delays(block)) },
          { name: 'origin', data: utf8(origins(block)) },
        ],
        progress,
      );
    } else if (stream === 'clean') {
      const input = scratch.block(shardId, 'input', block);
      const ref = input?.columns[0];
      if (ref === undefined) throw new Error(`the input has no block ${String(block)}`);
      await writer.appendTable(
        rowsOfBlock,
        [
          { name: 'delay', ref },
          { name: 'late', data: float64(delays(block).map((delay) => delay / 3)) },
        ],
        progress,
      );
    } else {
      await writer.appendTable(
        1,
        [{ name: 'sum', data: float64([delays(block).reduce((sum, delay) => sum + delay, 0)]) }],
        progress,
      );
    }
  }
  if (options.seal !== false) await writer.seal();
  await writer.close();
}

/** All values of a column of a stream, read anew. */
export function valuesOf(scratch: Scratch, stream: string, column: string): number[] {
  const reader = scratch.openReader(shardId);
  try {
    return scratch.blocks(shardId, stream).flatMap((block) => Array.from(reader.table(block).get(column)?.values as Int32Array));
  } finally {
    reader.close();
  }
}

export class Fixture {
  readonly #opened: { close(): Promise<unknown> }[] = [];

  private constructor(
    readonly root: string,
    readonly ssdDir: string,
    readonly volumeDir: string,
  ) {}

  static async make(): Promise<Fixture> {
    const root = await mkdtemp(join(tmpdir(), 'podline-checkpoints-'));
    const fixture = new Fixture(root, join(root, 'ssd'), join(root, 'volume'));
    await mkdir(fixture.ssdDir);
    await mkdir(fixture.volumeDir);
    return fixture;
  }

  scratchOptions(name = 'scratch', sizeBytesMax = 256 * 1024 * 1024): ScratchOptions {
    return {
      dir: join(this.root, name),
      spillDir: join(this.root, `${name}-spill`),
      sizeBytesMax,
      medium: 'memory',
      role: 'owner',
    };
  }

  async scratch(name?: string, epoch = 1, sizeBytesMax?: number): Promise<Scratch> {
    const scratch = await openScratch(this.scratchOptions(name, sizeBytesMax));
    this.#opened.push(scratch);
    await scratch.putShard({ shardId, epoch, revision: 1 });
    return scratch;
  }

  checkpoints(over: { ssdDir?: string; volumeDir?: string } = {}): Checkpoints {
    const checkpoints = openCheckpoints({
      ssdDir: this.ssdDir,
      volumeDir: this.volumeDir,
      logger: silentLogger,
      nowMs: () => performance.now(),
      ...over,
    });
    this.#opened.push(checkpoints);
    return checkpoints;
  }

  /** Where the ssd holds the shard. */
  shardDir(place: 'ssd' | 'volume' = 'ssd'): string {
    return join(place === 'ssd' ? this.ssdDir : this.volumeDir, 'flights', shardId);
  }

  async close(): Promise<void> {
    for (const opened of this.#opened.splice(0).reverse()) await opened.close();
    await rm(this.root, { recursive: true, force: true });
  }
}

export const write = (
  checkpoints: Checkpoints,
  scratch: Scratch,
  streams: string[],
  over: Partial<WriteRequest> = {},
): Promise<Written> =>
  checkpoints.write({
    place: 'ssd',
    shardId,
    pipeline: { name: 'flights', revision: 1, stages },
    scratch,
    streams,
    results,
    lineages: lineagesOf(),
    epoch: 1,
    retain: 2,
    ...over,
  });

export const recoverInto = (
  checkpoints: Checkpoints,
  scratch: Scratch,
  over: { epoch?: number; lineages?: Map<string, Lineage>; resumeFrom?: string; stages?: readonly ReadingStage[] } = {},
): Promise<Recovery> =>
  recover({
    shardId,
    epoch: over.epoch ?? 2,
    pipeline: 'flights',
    stages: over.stages ?? stages,
    results,
    lineages: over.lineages ?? lineagesOf(),
    scratch,
    checkpoints,
    logger: silentLogger,
    nowMs: () => performance.now(),
    ...(over.resumeFrom === undefined ? {} : { resumeFrom: over.resumeFrom }),
  });
