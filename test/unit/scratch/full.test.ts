import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { wholePages } from '../../../runtime/scratch/accounts.js';
import { needs } from '../../support/require.js';
import {
  blockOf,
  int32s,
  lineageOf,
  makeScratch,
  memoryDir,
  optionsIn,
  readColumn,
  rejection,
  run,
  shardId,
  writerOf,
} from './helpers.js';

const MiB = 1024 * 1024;
const column = (bytes: number): { name: string; data: ReturnType<typeof blockOf> }[] => [{ name: 'n', data: blockOf(bytes) }];

it('says that it is full before anything is changed, and takes the same block when there is room again', async () => {
  const scratch = await makeScratch({ sizeBytesMax: 4 * MiB });
  const old = await writerOf(scratch, 'old', int32s());
  await old.appendTable(MiB / 2, column(2 * MiB));
  await old.seal();
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(MiB / 4, column(MiB), { consumed: 1 });
  const before = { usage: scratch.usage(), stream: scratch.stream(shardId, 'a') };
  const full = await rejection(writer.appendTable(MiB / 2, column(2 * MiB), { consumed: 2 }));
  expect(full).toMatchObject({
    code: 'PDL_SCRATCH_FULL',
    retry: 'later',
    message: expect.stringContaining(`of ${4 * MiB} bytes`),
  });
  expect({ usage: scratch.usage(), stream: scratch.stream(shardId, 'a') }).toEqual(before);
  expect(scratch.progress(shardId, 'a')).toEqual({ consumed: 1 });
  expect(await scratch.dropStream(shardId, 'old')).toBeGreaterThanOrEqual(2 * MiB);
  expect(await writer.appendTable(MiB / 2, column(2 * MiB), { consumed: 2 })).toMatchObject({ seq: 1 });
  expect(readColumn(scratch, 'a', 'n')).toHaveLength(3 * (MiB / 4));
});

it('commits nothing that was called behind a block that failed', async () => {
  const scratch = await makeScratch({ sizeBytesMax: 2 * MiB });
  const writer = await writerOf(scratch, 'a', int32s());
  const calls = [25_000, MiB, 25_000].map((rows) => writer.appendTable(rows, column(4 * rows)));
  expect((await Promise.allSettled(calls)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
  // Called after the failure was known: the caller has decided to go on.
  expect(await writer.appendTable(25_000, column(100_000))).toMatchObject({ seq: 1 });
});

it('never counts more than its bound, and remembers the peak', async () => {
  const scratch = await makeScratch({ sizeBytesMax: 2 * MiB });
  const writers = await Promise.all(['a', 'b', 'c'].map((stream) => writerOf(scratch, stream, int32s())));
  const appends = Array.from(
    { length: 40 },
    (_, index) => writers[index % 3]?.appendTable(25_000, column(100_000)) ?? Promise.resolve(),
  );
  const rejected = (await Promise.allSettled(appends)).filter(({ status }) => status === 'rejected');
  expect(rejected.length).toBeGreaterThan(0);
  expect(scratch.usage().peakBytes).toBeLessThanOrEqual(2 * MiB);
  expect(scratch.usage().peakBytes).toBeGreaterThan(MiB);
  for (const stream of ['a', 'b', 'c']) await scratch.dropStream(shardId, stream);
  expect(scratch.usage()).toMatchObject({ usedBytes: 0 });
});

it('goes on on SSD when it is told to, in the same stream', async () => {
  const scratch = await makeScratch({ sizeBytesMax: 2 * MiB });
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(MiB / 4, column(MiB));
  expect(await rejection(writer.appendTable(MiB / 2, column(2 * MiB)))).toMatchObject({ code: 'PDL_SCRATCH_FULL' });
  writer.useMedium('ssd');
  await writer.appendTable(MiB / 2, column(2 * MiB));
  await writer.seal();
  expect(scratch.segments(shardId).map(({ medium }) => medium)).toEqual(['memory', 'ssd']);
  expect(writer.written.ssd).toBeGreaterThanOrEqual(2 * MiB);
  expect(readColumn(scratch, 'a', 'n')).toHaveLength(3 * (MiB / 4));
  expect(scratch.usage().spilledBytes).toBeGreaterThanOrEqual(2 * MiB);
  await scratch.dropStream(shardId, 'a');
  expect(scratch.usage()).toMatchObject({ usedBytes: 0, spilledBytes: 0 });
});

it('leaves no file of a segment that never got a block', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({ sizeBytesMax: MiB }, dir);
  const writer = await writerOf(scratch, 'a', int32s());
  expect(await rejection(writer.appendTable(MiB / 2, column(2 * MiB)))).toMatchObject({ code: 'PDL_SCRATCH_FULL' });
  writer.useMedium('ssd');
  await writer.appendTable(MiB / 2, column(2 * MiB));
  await writer.close();
  const { spillDir } = optionsIn(dir);
  expect(scratch.segments(shardId)).toHaveLength(1);
  expect(readdirSync(join(spillDir, shardId))).toHaveLength(1);
});

needs('root').it('leaves no file of a segment whose first block found the disk full', async () => {
  const dir = memoryDir();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'podline-test', dir]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', dir]);
  });
  const scratch = await makeScratch({ sizeBytesMax: 1024 * MiB }, dir);
  const writer = await writerOf(scratch, 'a', int32s());
  expect(await rejection(writer.appendTable(2 * MiB, column(8 * MiB)))).toMatchObject({ code: 'PDL_SCRATCH_FULL' });
  await writer.close();
  expect(readdirSync(join(optionsIn(dir).dir, 'shards', shardId))).toEqual([]);
  expect(scratch.usage().usedBytes).toBe(0);
});

it('gives back what a dead writer had reserved when its successor opens the stream', async () => {
  const scratch = await makeScratch();
  const dead = await writerOf(scratch, 'a', int32s());
  await dead.appendTable(1, [{ name: 'n', data: blockOf(4) }]);
  const reserved = scratch.usage().usedBytes;
  await writerOf(scratch, 'a', int32s(), { run: { runId: 'run-2', epoch: run.epoch } });
  const [segment] = scratch.segments(shardId);
  expect(scratch.usage().usedBytes).toBe(wholePages(segment?.committedBytes ?? 0));
  expect(scratch.usage().usedBytes).toBeLessThan(reserved);
});

needs('root').it('turns a really full tmpfs into the same error, and can still drop what fills it', async () => {
  const dir = memoryDir();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'podline-test', dir]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', dir]);
  });
  // The bound promises more than the file system has.
  const scratch = await makeScratch({ sizeBytesMax: 1024 * MiB }, dir);
  const first = await writerOf(scratch, 'first', int32s());
  await first.appendTable(MiB / 2, column(2 * MiB));
  await first.seal();
  const writer = await writerOf(scratch, 'a', int32s());
  let blocks = 0;
  let error: unknown;
  while (error === undefined && blocks < 100) {
    try {
      await writer.appendTable(MiB / 4, column(MiB), { consumed: blocks + 1 });
      blocks += 1;
    } catch (thrown) {
      error = thrown;
    }
  }
  expect(error).toMatchObject({ code: 'PDL_SCRATCH_FULL', message: expect.stringContaining('ENOSPC') });
  expect(blocks).toBeGreaterThan(5);
  expect(scratch.stream(shardId, 'a')).toMatchObject({ blocks });
  expect(scratch.progress(shardId, 'a')).toEqual({ consumed: blocks });
  await scratch.verifyStream(shardId, 'a');
  // Small blocks until the very last page is taken: then the index too has to do without new ones.
  let small: unknown;
  while (small === undefined)
    small = await writer.appendTable(1024, [{ name: 'n', data: blockOf(4096) }]).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
  expect(small).toMatchObject({ code: 'PDL_SCRATCH_FULL' });
  await scratch.dropStream(shardId, 'first');
  expect(await writer.appendTable(MiB / 4, column(MiB))).toMatchObject({ rows: MiB / 4 });
  await scratch.verifyStream(shardId, 'a');
});

needs('root').it('says that a tmpfs is full when room in it is asked for, and never ends the process instead', async () => {
  const dir = memoryDir();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'podline-test', dir]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', dir]);
  });
  const scratch = await makeScratch({ sizeBytesMax: 1024 * MiB }, dir);
  const request = { shardId, stream: 'a', kind: 'bytes' as const, schema: [], lineage: lineageOf('a'), run };
  const writer = await writerOf(scratch, 'a', [], request);
  const part = scratch.openPart(request);
  onTestFinished(() => part.close());
  expect(() => part.allocate(64 * MiB)).toThrow(expect.objectContaining({ code: 'PDL_SCRATCH_FULL' }));
  expect(scratch.usage().usedBytes).toBe(0);
  let blocks = 0;
  for (;;) {
    try {
      // Every byte of what was given is written: it is there, or it is not given.
      const room = part.allocate(MiB);
      room.fill(blocks + 1);
      await writer.commitWritten([part.writeBytes(room)], { consumed: (blocks += 1) });
    } catch (error) {
      expect(error).toMatchObject({ code: 'PDL_SCRATCH_FULL', message: expect.stringContaining('ENOSPC') });
      break;
    }
  }
  expect(blocks).toBeGreaterThan(5);
  await scratch.verifyStream(shardId, 'a');
  // A reader of what is committed finds no page that is not there.
  const reader = scratch.openReader(shardId);
  onTestFinished(() => reader.close());
  const sums = scratch.blocks(shardId, 'a').map((block) => reader.payload(block).every((byte) => byte === block.seq + 1));
  expect(sums).toEqual(Array.from({ length: blocks }, () => true));
});
