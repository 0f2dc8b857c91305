/** Streams of every make, through a checkpoint and back: written by several parts at once, filtered, with lists, with columns given back. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ColumnSchema, Lineage } from '../../../runtime/contracts/block.js';
import type { ColumnData, ColumnToWrite, Scratch, StreamWriter, WriterRequest } from '../../../runtime/scratch/types.js';
import type { ReadingStage } from '../../../runtime/line/live-columns.js';
import { loadNative } from '../../../runtime/scratch/native.js';
import { Fixture, float64, int32, lineagesOf, recoverInto, shardId, utf8, write } from './fixture.js';

let fixture: Fixture;
const freshFixture = async (): Promise<void> => {
  fixture = await Fixture.make();
};
const closeFixture = (): Promise<void> => fixture.close();

const rows = 3_000;
const column = (name: string, type: ColumnSchema['type']): ColumnSchema => ({ name, type, nullable: true });
const inputSchema = [column('id', 'int32'), column('tags', 'list<utf8>'), column('wide', 'float64'), column('name', 'utf8')];
const cleanSchema = [...inputSchema.filter(({ name }) => name !== 'wide'), column('made', 'float64')];

/** What the stages say that they read: nothing behind the input needs `wide`, and nothing behind `clean` any text. */
const reading: ReadingStage[] = [
  {
    name: 'clean',
    after: ['input'],
    declares: { form: 'block', input: { id: { type: 'int32' } }, keep: ['id', 'tags', 'name'] },
  },
  { name: 'count', after: ['clean'], declares: { form: 'aggregate', input: { id: { type: 'int32' } }, keep: 'none' } },
];

const numbers = (block: number): number[] => Array.from({ length: rows }, (_, row) => block * rows + row);
const names = (block: number, every: number): (string | null)[] =>
  numbers(block).map((n) => (n % every === 0 ? null : `n${String(n % 1_009)}`));

/** Row i has i % 3 tags. */
function tags(block: number): ColumnData {
  const offsets = new Int32Array(rows + 1);
  for (let row = 0; row < rows; row += 1) offsets[row + 1] = (offsets[row] ?? 0) + (row % 3);
  const items = utf8(
    Array.from({ length: offsets[rows] ?? 0 }, (_, item) => (item % 7 === 0 ? null : `t${String(block + item)}`)),
  );
  return { type: 'list<utf8>', rows, nullCount: 0, values: new Uint8Array(0), offsets, items };
}

const inputBlock = (block: number): ColumnToWrite[] => [
  { name: 'id', data: int32(numbers(block)) },
  { name: 'tags', data: tags(block) },
  { name: 'wide', data: float64(numbers(block).map((n) => n / 3 + 1)) },
  { name: 'name', data: utf8(names(block, 11)) },
];

async function open(
  scratch: Scratch,
  stream: string,
  schema: ColumnSchema[],
): Promise<{ request: WriterRequest; writer: StreamWriter }> {
  const run = { runId: `run of ${stream}`, epoch: 1 };
  await scratch.beginRun(shardId, stream, run);
  const lineage = lineagesOf().get(stream) as Lineage;
  const request: WriterRequest = { shardId, stream, kind: 'table', schema, lineage, run };
  return { request, writer: await scratch.openWriter(request) };
}

/** Block i by the part that `parts[i]` numbers: their segments take turns. `between` runs after each block. */
async function writeInput(scratch: Scratch, parts: readonly number[], between: () => Promise<void>): Promise<void> {
  const { request, writer } = await open(scratch, 'input', inputSchema);
  const opened = [0, 1, 2].map(() => scratch.openPart(request));
  for (const [block, part] of parts.entries()) {
    const written = opened[part]?.writeTable(rows, inputBlock(block));
    if (written === undefined) throw new Error(`no part ${String(part)}`);
    await writer.commitWritten([written], { consumed: block + 1 });
    await between();
  }
  for (const part of opened) part.close();
  await writer.seal();
  await writer.close();
}

/** Keeps every `keep`-th row of the input's columns, but for `wide`, and adds one of its own. */
async function writeClean(scratch: Scratch, keep: number, seal: boolean): Promise<void> {
  const { writer } = await open(scratch, 'clean', cleanSchema);
  for (const { seq, columns } of scratch.blocks(shardId, 'input')) {
    const select = keep === 1 ? undefined : Uint32Array.from(numbers(0).filter((row) => row % keep === 0));
    const refs = columns.filter(({ name }) => name !== 'wide').map((ref) => ({ name: ref.name, ref, ...(select && { select }) }));
    const made = float64(Array.from({ length: select?.length ?? rows }, (_, row) => seq + row / 7));
    await writer.appendTable(made.rows, [...refs, { name: 'made', data: made }], { consumed: seq + 1 });
  }
  if (seal) await writer.seal();
  await writer.close();
}

/** What a reader sees of columns of a stream, as a digest of each in each block. */
function seen(scratch: Scratch, stream: string, columns: readonly string[]): unknown[] {
  const reader = scratch.openReader(shardId);
  try {
    return scratch
      .blocks(shardId, stream)
      .map((block) => [...reader.table(block, columns)].map(([name, data]) => [name, crc32(JSON.stringify(plain(data)))]));
  } finally {
    reader.close();
  }
}

const living = (scratch: Scratch, stream: string): string[] =>
  (scratch.stream(shardId, stream)?.schema ?? [])
    .map(({ name }) => name)
    .filter((name) => !freedOf(scratch, stream).includes(name));

const plain = ({ type, rows: count, nullCount, validity, values, offsets, items }: ColumnData): unknown => ({
  type,
  count,
  nullCount,
  // Beyond the last row there may be anything.
  validity: Array.from({ length: nullCount === 0 ? 0 : count }, (_, row) => ((validity?.[row >> 3] ?? 0) >> (row & 7)) & 1),
  values: Array.from(values as Uint8Array),
  offsets: offsets && Array.from(offsets),
  items: items && plain(items),
});

const filesIn = (dir: string, ending: string): string[] =>
  readdirSync(dir)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(dir, name));
const freedOf = (scratch: Scratch, stream: string): string[] => scratch.stream(shardId, stream)?.freed ?? [];

describe('a checkpoint of streams of every make', () => {
  it('gives back what was committed, block by block, with true checksums', async () => {
    const plans = fc.record({
      parts: fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 4 }),
      keep: fc.integer({ min: 1, max: 4 }),
      sealClean: fc.boolean(),
      /** Checkpoints are written after each block of the input, so that files grow. */
      often: fc.boolean(),
      early: fc.boolean(),
      free: fc.boolean(),
      restarted: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(plans, async ({ parts, keep, sealClean, often, early, free, restarted }) => {
        let checkpoints = fixture.checkpoints();
        const scratch = await fixture.scratch('from');
        const take = (streams: string[]): Promise<unknown> => write(checkpoints, scratch, streams);
        await writeInput(scratch, parts, async () => {
          if (often) await take(['input']);
        });
        if (early) await take(['input']);
        await writeClean(scratch, keep, sealClean);
        if (free) await scratch.freeColumns(shardId, 'input', ['wide']);
        if (restarted) checkpoints = fixture.checkpoints();
        await take(sealClean ? ['clean'] : ['input', 'clean']);

        const restored = await fixture.scratch('to', 2);
        const recovery = await recoverInto(fixture.checkpoints(), restored, { stages: reading });
        expect(recovery.refused).toEqual([]);
        for (const stream of sealClean ? ['clean'] : ['input', 'clean']) {
          await restored.verifyStream(shardId, stream);
          expect({ ...restored.stream(shardId, stream), freed: [] }).toEqual({ ...scratch.stream(shardId, stream), freed: [] });
          expect(restored.progress(shardId, stream)).toEqual(scratch.progress(shardId, stream));
          const columns = living(scratch, stream);
          expect(seen(restored, stream, columns)).toEqual(seen(scratch, stream, columns));
        }
      }),
      { numRuns: 25, plugins: [fc.beforeEach(freshFixture), fc.afterEach(closeFixture)] },
    );
  }, 120_000);
});

describe('a column that was given back', () => {
  beforeEach(freshFixture);
  afterEach(closeFixture);
  const canFree = loadNative().functions !== undefined;
  const bytesOnDisk = (path: string): number => statSync(path).blocks * 512;

  it.runIf(canFree)('takes no room in a checkpoint, nor in the scratch that it is restored into', async () => {
    const scratch = await fixture.scratch('from');
    await writeInput(scratch, [0, 0, 0], () => Promise.resolve());
    await writeClean(scratch, 1, false);
    const whole = await write(fixture.checkpoints(), scratch, ['input', 'clean'], { place: 'volume' });
    await scratch.freeColumns(shardId, 'input', ['wide']);
    expect(freedOf(scratch, 'input')).toEqual(['wide']);
    await write(fixture.checkpoints(), scratch, ['input', 'clean']);
    const onDisk = (dir: string): number => filesIn(dir, '.seg').reduce((sum, path) => sum + bytesOnDisk(path), 0);
    const wideBytes = 3 * rows * 8;
    expect(onDisk(fixture.shardDir('ssd'))).toBeLessThan(onDisk(fixture.shardDir('volume')) - wideBytes / 2);
    expect(whole.writtenBytes).toBeGreaterThan(wideBytes);

    // Whoever plans a resume must know that the copy lacks it.
    const { ssd, volume } = await fixture.checkpoints().inventory('flights', shardId);
    expect(ssd.streams.find(({ stream }) => stream === 'input')?.freed).toEqual(['wide']);
    expect(volume.streams.find(({ stream }) => stream === 'input')?.freed).toBeUndefined();
    const { refused } = await recoverInto(fixture.checkpoints(), await fixture.scratch('needy', 3));
    expect(refused.join()).toMatch(/input on the SSD is not used: a stage needs wide now/);

    const restored = await fixture.scratch('to', 2);
    await recoverInto(fixture.checkpoints(), restored, { stages: reading });
    await restored.verifyStream(shardId, 'input');
    const [segment] = restored.segments(shardId).filter(({ stream }) => stream === 'input');
    expect(bytesOnDisk(segment?.path ?? '')).toBeLessThan((segment?.committedBytes ?? 0) - wideBytes / 2);
    const [block] = restored.blocks(shardId, 'input');
    const reader = restored.openReader(shardId);
    expect(() => block && reader.table(block, ['wide'])).toThrow(/freed|given back/);
    reader.close();
  });

  it.runIf(canFree)('does not make the place hold again what it holds: its copy stays as it was', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('from');
    await writeInput(scratch, [0, 1], () => Promise.resolve());
    await writeClean(scratch, 2, false);
    await write(checkpoints, scratch, ['input', 'clean']);
    await scratch.freeColumns(shardId, 'input', ['wide']);
    const again = await write(checkpoints, scratch, ['input', 'clean']);
    expect(again.writtenBytes).toBe(0);
    const restored = await fixture.scratch('to', 2);
    const recovery = await recoverInto(fixture.checkpoints(), restored, { stages: reading });
    expect(recovery.refused).toEqual([]);
    await restored.verifyStream(shardId, 'input');
    const columns = living(scratch, 'input');
    expect(seen(restored, 'input', columns)).toEqual(seen(scratch, 'input', columns));
  });

  it.runIf(canFree)('while its segment is copied does not leave a copy that is neither the one nor the other', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('from');
    await writeInput(scratch, [0, 1, 0, 1, 0], () => Promise.resolve());
    await writeClean(scratch, 1, false);
    const writing = write(checkpoints, scratch, ['input', 'clean']);
    await scratch.freeColumns(shardId, 'input', ['wide']);
    await scratch.freeColumns(shardId, 'input', ['name']);
    await writing;
    const restored = await fixture.scratch('to', 2);
    const recovery = await recoverInto(fixture.checkpoints(), restored, { stages: reading });
    expect(recovery.refused).toEqual([]);
    await restored.verifyStream(shardId, 'input');
    const columns = living(scratch, 'input');
    expect(seen(restored, 'input', columns)).toEqual(seen(scratch, 'input', columns));
  });
});
