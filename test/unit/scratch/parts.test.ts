import { statSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { BlockRecord } from '../../../runtime/contracts/block.js';
import { loadNative } from '../../../runtime/scratch/native.js';
import type { PartWriter, Scratch, StreamWriter, WriterRequest, WrittenBlock } from '../../../runtime/scratch/types.js';
import { wholeArrowSegment } from '../../../runtime/scratch/whole.js';
import { blockOf, int32s, lineageOf, makeScratch, numbers, readColumn, rejection, run, shardId, writerOf } from './helpers.js';

const next = { runId: 'run-2', epoch: 1 };
const modes = loadNative().functions ? (['mmap', 'pread'] as const) : (['pread'] as const);
const column = (...values: number[]): { name: string; data: ReturnType<typeof numbers> }[] => [
  { name: 'n', data: numbers(...values) },
];
const thrown = (action: () => unknown): unknown => {
  try {
    return action();
  } catch (error) {
    return error;
  }
};

interface Shared {
  writer: StreamWriter;
  part: () => PartWriter;
}
/** A stream with one that commits, and parts as they are asked for. */
async function shared(scratch: Scratch, more: Partial<WriterRequest> = {}): Promise<Shared> {
  const request: WriterRequest = {
    shardId,
    stream: 'a',
    kind: 'table',
    schema: more.kind === 'bytes' ? [] : int32s(),
    lineage: lineageOf('a'),
    run,
    ...more,
  };
  const writer = await writerOf(scratch, 'a', request.schema, request);
  return {
    writer,
    part: () => {
      const part = scratch.openPart(request);
      onTestFinished(() => part.close());
      return part;
    },
  };
}
const bytesOf = (scratch: Scratch, stream = 'a'): string[] => {
  const reader = scratch.openReader(shardId);
  try {
    return scratch.blocks(shardId, stream).map((block) => Buffer.from(reader.payload(block)).toString());
  } finally {
    reader.close();
  }
};

describe('parts of a stream', () => {
  it('write blocks that one commits in the order of the stream, several in one transaction', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch);
    const [one, two] = [part(), part()];
    const blocks = [one.writeTable(1, column(0)), two.writeTable(1, column(1)), one.writeTable(2, column(2, 2))];
    expect(scratch.stream(shardId, 'a')).toMatchObject({ blocks: 0, rows: 0 });
    expect(scratch.segments(shardId)).toEqual([]);
    const records = await writer.commitWritten(structuredClone(blocks), { consumed: 3 });
    expect(records.map(({ seq }) => seq)).toEqual([0, 1, 2]);
    expect(scratch.blocks(shardId, 'a')).toEqual(records);
    expect(records.every((record) => !('segment' in record))).toBe(true);
    expect(readColumn(scratch, 'a', 'n')).toEqual([0, 1, 2, 2]);
    expect(scratch.progress(shardId, 'a')).toEqual({ consumed: 3 });
    one.close();
    two.close();
    expect(await writer.seal()).toMatchObject({ blocks: 3, rows: 4 });
    expect(scratch.segments(shardId).map(({ ended }) => ended)).toEqual([true, true]);
    await scratch.verifyStream(shardId, 'a');
    const pages = scratch.segments(shardId).reduce((sum, { path }) => sum + Math.ceil(statSync(path).size / 4096) * 4096, 0);
    expect(scratch.usage().usedBytes).toBe(pages);
  });

  it('may be closed before their blocks are committed', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch);
    const one = part();
    const written = one.writeTable(2, column(1, 2));
    one.close();
    one.close();
    await writer.commitWritten([written]);
    await writer.seal();
    expect(readColumn(scratch, 'a', 'n')).toEqual([1, 2]);
    expect(wholeArrowSegment(scratch, shardId, 'a')).toMatchObject({ container: 'stream' });
    expect(thrown(() => one.writeTable(1, column(3)))).toMatchObject({ code: 'PDL_SCRATCH_CLOSED' });
  });

  it('that wrote nothing leave nothing', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch);
    part().close();
    await writer.seal();
    expect(scratch.usage().usedBytes).toBe(0);
  });

  it('are refused a commit of blocks in another order than they were written in, which changes nothing', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch);
    const one = part();
    const blocks = [one.writeTable(1, column(0)), one.writeTable(1, column(1))] as [WrittenBlock, WrittenBlock];
    const before = scratch.usage();
    expect(await rejection(writer.commitWritten(blocks.toReversed()))).toMatchObject({ code: 'PDL_RUN_FENCED' });
    expect([scratch.stream(shardId, 'a')?.blocks, scratch.usage()]).toEqual([0, before]);
    await writer.commitWritten(blocks);
    expect(await rejection(writer.commitWritten(blocks))).toMatchObject({ code: 'PDL_RUN_FENCED' });
    expect(readColumn(scratch, 'a', 'n')).toEqual([0, 1]);
  });

  it('are refused for a run that is not the current one, and for a stream that is not there', async () => {
    const scratch = await makeScratch();
    const { part } = await shared(scratch);
    await scratch.beginRun(shardId, 'a', next);
    expect(thrown(part)).toMatchObject({ code: 'PDL_RUN_FENCED' });
    await scratch.beginRun(shardId, 'b', run);
    expect(
      thrown(() => scratch.openPart({ shardId, stream: 'b', kind: 'table', schema: int32s(), lineage: lineageOf('b'), run })),
    ).toMatchObject({ code: 'PDL_RUN_FENCED' });
  });

  it('give back what they reserved when a block finds no room, and take it when there is some', async () => {
    const scratch = await makeScratch({ sizeBytesMax: 256 * 1024 });
    const { writer, part } = await shared(scratch);
    const one = part();
    const written = one.writeTable(1, column(1));
    const before = scratch.usage();
    const big = [{ name: 'n', data: blockOf(400_000) }];
    expect(thrown(() => one.writeTable(100_000, big))).toMatchObject({ code: 'PDL_SCRATCH_FULL' });
    expect(scratch.usage()).toEqual(before);
    one.useMedium('ssd');
    await writer.commitWritten([written, one.writeTable(100_000, big)]);
    expect(scratch.segments(shardId).map(({ medium }) => medium)).toEqual(['memory', 'ssd']);
    await scratch.verifyStream(shardId, 'a');
  });
});

describe('a run that was fenced', () => {
  it('writes nothing more that counts, and gives back what it reserved', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch);
    const old = part();
    await writer.commitWritten([old.writeTable(2, column(1, 2))]);
    const late = old.writeTable(2, column(3, 4));
    const [held] = scratch.segments(shardId);
    const successor = await writerOf(scratch, 'a', int32s(), { run: next });
    expect(await rejection(writer.commitWritten([late]))).toMatchObject({ code: 'PDL_RUN_FENCED' });
    expect(scratch.usage().usedBytes).toBe(4096);
    // Its own room is still there for it to write to, but no more is given.
    expect(thrown(() => old.writeTable(2_000_000, [{ name: 'n', data: blockOf(8_000_000) }]))).toMatchObject({
      code: 'PDL_RUN_FENCED',
    });
    await successor.appendTable(1, column(5));
    old.close();
    await successor.seal();
    expect(readColumn(scratch, 'a', 'n')).toEqual([1, 2, 5]);
    await scratch.verifyStream(shardId, 'a');
    expect(scratch.segments(shardId).map(({ committedBytes }) => committedBytes)).toContain(held?.committedBytes);
    expect(scratch.usage().usedBytes).toBe(2 * 4096);
  });

  it('cannot have a block committed by its successor', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch);
    const old = part();
    await writer.commitWritten([old.writeTable(1, column(1))]);
    const late = old.writeTable(1, column(2));
    const successor = await writerOf(scratch, 'a', int32s(), { run: next, fresh: true });
    expect(await rejection(successor.commitWritten([late]))).toMatchObject({ code: 'PDL_RUN_FENCED' });
    expect(scratch.blocks(shardId, 'a')).toEqual([]);
  });
});

it('undoes what it wrote for a block that could not be committed', async () => {
  const scratch = await makeScratch();
  const source = await writerOf(scratch, 'source', int32s());
  const { columns } = await source.appendTable(1, column(1));
  await scratch.dropStream(shardId, 'source');
  const writer = await writerOf(scratch, 'a', [
    ...int32s('n'),
    { name: 'd', type: 'dictionary', nullable: false },
    ...int32s('r'),
  ]);
  const words = { length: 1, offsets: Int32Array.of(0, 1), values: Buffer.from('x') };
  const dictionary = { type: 'dictionary' as const, rows: 1, nullCount: 0, values: Int32Array.of(0), dictionary: words };
  const own = [...column(1), { name: 'd', data: dictionary }];
  const ref = columns[0];
  if (!ref) throw new Error('the block has no column');
  expect(await rejection(writer.appendTable(1, [...own, { name: 'r', ref }]))).toMatchObject({
    message: expect.stringContaining('freed'),
  });
  const block = await writer.appendTable(1, [...own, { name: 'r', data: numbers(3) }]);
  expect(block.extent?.offset).toBe(0);
  expect(readColumn(scratch, 'a', 'd')).toEqual(['x']);
  await scratch.verifyStream(shardId, 'a');
});

it('refers to a payload of another stream without writing it', async () => {
  const scratch = await makeScratch();
  const source = await writerOf(scratch, 'source', [], { kind: 'bytes' });
  const { payload } = await source.appendBytes(Buffer.from('stays'));
  const { payload: empty } = await source.appendBytes(new Uint8Array(0));
  const writer = await writerOf(scratch, 'a', [], { kind: 'bytes' });
  if (!payload || !empty) throw new Error('a block has no payload');
  expect(await writer.appendPayloadRef(payload, { consumed: 1 })).not.toHaveProperty('extent');
  await writer.appendPayloadRef(empty, { consumed: 2 });
  expect(writer.written).toEqual({ memory: 0, ssd: 0 });
  await writer.seal();
  await scratch.dropStream(shardId, 'source');
  expect(bytesOf(scratch)).toEqual(['stays', '']);
  expect(scratch.progress(shardId, 'a')).toEqual({ consumed: 2 });
});

describe.each(modes)('a reader with %s', (reads) => {
  it('reaches no byte that is not committed', async () => {
    const scratch = await makeScratch({ reads });
    const { writer, part } = await shared(scratch, { kind: 'bytes' });
    const one = part();
    const [first] = await writer.commitWritten([one.writeBytes(Buffer.from('committed'))]);
    one.writeBytes(Buffer.from('secret'));
    const room = one.allocate(64);
    room.fill(0x21);
    const reader = scratch.openReader(shardId);
    onTestFinished(() => reader.close());
    const read = reader.payload(first as BlockRecord);
    expect(Buffer.from(read.buffer).toString()).toBe('committed');
    // Who makes up a block gets nothing either.
    const segment = first?.payload?.segment ?? '';
    const madeUp = { seq: 1, rows: 0, columns: [], payload: { segment, offset: 9, length: 6 } };
    expect(thrown(() => reader.payload(madeUp))).toMatchObject({ code: 'PDL_SCRATCH_CORRUPT' });
    await writer.commitWritten([one.writeBytes(Buffer.from('x'))]).catch(() => undefined);
    expect(thrown(() => reader.payload(madeUp))).toMatchObject({ code: 'PDL_SCRATCH_CORRUPT' });
  });
});

describe.runIf(loadNative().functions !== undefined)('room that is given out in the scratch itself', () => {
  it('becomes a block without a copy, and is taken away then', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch, { kind: 'bytes' });
    const one = part();
    const room = one.allocate(11);
    room.set(Buffer.from('hello world'));
    const written = one.writeBytes(room);
    expect(room).toEqual(new Uint8Array(11));
    room.fill(9);
    expect(scratch.blocks(shardId, 'a')).toEqual([]);
    await writer.commitWritten([written]);
    expect(bytesOf(scratch)).toEqual(['hello world']);
    await scratch.verifyStream(shardId, 'a');
  });

  it('may be used in part: the extents stay without gaps', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch, { kind: 'bytes' });
    const one = part();
    const blocks = [one.writeBytes(Buffer.from('odd'))];
    const room = one.allocate(100);
    room.fill(0x2e).set(Buffer.from('middle'), 10);
    blocks.push(one.writeBytes(room.subarray(10, 16)));
    const other = one.allocate(5);
    other.set(Buffer.from('start'));
    blocks.push(one.writeBytes(other.subarray(0, 2)), one.writeBytes(Buffer.from('copied')));
    await writer.commitWritten(blocks);
    expect(bytesOf(scratch)).toEqual(['odd', 'middle', 'st', 'copied']);
    const extents = scratch.blocks(shardId, 'a').map(({ extent }) => extent);
    expect(extents.map((extent) => extent?.offset)).toEqual([
      0,
      ...extents.slice(0, -1).map((extent) => (extent?.offset ?? 0) + (extent?.length ?? 0)),
    ]);
    await scratch.verifyStream(shardId, 'a');
  });

  it('begins at a multiple of 64 in the file, so that words in it are aligned', async () => {
    const scratch = await makeScratch();
    const { part } = await shared(scratch, { kind: 'bytes' });
    const one = part();
    one.writeBytes(Buffer.from('odd'));
    const words = new Float64Array(one.allocate(80).buffer);
    words.fill(Math.PI);
    expect(one.writeBytes(new Uint8Array(words.buffer)).payload?.offset).toBe(64);
  });

  it('is taken away when other room is asked for, when a copy is written, and when the part is closed', async () => {
    const scratch = await makeScratch();
    const { part } = await shared(scratch, { kind: 'bytes' });
    const one = part();
    const rooms = [one.allocate(10)];
    rooms.push(one.allocate(20));
    for (const room of rooms) room.fill(1);
    const refused = expect.objectContaining({ code: 'PDL_STAGE_OUTPUT' }) as Error;
    expect(() => one.writeBytes(rooms[0] as Uint8Array)).toThrow(refused);
    one.writeBytes(Buffer.from('copied'));
    expect(() => one.writeBytes(rooms[1] as Uint8Array)).toThrow(refused);
    rooms.push(one.allocate(30).fill(1));
    one.close();
    expect(rooms[2]).toEqual(new Uint8Array(30));
  });

  it('is written where it lies, though the next block is to go elsewhere', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch, { kind: 'bytes' });
    const one = part();
    const room = one.allocate(4);
    room.set(Buffer.from('here'));
    one.useMedium('ssd');
    await writer.commitWritten([one.writeBytes(room), one.writeBytes(Buffer.from('there'))]);
    expect(bytesOf(scratch)).toEqual(['here', 'there']);
    expect(scratch.segments(shardId).map(({ medium }) => medium)).toEqual(['memory', 'ssd']);
  });

  it('is refused once it was taken away, instead of being an empty block', async () => {
    const scratch = await makeScratch();
    const { part } = await shared(scratch, { kind: 'bytes' });
    const one = part();
    const room = one.allocate(4);
    one.writeBytes(room);
    expect(thrown(() => one.writeBytes(room))).toMatchObject({
      code: 'PDL_STAGE_OUTPUT',
      message: expect.stringMatching(/was taken back/),
    });
  });

  it('does not let a fenced run change what is committed, nor take room that its successor counts on', async () => {
    const scratch = await makeScratch();
    const { writer, part } = await shared(scratch, { kind: 'bytes' });
    const old = part();
    await writer.commitWritten([old.writeBytes(Buffer.from('committed'))]);
    const room = old.allocate(100_000);
    const successor = await writerOf(scratch, 'a', [], { kind: 'bytes', run: next });
    // The whole buffer, not only the view, is the room that it was given.
    new Uint8Array(room.buffer).fill(0xff);
    await successor.appendBytes(Buffer.from('later'));
    room.fill(0xee);
    expect(bytesOf(scratch)).toEqual(['committed', 'later']);
    const late = old.writeBytes(room);
    expect(await rejection(writer.commitWritten([late]))).toMatchObject({ code: 'PDL_RUN_FENCED' });
    const segments = scratch.segments(shardId);
    expect(new Set(segments.map(({ id }) => id)).size).toBe(2);
    old.close();
    await successor.seal();
    expect(bytesOf(scratch)).toEqual(['committed', 'later']);
    await scratch.verifyStream(shardId, 'a');
    expect(scratch.usage().usedBytes).toBe(2 * 4096);
    for (const { path } of segments) expect(statSync(path).blocks * 512).toBeLessThanOrEqual(2 * 4096);
  });
});

it('gives ordinary memory as room where the stream lies in none', async () => {
  const scratch = await makeScratch();
  const { writer, part } = await shared(scratch, { kind: 'bytes' });
  const one = part();
  expect(one.allocate(0)).toHaveLength(0);
  await writer.commitWritten([one.writeBytes(one.allocate(0))]);
  expect(bytesOf(scratch)).toEqual(['']);
  expect(thrown(() => one.writeTable(1, column(1)))).toMatchObject({ code: 'PDL_STAGE_OUTPUT' });
});
