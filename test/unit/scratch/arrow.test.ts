import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { columnTypes, itemTypes, type ColumnSchema, type ColumnType, type ScalarType } from '../../../runtime/contracts/block.js';
import { arrowSchemaInPlace } from '../../../runtime/scratch/adopt.js';
import { readArrowBlocks } from '../../../runtime/scratch/arrow/file-reader.js';
import { writeArrowFile, type ArrowBlock } from '../../../runtime/scratch/arrow/file-writer.js';
import { arrowContainer } from '../../../runtime/scratch/arrow/walk.js';
import { wholeArrowSegment } from '../../../runtime/scratch/whole.js';
import { needs, python } from '../../support/require.js';
import {
  columnOf,
  int32s,
  makeScratch,
  memoryDir,
  numbers,
  readColumn,
  rejection,
  shardId,
  utf8Of,
  valuesOf,
  writerOf,
  type Value,
} from './helpers.js';

const scalarSample: Record<ScalarType, Value[]> = {
  int8: [1, null, -1],
  int16: [1, null, -1],
  int32: [1, null, -1],
  int64: [1n, null, -1n],
  uint8: [1, null, 2],
  uint16: [1, null, 2],
  uint32: [1, null, 2],
  uint64: [1n, null, 2n],
  float32: [1.5, null, -1],
  float64: [1.5, null, -1],
  bool: [true, null, false],
  utf8: ['ä', null, ''],
  dictionary: ['y', null, 'x'],
  'timestamp[ms]': [1_000n, null, -1_000n],
  'timestamp[us]': [1_000_000n, null, -1_000_000n],
  date32: [1, null, -1],
};
const sample = {
  ...scalarSample,
  ...Object.fromEntries(itemTypes.map((type) => [`list<${type}>`, [scalarSample[type], null, []]])),
} as Record<ColumnType, Value[]>;
const schema = columnTypes.map((type): ColumnSchema => ({ name: type, type, nullable: true }));
const sampleBlock = (): ArrowBlock => ({
  rows: 3,
  columns: new Map(columnTypes.map((type) => [type, columnOf(type, sample[type])])),
});
const toWrite = (block: ArrowBlock): { name: string; data: ReturnType<typeof columnOf> }[] =>
  [...block.columns].map(([name, data]) => ({ name, data }));

function blocksOf(path: string): Record<string, Value[]>[] {
  const file = readArrowBlocks(path);
  try {
    return [...file].map((block) => Object.fromEntries([...block.columns].map(([name, data]) => [name, valuesOf(data)])));
  } finally {
    file.close();
  }
}

const py = (script: string, ...args: string[]): string => execFileSync(python, ['-c', script, ...args], { encoding: 'utf8' });

describe('an Arrow file', () => {
  it('gives back the blocks that were written, all types', async () => {
    const path = join(memoryDir(), 'all.arrow');
    const written = await writeArrowFile(path, schema, [sampleBlock(), sampleBlock()]);
    expect(written).toEqual({ rows: 6, bytes: readFileSync(path).length });
    expect(arrowContainer(path)).toBe('file');
    const file = readArrowBlocks(path);
    expect(file.schema).toEqual(schema);
    expect(file.rows).toEqual([3, 3]);
    expect([...file.read(0, ['utf8']).columns.keys()]).toEqual(['utf8']);
    file.close();
    expect(blocksOf(path)).toEqual([sample, sample]);
  });

  it('brings different dictionaries to one', async () => {
    const path = join(memoryDir(), 'words.arrow');
    const words = (...list: string[]): ArrowBlock => ({
      rows: list.length,
      columns: new Map([['d', columnOf('dictionary', list)]]),
    });
    await writeArrowFile(
      path,
      [{ name: 'd', type: 'dictionary', nullable: false }],
      [words('a', 'b'), words('a', 'b'), words('c', 'b'), words('ä', 'a')],
    );
    expect(blocksOf(path).map(({ d }) => d)).toEqual([
      ['a', 'b'],
      ['a', 'b'],
      ['c', 'b'],
      ['ä', 'a'],
    ]);
  });

  it('may have no blocks at all', async () => {
    const path = join(memoryDir(), 'none.arrow');
    expect(await writeArrowFile(path, schema, [])).toMatchObject({ rows: 0 });
    expect(blocksOf(path)).toEqual([]);
  });

  it('is refused with its place when it is cut off or something else', async () => {
    const path = join(memoryDir(), 'cut.arrow');
    await writeArrowFile(path, schema, [sampleBlock()]);
    for (const bytes of [readFileSync(path).length - 1, 400, 9, 3, 0]) {
      truncateSync(path, bytes);
      expect(() => readArrowBlocks(path)).toThrow(expect.objectContaining({ code: 'PDL_SOURCE_UNREADABLE', place: path }));
    }
    writeFileSync(path, 'a,b\n1,2\n3,4\n');
    expect(() => readArrowBlocks(path)).toThrow(expect.objectContaining({ code: 'PDL_SOURCE_UNREADABLE' }));
  });

  it('survives any single damaged byte without reading outside of it', async () => {
    const path = join(memoryDir(), 'damaged.arrow');
    await writeArrowFile(path, int32s(), [{ rows: 2, columns: new Map([['n', numbers(1, 2)]]) }]);
    const whole = readFileSync(path);
    for (let at = 0; at < whole.length; at += 1) {
      for (const value of [0xff, 0x7f, 0]) {
        const damaged = Buffer.from(whole);
        damaged[at] = value;
        writeFileSync(path, damaged);
        try {
          blocksOf(path);
        } catch (error) {
          expect(error).toHaveProperty('code', expect.stringMatching(/^PDL_(SOURCE_UNREADABLE|FORMAT_UNSUPPORTED)$/));
        }
      }
    }
  });
});

describe('taking a file over', () => {
  it('makes its batches blocks without copying it', async () => {
    const dir = memoryDir();
    const scratch = await makeScratch({}, dir);
    const path = join(dir, 'out.arrow');
    await writeArrowFile(path, schema, [sampleBlock(), sampleBlock()]);
    const { ino } = (await import('node:fs')).statSync(path);
    expect(await arrowSchemaInPlace(path)).toEqual(schema);
    const writer = await writerOf(scratch, 'a', schema);
    const blocks = await writer.adoptArrow(path, { consumed: 1 });
    expect(blocks).toHaveLength(2);
    expect(existsSync(path)).toBe(false);
    const [segment] = scratch.segments(shardId);
    expect(segment && (await import('node:fs')).statSync(segment.path).ino).toBe(ino);
    for (const type of columnTypes) expect(readColumn(scratch, 'a', type)).toEqual([...sample[type], ...sample[type]]);
    await scratch.verifyStream(shardId, 'a');
    expect(await writer.seal()).toMatchObject({ blocks: 2, rows: 6, bytes: segment?.committedBytes });
    expect(wholeArrowSegment(scratch, shardId, 'a')).toEqual({ path: segment?.path, container: 'file' });
    expect(scratch.progress(shardId, 'a')).toEqual({ consumed: 1 });
  });

  it('takes over an ended segment of another stream as well, and more blocks behind it', async () => {
    const dir = memoryDir();
    const scratch = await makeScratch({}, dir);
    const source = await writerOf(scratch, 'source', int32s());
    await source.appendTable(2, [{ name: 'n', data: numbers(1, 2) }]);
    await source.seal();
    const whole = wholeArrowSegment(scratch, shardId, 'source');
    const path = join(dir, 'copy.arrows');
    copyFileSync(whole?.path ?? '', path);
    const writer = await writerOf(scratch, 'a', int32s());
    await writer.appendTable(1, [{ name: 'n', data: numbers(0) }]);
    await writer.adoptArrow(path);
    await writer.appendTable(1, [{ name: 'n', data: numbers(3) }]);
    expect(readColumn(scratch, 'a', 'n')).toEqual([0, 1, 2, 3]);
    await scratch.verifyStream(shardId, 'a');
  });

  it.each([
    [
      'another type',
      [{ name: 'n', type: 'int64' as const, nullable: true }],
      'PDL_STAGE_OUTPUT',
      /`n` is int32, where the stage declares int64/,
    ],
    ['a column missing', [...int32s('n', true), ...int32s('m', true)], 'PDL_STAGE_OUTPUT', /`m` is missing/],
    ['nulls where there may be none', int32s('n', false), 'PDL_STAGE_OUTPUT', /1 nulls and is not nullable/],
  ])('refuses %s, and leaves the file', async (_, declared, code, message) => {
    const dir = memoryDir();
    const scratch = await makeScratch({}, dir);
    const path = join(dir, 'out.arrow');
    await writeArrowFile(path, int32s('n', true), [{ rows: 2, columns: new Map([['n', columnOf('int32', [1, null])]]) }]);
    const writer = await writerOf(scratch, 'a', declared);
    expect(await rejection(writer.adoptArrow(path))).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(existsSync(path)).toBe(true);
    expect(scratch.usage().usedBytes).toBe(0);
  });

  it('leaves the file where the scratch is too full for it', async () => {
    const dir = memoryDir();
    const scratch = await makeScratch({ sizeBytesMax: 8192 }, dir);
    const path = join(dir, 'out.arrow');
    await writeArrowFile(path, int32s(), [
      {
        rows: 10_000,
        columns: new Map([
          [
            'n',
            columnOf(
              'int32',
              Array.from({ length: 10_000 }, (_, n) => n),
            ),
          ],
        ]),
      },
    ]);
    const writer = await writerOf(scratch, 'a', int32s());
    expect(await rejection(writer.adoptArrow(path))).toMatchObject({ code: 'PDL_SCRATCH_FULL' });
    expect([existsSync(path), scratch.usage().usedBytes]).toEqual([true, 0]);
    writer.useMedium('ssd');
    expect(await writer.adoptArrow(path)).toHaveLength(1);
    expect(readColumn(scratch, 'a', 'n')).toHaveLength(10_000);
  });
});

needs('python3+pyarrow').describe('pyarrow', () => {
  const asJson = `
import sys, json, pyarrow as pa, pyarrow.ipc as ipc
source = pa.memory_map(sys.argv[1])
before = pa.total_allocated_bytes()
reader = getattr(ipc, 'open_' + sys.argv[2])(source)
table = reader.read_all()
table.validate(full=True)
print(json.dumps({'rows': table.to_pydict(), 'types': [str(f.type) for f in table.schema], 'allocated': pa.total_allocated_bytes() - before}, default=str))`;
  const scalars = {
    int8: [1, null, -1],
    int16: [1, null, -1],
    int32: [1, null, -1],
    int64: [1, null, -1],
    uint8: [1, null, 2],
    uint16: [1, null, 2],
    uint32: [1, null, 2],
    uint64: [1, null, 2],
    float32: [1.5, null, -1],
    float64: [1.5, null, -1],
    bool: [true, null, false],
    utf8: ['ä', null, ''],
    dictionary: ['y', null, 'x'],
    'timestamp[ms]': ['1970-01-01 00:00:01', null, '1969-12-31 23:59:59'],
    'timestamp[us]': ['1970-01-01 00:00:01', null, '1969-12-31 23:59:59'],
    date32: ['1970-01-02', null, '1969-12-31'],
  };
  const expected = {
    ...scalars,
    ...Object.fromEntries(itemTypes.map((type) => [`list<${type}>`, [scalars[type], null, []]])),
  };
  const twice = Object.fromEntries(Object.entries(expected).map(([name, values]) => [name, [...values, ...values]]));

  it('maps an ended segment without copying, all types', async () => {
    const scratch = await makeScratch();
    const writer = await writerOf(scratch, 'a', schema);
    await writer.appendTable(3, toWrite(sampleBlock()));
    await writer.appendTable(3, toWrite(sampleBlock()));
    await writer.seal();
    const whole = wholeArrowSegment(scratch, shardId, 'a');
    const read = JSON.parse(py(asJson, whole?.path ?? '', whole?.container ?? '')) as { rows: unknown; allocated: number };
    expect(read.rows).toEqual(twice);
    expect(read.allocated).toBe(0);
  });

  it('follows a dictionary that changes from block to block', async () => {
    const scratch = await makeScratch();
    const writer = await writerOf(scratch, 'a', [{ name: 'd', type: 'dictionary', nullable: false }]);
    for (const words of [
      ['a', 'b'],
      ['a', 'b'],
      ['c', 'd'],
    ]) {
      await writer.appendTable(2, [
        {
          name: 'd',
          data: { type: 'dictionary', rows: 2, nullCount: 0, values: Int32Array.of(0, 1), dictionary: utf8Of(words) },
        },
      ]);
    }
    await writer.seal();
    const read = JSON.parse(py(asJson, wholeArrowSegment(scratch, shardId, 'a')?.path ?? '', 'stream')) as {
      rows: { d: string[] };
    };
    expect(read.rows.d).toEqual(['a', 'b', 'a', 'b', 'c', 'd']);
  });

  it('reads the files that are written for it, different dictionaries included', async () => {
    const path = join(memoryDir(), 'all.arrow');
    const other = sampleBlock();
    other.columns.set('dictionary', columnOf('dictionary', ['z', null, 'x']));
    await writeArrowFile(path, schema, [sampleBlock(), other]);
    const read = JSON.parse(py(asJson, path, 'file')) as { rows: Record<string, unknown>; types: string[] };
    expect(read.rows).toEqual({ ...twice, dictionary: ['y', null, 'x', 'z', null, 'x'] });
    expect(read.types).toContain('dictionary<values=string, indices=int32, ordered=0>');
  });

  const write = `
import sys, pyarrow as pa, pyarrow.ipc as ipc
batch = pa.record_batch({
  'n': pa.array([1, None, 3], pa.int32()), 's': pa.array(['x', None, 'yz']), 'b': pa.array([True, False, None]),
  'l': pa.array([[1, None], None, []], pa.list_(pa.int16())), 'w': pa.array([['p'], ['', None], ['qr', 's']]),
  'd': pa.array(['u', 'v', 'u']).dictionary_encode(), 't': pa.array([1, 2, None], pa.timestamp('us', 'UTC')),
})
with getattr(ipc, 'new_' + sys.argv[2])(sys.argv[1], batch.schema) as writer:
  writer.write_batch(batch)
  writer.write_batch(batch.slice(1))`;

  it.each(['file', 'stream'])('writes a %s that is taken over as it lies', async (container) => {
    const dir = memoryDir();
    const scratch = await makeScratch({}, dir);
    const path = join(dir, 'from-python');
    py(write, path, container);
    const writer = await writerOf(scratch, 'a', await arrowSchemaInPlace(path));
    await writer.adoptArrow(path);
    await writer.seal();
    expect(readColumn(scratch, 'a', 'n')).toEqual([1, null, 3, null, 3]);
    expect(readColumn(scratch, 'a', 's')).toEqual(['x', null, 'yz', null, 'yz']);
    expect(readColumn(scratch, 'a', 'b')).toEqual([true, false, null, false, null]);
    expect(readColumn(scratch, 'a', 'd')).toEqual(['u', 'v', 'u', 'v', 'u']);
    expect(readColumn(scratch, 'a', 't')).toEqual([1n, 2n, null, 2n, null]);
    expect(readColumn(scratch, 'a', 'l')).toEqual([[1, null], null, [], null, []]);
    expect(readColumn(scratch, 'a', 'w')).toEqual([['p'], ['', null], ['qr', 's'], ['', null], ['qr', 's']]);
    await scratch.verifyStream(shardId, 'a');
    expect(wholeArrowSegment(scratch, shardId, 'a')).toMatchObject({ container });
  });

  const foreign = `
import sys, datetime, pyarrow as pa, pyarrow.ipc as ipc
columns = {
  'large': pa.array(['x', None, 'yz'], pa.large_string()),
  'codes': pa.array(['u', 'v', 'u']).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
  'seconds': pa.array([1, None, 2], pa.timestamp('s')), 'ns': pa.array([1500, -1, None], pa.timestamp('ns')),
  'day': pa.array([datetime.date(1970, 1, 2), None, datetime.date(1969, 12, 31)], pa.date64()),
  'lists': pa.array([['x'], None, ['', 'yz']], pa.list_(pa.large_string())),
  'nested': pa.array([[[1]], None, [[2], []]], pa.list_(pa.list_(pa.int8()))),
  'coded': pa.ListArray.from_arrays([0, 1, 2, 2], pa.array(['u', 'v']).dictionary_encode()),
}
table = pa.table({name: columns[name] for name in sys.argv[2].split(',')})
with ipc.new_file(sys.argv[1], table.schema, options=ipc.IpcWriteOptions(compression=sys.argv[3] or None)) as writer: writer.write_table(table)`;

  it('writes types that are read by converting them', () => {
    const path = join(memoryDir(), 'foreign.arrow');
    py(foreign, path, 'large,codes,seconds,ns,day,lists', '');
    expect(blocksOf(path)).toEqual([
      {
        large: ['x', null, 'yz'],
        codes: ['u', 'v', 'u'],
        seconds: [1000n, null, 2000n],
        ns: [1n, -1n, null],
        day: [1, null, -1],
        lists: [['x'], null, ['', 'yz']],
      },
    ]);
  });

  it.each([
    ['large', '', /column `large` is large_utf8/],
    ['codes', '', /column `codes` is dictionary<utf8, int8>/],
    ['seconds', '', /column `seconds` is timestamp\[s\]/],
    ['lists', '', /column `lists` is list<large_utf8>/],
    ['nested', '', /column `nested` is list<list<int8>>/],
    ['coded', '', /column `coded` is list<dictionary<utf8, int32>>/],
    ['seconds', 'zstd', /compressed \(zstd\)/],
  ])('writes %s %s, which cannot be taken over and is refused by name', async (columns, compression, message) => {
    const path = join(memoryDir(), 'foreign.arrow');
    py(foreign, path, columns, compression);
    expect(await rejection(arrowSchemaInPlace(path))).toMatchObject({
      code: 'PDL_FORMAT_UNSUPPORTED',
      message: expect.stringMatching(message),
      place: path,
    });
  });
});
