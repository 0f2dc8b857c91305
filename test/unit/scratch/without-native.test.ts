/** The scratch on a machine that no prebuild fits: everything but maps, and pages given back. */
import { expect, it, onTestFinished, vi } from 'vitest';
import { crc32 as zlibCrc32 } from 'node:zlib';
import { crc32 } from '../../../runtime/scratch/checksum.js';
import { int32s, lineageOf, makeScratch, numbers, readColumn, run, shardId, writerOf } from './helpers.js';

vi.mock('../../../runtime/scratch/native.js', () => ({
  loadNative: () => ({ reason: 'there is none in this test' }),
  defaultReads: () => ({ reads: 'pread', reason: 'there is none in this test' }),
}));

it('reads copies and computes checksums with zlib', async () => {
  const scratch = await makeScratch({ reads: 'mmap' });
  expect(scratch.reads).toBe('pread');
  expect(crc32(Buffer.from('abc'))).toBe(zlibCrc32(Buffer.from('abc')));
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(2, [{ name: 'n', data: numbers(1, 2) }]);
  await writer.seal();
  expect(readColumn(scratch, 'a', 'n')).toEqual([1, 2]);
  await scratch.verifyStream(shardId, 'a');
});

it('writes what lies in room that was asked for, which is ordinary memory', async () => {
  const scratch = await makeScratch();
  const request = { shardId, stream: 'a', kind: 'bytes' as const, schema: [], lineage: lineageOf('a'), run };
  const writer = await writerOf(scratch, 'a', [], request);
  const part = scratch.openPart(request);
  const room = part.allocate(5);
  room.set(Buffer.from('hello'));
  const [block] = await writer.commitWritten([part.writeBytes(room.subarray(1))]);
  part.close();
  const reader = scratch.openReader(shardId);
  onTestFinished(() => reader.close());
  expect(block && Buffer.from(reader.payload(block)).toString()).toBe('ello');
  await scratch.verifyStream(shardId, 'a');
});

it('frees no columns, and says so by giving back nothing', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', int32s());
  await writer.appendTable(5_000, [{ name: 'n', data: numbers(...Array.from({ length: 5_000 }, (_, row) => row)) }]);
  await writer.seal();
  expect(await scratch.freeColumns(shardId, 'a', ['n'])).toBe(0);
  expect(readColumn(scratch, 'a', 'n')).toHaveLength(5_000);
  expect(scratch.stream(shardId, 'a')?.freed).toBeUndefined();
});

it('gives back what a fenced writer had reserved', async () => {
  const scratch = await makeScratch();
  const old = await writerOf(scratch, 'a', int32s());
  await old.appendTable(1, [{ name: 'n', data: numbers(1) }]);
  const successor = await writerOf(scratch, 'a', int32s(), { run: { runId: 'run-2', epoch: 1 } });
  expect(scratch.usage().usedBytes).toBe(4096);
  await successor.appendTable(1, [{ name: 'n', data: numbers(2) }]);
  await successor.seal();
  await old.close();
  expect(readColumn(scratch, 'a', 'n')).toEqual([1, 2]);
  expect(scratch.usage().usedBytes).toBe(2 * 4096);
});
