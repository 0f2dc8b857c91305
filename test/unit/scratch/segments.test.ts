import { copyFileSync, existsSync, statSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { BlockRecord, ColumnRef } from '../../../runtime/contracts/block.js';
import { wholeArrowSegment } from '../../../runtime/scratch/whole.js';
import type { Scratch } from '../../../runtime/scratch/types.js';
import {
  blockOf,
  int32s,
  lineageOf,
  makeScratch,
  memoryDir,
  numbers,
  readColumn,
  rejection,
  run,
  shardId,
  valuesOf,
  writerOf,
} from './helpers.js';

const column = (block: BlockRecord): ColumnRef => {
  const [ref] = block.columns;
  if (!ref) throw new Error('the block has no column');
  return ref;
};

/** `a` holds [1, 2]; `b` refers to it. */
async function referring(scratch: Scratch): Promise<BlockRecord> {
  const a = await writerOf(scratch, 'a', int32s());
  const block = await a.appendTable(2, [{ name: 'n', data: numbers(1, 2) }]);
  await a.seal();
  const b = await writerOf(scratch, 'b', int32s());
  await b.appendTable(2, [{ name: 'n', ref: column(block) }]);
  await b.seal();
  return block;
}

it('frees a segment only when no block of any stream refers to it', async () => {
  const scratch = await makeScratch();
  await referring(scratch);
  const [segment] = scratch.segments(shardId);
  expect(await scratch.dropStream(shardId, 'a')).toBe(0);
  expect(scratch.stream(shardId, 'a')).toBeUndefined();
  expect(readColumn(scratch, 'b', 'n')).toEqual([1, 2]);
  expect(await scratch.dropStream(shardId, 'b')).toBe(4096);
  expect(segment && existsSync(segment.path)).toBe(false);
  expect(scratch.segments(shardId)).toEqual([]);
  expect(scratch.usage().usedBytes).toBe(0);
});

it('refuses a reference to a segment that was freed', async () => {
  const scratch = await makeScratch();
  const a = await writerOf(scratch, 'a', int32s());
  const block = await a.appendTable(2, [{ name: 'n', data: numbers(1, 2) }]);
  await scratch.dropStream(shardId, 'a');
  const b = await writerOf(scratch, 'b', int32s());
  expect(await rejection(b.appendTable(2, [{ name: 'n', ref: column(block) }]))).toMatchObject({
    message: expect.stringContaining('was freed'),
  });
  expect(scratch.stream(shardId, 'b')).toMatchObject({ blocks: 0 });
});

it('spills a sealed stream: its readers go on, new ones read from SSD', async () => {
  const scratch = await makeScratch();
  const block = await referring(scratch);
  const reader = scratch.openReader(shardId);
  const held = reader.column(column(block), 2);
  expect(await scratch.spillStream(shardId, 'a')).toBe(4096);
  expect(await scratch.spillStream(shardId, 'a')).toBe(0);
  expect(scratch.usage()).toMatchObject({ usedBytes: 0, spilledBytes: 4096 });
  expect(valuesOf(held)).toEqual([1, 2]);
  expect(readColumn(scratch, 'b', 'n')).toEqual([1, 2]);
  const [segment] = scratch.segments(shardId);
  expect(segment).toMatchObject({ medium: 'ssd', ended: true });
  const fresh = scratch.openReader(shardId);
  fresh.table(block);
  expect(fresh.read).toEqual({ memory: 0, ssd: 8 });
  await scratch.verifyStream(shardId, 'a');
  await scratch.dropStream(shardId, 'a');
  await scratch.dropStream(shardId, 'b');
  expect(segment && existsSync(segment.path)).toBe(false);
  expect(scratch.usage().spilledBytes).toBe(0);
});

it('does not spill a stream that is still being written', async () => {
  const scratch = await makeScratch();
  const a = await writerOf(scratch, 'a', int32s());
  await a.appendTable(2, [{ name: 'n', data: numbers(1, 2) }]);
  expect(await rejection(scratch.spillStream(shardId, 'a'))).toMatchObject({
    message: expect.stringContaining('still being written'),
  });
});

it('restores a stream from the copied bytes of its segments, into another scratch', async () => {
  const from = await makeScratch();
  await referring(from);
  const segments = from.segments(shardId);
  const to = await makeScratch();
  const restore = (stream: string): Promise<void> => {
    const record = from.stream(shardId, stream);
    if (!record) throw new Error('no stream');
    return to.restoreStream(
      shardId,
      { stream: record, segments, blocks: from.blocks(shardId, stream), progress: { consumed: 1 } },
      async (segment, path) => {
        const source = segments.find(({ id }) => id === segment.id);
        if (source) copyFileSync(source.path, path);
      },
    );
  };
  await restore('b');
  await restore('a');
  expect(readColumn(to, 'a', 'n')).toEqual([1, 2]);
  expect(readColumn(to, 'b', 'n')).toEqual([1, 2]);
  expect(to.progress(shardId, 'a')).toEqual({ consumed: 1 });
  await to.verifyStream(shardId, 'a');
  // One segment for both, counted once, whole for other programs too.
  expect(to.usage().usedBytes).toBe(4096);
  expect(wholeArrowSegment(to, shardId, 'a')).toMatchObject({ container: 'stream' });
  const [segment] = to.segments(shardId);
  expect(segment && statSync(segment.path).size).toBe((segment?.committedBytes ?? 0) + 8);
});

it('goes on behind the last block of a stream that was restored unsealed', async () => {
  const from = await makeScratch();
  const a = await writerOf(from, 'a', int32s());
  await a.appendTable(2, [{ name: 'n', data: numbers(1, 2) }]);
  const [segment] = from.segments(shardId);
  const record = from.stream(shardId, 'a');
  if (!segment || !record) throw new Error('nothing to restore');
  const to = await makeScratch();
  await to.restoreStream(shardId, { stream: record, segments: [segment], blocks: from.blocks(shardId, 'a') }, async (_, path) =>
    copyFileSync(segment.path, path),
  );
  const resumed = await writerOf(to, 'a', int32s());
  await resumed.appendTable(1, [{ name: 'n', data: numbers(3) }]);
  expect(readColumn(to, 'a', 'n')).toEqual([1, 2, 3]);
});

it('puts a restored segment on SSD where memory has no room for it', async () => {
  const from = await makeScratch();
  const a = await writerOf(from, 'a', int32s());
  await a.appendTable(25_000, [{ name: 'n', data: blockOf(100_000) }]);
  await a.seal();
  const record = from.stream(shardId, 'a');
  const [segment] = from.segments(shardId);
  if (!segment || !record) throw new Error('nothing to restore');
  const to = await makeScratch({ sizeBytesMax: 50_000 });
  await to.restoreStream(shardId, { stream: record, segments: [segment], blocks: from.blocks(shardId, 'a') }, async (_, path) =>
    copyFileSync(segment.path, path),
  );
  expect(to.segments(shardId)).toMatchObject([{ medium: 'ssd' }]);
  expect(readColumn(to, 'a', 'n')).toHaveLength(25_000);
});

it('takes nothing of a restore that fails, and keeps what was there', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({}, dir);
  await referring(scratch);
  const record = scratch.stream(shardId, 'a');
  const [held] = scratch.segments(shardId);
  if (!record || !held) throw new Error('nothing to restore');
  const before = { segments: scratch.segments(shardId), usage: scratch.usage().usedBytes };
  const torn = { ...held, id: 'a.0-torn', path: '' };
  const restore = (segments: (typeof torn)[], segmentOfBlock: string): Promise<void> =>
    scratch.restoreStream(
      shardId,
      {
        stream: { ...record, lineage: lineageOf('a', 'v9') },
        segments,
        blocks: scratch
          .blocks(shardId, 'a')
          .map((block) => ({ ...block, extent: { segment: segmentOfBlock, offset: 0, length: 1, crc32: 0 } })),
      },
      async (_, path) => (await import('node:fs')).writeFileSync(path, 'too short'),
    );
  expect(await rejection(restore([torn], torn.id))).toMatchObject({
    code: 'PDL_SCRATCH_CORRUPT',
    message: expect.stringContaining('with 9 of'),
  });
  expect(await rejection(restore([], 'missing'))).toMatchObject({
    code: 'PDL_SCRATCH_CORRUPT',
    message: expect.stringContaining('was not restored'),
  });
  expect({ segments: scratch.segments(shardId), usage: scratch.usage().usedBytes }).toEqual(before);
  expect(scratch.stream(shardId, 'a')?.lineage).toEqual(lineageOf('a'));
});

it('hands out the file of a stream only where the file holds all of it', async () => {
  const scratch = await makeScratch();
  const block = await referring(scratch);
  expect(wholeArrowSegment(scratch, shardId, 'a')).toEqual({ path: scratch.segments(shardId)[0]?.path, container: 'stream' });
  expect(wholeArrowSegment(scratch, shardId, 'b')).toBeUndefined();
  const c = await writerOf(scratch, 'c', [...int32s('taken'), ...int32s('own')]);
  await c.appendTable(2, [
    { name: 'taken', ref: column(block) },
    { name: 'own', data: numbers(3, 4) },
  ]);
  await c.seal();
  expect(wholeArrowSegment(scratch, shardId, 'c')).toBeUndefined();
  const d = await writerOf(scratch, 'd', int32s());
  await d.appendTable(1, [{ name: 'n', data: numbers(1) }]);
  const resumed = await writerOf(scratch, 'd', int32s(), { run: { ...run, runId: 'run-2' } });
  await resumed.appendTable(1, [{ name: 'n', data: numbers(2) }]);
  await resumed.seal();
  expect(wholeArrowSegment(scratch, shardId, 'd')).toBeUndefined();
});
