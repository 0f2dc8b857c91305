import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bufferAlignment,
  columnTypes,
  type BlockRecord,
  type ColumnSchema,
  type ColumnType,
} from '../../../runtime/contracts/block.js';
import { itemTypeOf } from '../../../runtime/scratch/arrow/types.js';
import { loadNative } from '../../../runtime/scratch/native.js';
import { eachBufferOf } from '../../../runtime/scratch/table-block.js';
import {
  columnOf,
  int32s,
  makeScratch,
  numbers,
  readColumn,
  samples,
  shardId,
  utf8Of,
  valuesOf,
  writerOf,
  type Value,
} from './helpers.js';

const modes = loadNative().functions ? (['mmap', 'pread'] as const) : (['pread'] as const);

describe.each(modes)('reading with %s', (reads) => {
  it.each(columnTypes)('gives back a column of %s as it was written, nulls included', async (type) => {
    const scratch = await makeScratch({ reads });
    const writer = await writerOf(scratch, 'a', [{ name: 'c', type, nullable: true }]);
    const values = samples[type];
    await writer.appendTable(values.length, [{ name: 'c', data: columnOf(type, values) }]);
    expect(scratch.reads).toBe(reads);
    expect(readColumn(scratch, 'a', 'c')).toEqual(values);
  });

  it('gives back any table', async () => {
    const column = fc
      .constantFrom(...columnTypes)
      .chain((type) => fc.record({ type: fc.constant(type), values: fc.array(valueOf(type), { minLength: 0, maxLength: 70 }) }));
    await fc.assert(
      fc.asyncProperty(fc.array(column, { minLength: 1, maxLength: 6 }), fc.nat(70), async (columns, rowsMax) => {
        const scratch = await makeScratch({ reads });
        const rows = Math.min(rowsMax, ...columns.map(({ values }) => values.length));
        const schema = columns.map(({ type }, index): ColumnSchema => ({ name: `c${index}`, type, nullable: true }));
        const data = columns.map(({ type, values }, index) => ({
          name: `c${index}`,
          data: columnOf(type, values.slice(0, rows)),
        }));
        const writer = await writerOf(scratch, 'a', schema);
        await writer.appendTable(rows, data);
        await writer.appendTable(rows, data);
        await writer.seal();
        for (const [index, { values }] of columns.entries()) {
          const expected = values.slice(0, rows);
          expect(readColumn(scratch, 'a', `c${index}`)).toEqual([...expected, ...expected]);
        }
        await scratch.verifyStream(shardId, 'a');
        await scratch.close();
      }),
      { numRuns: 25 },
    );
  });

  it('sees blocks that were committed after the reader was opened, and keeps the arrays it gave before', async () => {
    const scratch = await makeScratch({ reads });
    const writer = await writerOf(scratch, 'a', int32s());
    const reader = scratch.openReader(shardId);
    const seen: Int32Array[] = [];
    for (let block = 0; block < 40; block += 1) {
      // 1 MiB each: the map of the segment has to grow several times.
      const committed = await writer.appendTable(262_144, [
        { name: 'n', data: { type: 'int32', rows: 262_144, nullCount: 0, values: new Int32Array(262_144).fill(block) } },
      ]);
      seen.push(reader.table(committed).get('n')?.values as Int32Array);
    }
    expect(seen.map((values) => [values[0], values.at(-1)])).toEqual(Array.from({ length: 40 }, (_, block) => [block, block]));
    expect(reader.read).toEqual({ memory: 40 * 1024 * 1024, ssd: 0 });
  });

  it('keeps what a reader writes into its arrays from everybody else', async () => {
    const scratch = await makeScratch({ reads });
    const writer = await writerOf(scratch, 'a', int32s());
    const block = await writer.appendTable(3, [{ name: 'n', data: numbers(1, 2, 3) }]);
    const reader = scratch.openReader(shardId);
    (reader.table(block).get('n')?.values as Int32Array).fill(9);
    expect(readColumn(scratch, 'a', 'n')).toEqual([1, 2, 3]);
    await scratch.verifyStream(shardId, 'a');
  });

  it('does not read after its reader was closed', async () => {
    const scratch = await makeScratch({ reads });
    const writer = await writerOf(scratch, 'a', int32s());
    const block = await writer.appendTable(3, [{ name: 'n', data: numbers(1, 2, 3) }]);
    const reader = scratch.openReader(shardId);
    const values = reader.table(block).get('n')?.values as Int32Array;
    reader.close();
    expect(() => reader.table(block)).toThrow(expect.objectContaining({ code: 'PDL_SCRATCH_CLOSED' }));
    // A map reaches the file no more; a copy is the caller's.
    expect(values.every((value) => value === 0)).toBe(reads === 'mmap');
    reader.close();
  });

  it('gives the payloads of bytes and files', async () => {
    const scratch = await makeScratch({ reads });
    const bytes = await writerOf(scratch, 'raw', [], { kind: 'bytes' });
    await bytes.appendBytes(Buffer.from('one'));
    await bytes.appendBytes(Buffer.from('two'));
    const files = await writerOf(scratch, 'out', [], { kind: 'files' });
    await files.appendFile('a.txt', Buffer.from('A'));
    await files.appendFile('a.txt', Buffer.from('B'));
    await files.appendFile('b.txt', Buffer.alloc(0));
    await files.seal();
    const reader = scratch.openReader(shardId);
    const text = (block: BlockRecord): string => Buffer.from(reader.payload(block)).toString();
    expect(scratch.blocks(shardId, 'raw').map(text)).toEqual(['one', 'two']);
    expect(scratch.blocks(shardId, 'out').map((block) => [block.file, text(block)])).toEqual([
      ['a.txt', 'A'],
      ['a.txt', 'B'],
      ['b.txt', ''],
    ]);
    await scratch.verifyStream(shardId, 'out');
  });
});

it('puts every buffer at a multiple of the alignment, and the extents without gaps', async () => {
  const scratch = await makeScratch();
  const schema = columnTypes.map((type): ColumnSchema => ({ name: type, type, nullable: true }));
  const writer = await writerOf(scratch, 'a', schema);
  for (let block = 0; block < 3; block += 1) {
    await writer.appendTable(
      3,
      columnTypes.map((type) => ({ name: type, data: columnOf(type, samples[type].slice(0, 3)) })),
    );
  }
  let end = 0;
  for (const block of scratch.blocks(shardId, 'a')) {
    expect(block.extent?.offset).toBe(end);
    end += block.extent?.length ?? 0;
    for (const column of block.columns) {
      eachBufferOf(column, ({ offset }) => expect(offset % bufferAlignment).toBe(0));
    }
  }
  expect(scratch.segments(shardId).map((segment) => segment.committedBytes)).toEqual([end]);
});

it('writes an unchanged dictionary once, and gives it as one object', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'a', [{ name: 'd', type: 'dictionary', nullable: false }]);
  const append = (words: string[]): Promise<BlockRecord> =>
    writer.appendTable(2, [
      { name: 'd', data: { type: 'dictionary', rows: 2, nullCount: 0, values: Int32Array.of(1, 0), dictionary: utf8Of(words) } },
    ]);
  const blocks = [await append(['x', 'y']), await append(['x', 'y']), await append(['x', 'z'])];
  const offsets = blocks.map((block) => block.columns[0]?.dictionary?.values.offset);
  expect(offsets[0]).toBe(offsets[1]);
  expect(offsets[2]).not.toBe(offsets[1]);
  const reader = scratch.openReader(shardId);
  const read = blocks.map((block) => reader.table(block).get('d'));
  expect(read[0]?.dictionary).toBe(read[1]?.dictionary);
  expect(read.flatMap((data) => (data ? valuesOf(data) : []))).toEqual(['y', 'x', 'y', 'x', 'z', 'x']);
});

it('takes a column from another stream without writing it', async () => {
  const scratch = await makeScratch();
  const first = await writerOf(scratch, 'a', int32s());
  const source = await first.appendTable(3, [{ name: 'n', data: numbers(1, 2, 3) }]);
  const ref = source.columns[0];
  if (!ref) throw new Error('the block has no column');
  const second = await writerOf(scratch, 'b', [...int32s('renamed'), ...int32s('own')]);
  const mixed = await second.appendTable(3, [
    { name: 'own', data: numbers(4, 5, 6) },
    { name: 'renamed', ref },
  ]);
  expect(mixed.columns.map((column) => [column.name, column.values.segment === source.extent?.segment])).toEqual([
    ['renamed', true],
    ['own', false],
  ]);
  expect(readColumn(scratch, 'b', 'renamed')).toEqual([1, 2, 3]);
  const third = await writerOf(scratch, 'c', int32s());
  expect(await third.appendTable(3, [{ name: 'n', ref }])).not.toHaveProperty('extent');
  expect(third.written).toEqual({ memory: 0, ssd: 0 });
  expect(await third.seal()).toMatchObject({ blocks: 1, rows: 3, bytes: 0 });
});

function valueOf(type: ColumnType): fc.Arbitrary<Value> {
  const item = itemTypeOf(type);
  if (item) return fc.option(fc.array(valueOf(item), { maxLength: 5 }), { nil: null, freq: 5 });
  const range: Partial<Record<ColumnType, [number, number]>> = {
    int8: [-128, 127],
    int16: [-32768, 32767],
    int32: [-(2 ** 31), 2 ** 31 - 1],
    date32: [-(2 ** 31), 2 ** 31 - 1],
    uint8: [0, 255],
    uint16: [0, 65535],
    uint32: [0, 2 ** 32 - 1],
  };
  const [min, max] = range[type] ?? [0, 0];
  const some: fc.Arbitrary<Value> =
    range[type] !== undefined
      ? fc.integer({ min, max })
      : type === 'bool'
        ? fc.boolean()
        : type === 'utf8' || type === 'dictionary'
          ? fc.string({ unit: 'grapheme', maxLength: 12 })
          : type === 'float32'
            ? fc.float()
            : type === 'float64'
              ? fc.double()
              : type === 'uint64'
                ? fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
                : fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  return fc.option(some, { nil: null, freq: 5 });
}
