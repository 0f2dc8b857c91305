import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import {
  columnOf,
  int32s,
  lineageOf,
  makeScratch,
  memoryDir,
  numbers,
  optionsIn,
  readColumn,
  rejection,
  run,
  shardId,
  writerOf,
} from './helpers.js';

const next = { runId: 'run-2', epoch: 1 };
const block = (value: number): { name: string; data: ReturnType<typeof numbers> }[] => [{ name: 'n', data: numbers(value) }];

it('commits a block together with the progress and the counters of its stream', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(2, [{ name: 'n', data: numbers(1, 2) }], { consumed: 1, state: Buffer.from('sum=3') });
  expect(scratch.stream(shardId, 'a')).toMatchObject({ blocks: 1, rows: 2, sealed: false });
  expect(scratch.progress(shardId, 'a')).toEqual({ consumed: 1, state: Buffer.from('sum=3') });
  await writer.commitProgress({ consumed: 2 });
  expect(scratch.progress(shardId, 'a')).toEqual({ consumed: 2 });
  expect(scratch.stream(shardId, 'a')).toMatchObject({ blocks: 1 });
});

it('goes on behind the last committed block, in a segment of its own', async () => {
  const scratch = await makeScratch();
  await (await writerOf(scratch, 'a', int32s())).appendTable(1, block(1), { consumed: 1 });
  const resumed = await writerOf(scratch, 'a', int32s(), { run: next });
  expect(resumed.stream.blocks).toBe(1);
  expect((await resumed.appendTable(1, block(2), { consumed: 2 })).seq).toBe(1);
  expect(readColumn(scratch, 'a', 'n')).toEqual([1, 2]);
  expect(new Set(scratch.segments(shardId).map(({ id }) => id)).size).toBe(2);
});

it.each([
  ['lineage', { lineage: lineageOf('a', 'v2') }],
  ['schema', { schema: int32s('other') }],
  ['kind', { kind: 'bytes' as const, schema: [] }],
  ['wish of its writer', { fresh: true }],
])('replaces a stream of another %s', async (_, more) => {
  const scratch = await makeScratch();
  const before = await writerOf(scratch, 'a', int32s());
  await before.appendTable(1, block(1), { consumed: 1 });
  await before.close();
  const [segment] = scratch.segments(shardId);
  const writer = await writerOf(scratch, 'a', int32s(), { run: next, ...more });
  expect(writer.stream.blocks).toBe(0);
  expect(scratch.blocks(shardId, 'a')).toEqual([]);
  expect(scratch.progress(shardId, 'a')).toBeUndefined();
  expect(segment && existsSync(segment.path)).toBe(false);
  expect(scratch.usage().usedBytes).toBe(0);
});

it('refuses every change by a run that is no longer the current one', async () => {
  const scratch = await makeScratch();
  const old = await writerOf(scratch, 'a', int32s());
  await old.appendTable(1, block(1));
  await writerOf(scratch, 'a', int32s(), { run: next });
  const fenced = expect.objectContaining({ code: 'PDL_RUN_FENCED', message: expect.stringContaining('run-2') });
  expect(await rejection(old.appendTable(1, block(2)))).toEqual(fenced);
  expect(await rejection(old.commitProgress({ consumed: 9 }))).toEqual(fenced);
  expect(await rejection(old.seal())).toEqual(fenced);
  expect(readColumn(scratch, 'a', 'n')).toEqual([1]);
  expect(scratch.progress(shardId, 'a')).toBeUndefined();
});

it('refuses runs of an earlier epoch than the shard is in', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  await scratch.putShard({ shardId, epoch: 2, revision: 1 });
  const fenced = expect.objectContaining({ code: 'PDL_RUN_FENCED' });
  expect(await rejection(writer.appendTable(1, block(1)))).toEqual(fenced);
  expect(await rejection(scratch.beginRun(shardId, 'a', next))).toEqual(fenced);
  expect(await rejection(scratch.putShard({ shardId, epoch: 1, revision: 1 }))).toEqual(fenced);
  await scratch.dropShard(shardId);
  expect(await rejection(scratch.beginRun(shardId, 'a', next))).toMatchObject({ code: 'PDL_SHARD_UNKNOWN' });
});

it('refuses to append to a stream that was dropped under its writer', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(1, block(1));
  await scratch.dropStream(shardId, 'a');
  expect(await rejection(writer.appendTable(1, block(2)))).toMatchObject({ code: 'PDL_RUN_FENCED' });
  expect(scratch.stream(shardId, 'a')).toBeUndefined();
});

it('seals once and for all', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(1, block(1));
  expect(await writer.seal()).toMatchObject({ sealed: true, blocks: 1 });
  expect(await rejection(writer.appendTable(1, block(2)))).toMatchObject({ code: 'PDL_RUN_FENCED' });
  // The stage that sealed and died before it could say so is started again.
  const again = await writerOf(scratch, 'a', int32s(), { run: next });
  expect(await again.seal()).toMatchObject({ sealed: true, blocks: 1 });
  const [segment] = scratch.segments(shardId);
  expect(segment).toMatchObject({ ended: true, medium: 'memory' });
  expect(segment && statSync(segment.path).size).toBe((segment?.committedBytes ?? 0) + 8);
});

it('commits appends in the order of their calls', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  const records = await Promise.all(Array.from({ length: 50 }, (_, value) => writer.appendTable(1, block(value))));
  expect(records.map(({ seq }) => seq)).toEqual(Array.from({ length: 50 }, (_, seq) => seq));
  expect(readColumn(scratch, 'a', 'n')).toEqual(Array.from({ length: 50 }, (_, value) => value));
});

it.each([
  ['a missing column', [], /`n` of stream `a` is missing/],
  [
    'a column that the stream has not',
    [
      { name: 'n', data: numbers(1) },
      { name: 'm', data: numbers(1) },
    ],
    /no column `m`/,
  ],
  ['another type', [{ name: 'n', data: columnOf('int64', [1n]) }], /is int64, where the stream has int32/],
  ['another number of rows', [{ name: 'n', data: numbers(1, 2) }], /2 rows in a block of 1/],
  ['nulls where there may be none', [{ name: 'n', data: columnOf('int32', [null]) }], /1 nulls and is not nullable/],
  ['too few values', [{ name: 'n', data: { ...numbers(1), values: new Int32Array(0) } }], /0 bytes of values/],
])('refuses a block with %s, and changes nothing', async (_, columns, message) => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  expect(await rejection(writer.appendTable(1, columns))).toMatchObject({
    code: 'PDL_STAGE_OUTPUT',
    message: expect.stringMatching(message),
  });
  expect(scratch.usage()).toMatchObject({ usedBytes: 0 });
  expect(await writer.appendTable(1, block(1))).toMatchObject({ seq: 0 });
});

it('goes on with what it held when it is opened again, and says so by its mark', async () => {
  const dir = memoryDir();
  const first = await makeScratch({}, dir);
  const { mark } = first;
  await (await writerOf(first, 'a', int32s())).appendTable(1, block(7));
  await first.close();
  await first.close();
  expect(() => first.shards()).toThrow(expect.objectContaining({ code: 'PDL_SCRATCH_CLOSED' }));
  const again = await openScratch(optionsIn(dir));
  onTestFinished(() => again.close());
  expect(again.mark).toBe(mark);
  expect(readColumn(again, 'a', 'n')).toEqual([7]);
  expect(again.shards()).toEqual([{ shardId, epoch: 1, revision: 1 }]);
});

it('begins anew, empty, where the index is unreadable', async () => {
  const dir = memoryDir();
  const first = await makeScratch({}, dir);
  const { mark } = first;
  await (await writerOf(first, 'a', int32s())).appendTable(1, block(7));
  await first.close();
  const options = optionsIn(dir);
  writeFileSync(join(options.dir, 'index', 'data.mdb'), 'this is not an index');
  expect(await rejection(openScratch({ ...options, role: 'stage' }))).toMatchObject({ code: 'PDL_SCRATCH_CORRUPT' });
  const again = await openScratch(options);
  onTestFinished(() => again.close());
  expect(again.mark).not.toBe(mark);
  expect(again.shards()).toEqual([]);
  expect(readdirSync(join(options.dir, 'shards'))).toEqual([]);
});

it('refuses to be opened by a stage where no owner has made it', async () => {
  expect(await rejection(openScratch(optionsIn(memoryDir(), { role: 'stage' })))).toMatchObject({ code: 'PDL_SCRATCH_CORRUPT' });
});

it('shows a stage what the owner commits, and lets it write under its run but not manage', async () => {
  const dir = memoryDir();
  const owner = await makeScratch({}, dir);
  const stage = await openScratch(optionsIn(dir, { role: 'stage' }));
  onTestFinished(() => stage.close());
  await owner.beginRun(shardId, 'a', run);
  const writer = await stage.openWriter({ shardId, stream: 'a', kind: 'table', schema: int32s(), lineage: lineageOf('a'), run });
  await writer.appendTable(1, block(1));
  await writer.seal();
  expect(readColumn(owner, 'a', 'n')).toEqual([1]);
  expect(await rejection(stage.dropStream(shardId, 'a'))).toMatchObject({ code: 'PDL_INTERNAL' });
});

it('removes files that no record claims when an owner opens it', async () => {
  const dir = memoryDir();
  const first = await makeScratch({}, dir);
  await (await writerOf(first, 'a', int32s())).appendTable(1, block(7));
  const [segment] = first.segments(shardId);
  await first.close();
  const { dir: scratchDir } = optionsIn(dir);
  writeFileSync(join(scratchDir, 'shards', shardId, 'stray'), 'left over');
  const again = await openScratch(optionsIn(dir));
  onTestFinished(() => again.close());
  expect(readdirSync(join(scratchDir, 'shards', shardId))).toEqual([segment?.id]);
});

it('finds a block whose bytes have changed', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(1, block(1));
  await writer.appendTable(1, block(2));
  await scratch.verifyStream(shardId, 'a');
  const [segment] = scratch.segments(shardId);
  const column = scratch.block(shardId, 'a', 1)?.columns[0];
  if (!segment || !column) throw new Error('the block is missing');
  const { openSync, writeSync, closeSync } = await import('node:fs');
  const fd = openSync(segment.path, 'r+');
  writeSync(fd, Buffer.from([99]), 0, 1, column.values.offset);
  closeSync(fd);
  expect(await rejection(scratch.verifyStream(shardId, 'a'))).toMatchObject({
    code: 'PDL_SCRATCH_CORRUPT',
    message: expect.stringMatching(/^block 1 has checksum/),
  });
});

it('forgets a shard with all that belongs to it', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({}, dir);
  await (await writerOf(scratch, 'a', int32s())).appendTable(1, block(1));
  await scratch.putShard({ shardId: 'other', epoch: 1, revision: 1 });
  await scratch.dropShard(shardId);
  expect(scratch.shards().map((shard) => shard.shardId)).toEqual(['other']);
  expect([scratch.streams(shardId), scratch.segments(shardId), scratch.blocks(shardId, 'a')]).toEqual([[], [], []]);
  expect(scratch.usage()).toMatchObject({ usedBytes: 0, spilledBytes: 0 });
  expect(existsSync(join(optionsIn(dir).dir, 'shards', shardId))).toBe(false);
});
