import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  columnTypes,
  type BlockRecord,
  type ColumnRef,
  type ColumnSchema,
  type ColumnType,
} from '../../../runtime/contracts/block.js';
import { writeArrowFile } from '../../../runtime/scratch/arrow/file-writer.js';
import { gather } from '../../../runtime/scratch/gather.js';
import { loadNative } from '../../../runtime/scratch/native.js';
import type { ColumnData, ColumnToWrite, Scratch } from '../../../runtime/scratch/types.js';
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
  samples,
  shardId,
  valuesOf,
  writerOf,
} from './helpers.js';

const modes = loadNative().functions ? (['mmap', 'pread'] as const) : (['pread'] as const);
const schemaOf = (...types: ColumnType[]): ColumnSchema[] => types.map((type) => ({ name: type, type, nullable: true }));
const columnNamed = (block: BlockRecord, name: string): ColumnRef => {
  const ref = block.columns.find((column) => column.name === name);
  if (!ref) throw new Error(`the block has no column ${name}`);
  return ref;
};
const selecting = (block: BlockRecord, select: Uint32Array): ColumnToWrite[] =>
  block.columns.map((ref) => ({ name: ref.name, ref, select }));

/** Seven rows of every type, committed as `input`. */
async function input(scratch: Scratch): Promise<BlockRecord> {
  const writer = await writerOf(scratch, 'input', schemaOf(...columnTypes));
  const block = await writer.appendTable(
    7,
    columnTypes.map((type) => ({ name: type, data: columnOf(type, sevenOf(type)) })),
  );
  await writer.seal();
  return block;
}
const sevenOf = (type: ColumnType): ReturnType<typeof valuesOf> =>
  Array.from({ length: 7 }, (_, row) => samples[type][row % samples[type].length] ?? null);

describe('gather', () => {
  it.each(columnTypes)('picks rows of %s, repeated and in any order', (type) => {
    fc.assert(
      fc.property(
        fc
          .array(fc.constantFrom(...samples[type]), { minLength: 1, maxLength: 40 })
          .chain((values) =>
            fc.record({ values: fc.constant(values), rows: fc.array(fc.nat(values.length - 1), { maxLength: 60 }) }),
          ),
        ({ values, rows }) => {
          const picked = gather(columnOf(type, values), Uint32Array.from(rows));
          const expected = rows.map((row) => values[row] ?? null);
          expect(valuesOf(picked)).toEqual(expected);
          expect(picked.nullCount).toBe(expected.filter((value) => value === null).length);
          expect(picked.rows).toBe(rows.length);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('keeps every bit of doubles that are no numbers', () => {
    const values = new Float64Array(new BigUint64Array([0x7ff8000000000001n, 0xfff0dead00000000n]).buffer);
    const picked = gather({ type: 'float64', rows: 2, nullCount: 0, values }, Uint32Array.of(1, 0));
    expect(new BigUint64Array(picked.values.buffer as ArrayBuffer)).toEqual(
      BigUint64Array.of(0xfff0dead00000000n, 0x7ff8000000000001n),
    );
  });
});

describe.each(modes)('a selection, read with %s', (reads) => {
  it('gives the rows that were selected, of all types, and was written once', async () => {
    const scratch = await makeScratch({ reads });
    const block = await input(scratch);
    const writer = await writerOf(scratch, 'a', schemaOf(...columnTypes));
    const rows = [6, 1, 3, 3, 0];
    const filtered = await writer.appendTable(rows.length, selecting(block, Uint32Array.from(rows)));
    expect(new Set(filtered.columns.map(({ selection }) => selection?.indices.offset)).size).toBe(1);
    expect(filtered.extent?.length).toBeLessThan(512 + 64);
    await writer.seal();
    for (const type of columnTypes) {
      const values = sevenOf(type);
      expect(readColumn(scratch, 'a', type)).toEqual(rows.map((row) => values[row]));
    }
    await scratch.verifyStream(shardId, 'a');
  });

  it('goes through the one that was there before', async () => {
    const scratch = await makeScratch({ reads });
    const block = await input(scratch);
    const a = await writerOf(scratch, 'a', schemaOf('int32', 'utf8'));
    const odd = Uint32Array.of(1, 3, 5);
    const once = await a.appendTable(3, [
      { name: 'int32', ref: columnNamed(block, 'int32'), select: odd },
      { name: 'utf8', ref: columnNamed(block, 'utf8'), select: odd },
    ]);
    const b = await writerOf(scratch, 'b', [...schemaOf('int32', 'utf8'), { name: 'int8', type: 'int8', nullable: true }]);
    const last = Uint32Array.of(2, 0);
    const twice = await b.appendTable(2, [
      { name: 'int32', ref: columnNamed(once, 'int32'), select: last },
      { name: 'utf8', ref: columnNamed(once, 'utf8'), select: last },
      { name: 'int8', ref: columnNamed(block, 'int8'), select: last },
    ]);
    // Two had a selection before and share what came of it; the third had none.
    expect(new Set(twice.columns.map(({ selection }) => selection?.indices.offset)).size).toBe(2);
    const c = await writerOf(scratch, 'c', int32s('kept', true));
    await c.appendTable(2, [{ name: 'kept', ref: columnNamed(twice, 'int32') }]);
    const [ints, texts, bytes] = [sevenOf('int32'), sevenOf('utf8'), sevenOf('int8')];
    expect(readColumn(scratch, 'b', 'int32')).toEqual([ints[5], ints[1]]);
    expect(readColumn(scratch, 'b', 'utf8')).toEqual([texts[5], texts[1]]);
    expect(readColumn(scratch, 'b', 'int8')).toEqual([bytes[2], bytes[0]]);
    expect(readColumn(scratch, 'c', 'kept')).toEqual([ints[5], ints[1]]);
    // What is referred to stays, though its stream goes.
    for (const stream of ['a', 'b', 'input']) await scratch.dropStream(shardId, stream);
    expect(readColumn(scratch, 'c', 'kept')).toEqual([ints[5], ints[1]]);
  });

  it('gives the arrays in place with the row numbers beside them to who asks for that', async () => {
    const scratch = await makeScratch({ reads });
    const block = await input(scratch);
    const writer = await writerOf(scratch, 'a', schemaOf('float64', 'bool'));
    const rows = Uint32Array.of(4, 2);
    const filtered = await writer.appendTable(2, [
      { name: 'float64', ref: columnNamed(block, 'float64'), select: rows },
      { name: 'bool', ref: columnNamed(block, 'bool'), select: rows },
    ]);
    const reader = scratch.openReader(shardId);
    onTestFinished(() => reader.close());
    const data = reader.column(columnNamed(filtered, 'float64'), 2, 'selected');
    expect([...(data.selection ?? [])]).toEqual([4, 2]);
    expect({ rows: data.rows, values: valuesOf({ ...data, selection: undefined }) }).toEqual({
      rows: 7,
      values: sevenOf('float64'),
    });
    if (reads === 'mmap') expect(data.values.buffer).toBe(reader.column(columnNamed(block, 'float64'), 7).values.buffer);
    expect(reader.column(columnNamed(block, 'float64'), 7, 'selected').selection).toBeUndefined();
  });

  it('may stand beside columns that are written, and select nothing at all', async () => {
    const scratch = await makeScratch({ reads });
    const block = await input(scratch);
    const writer = await writerOf(scratch, 'a', [...schemaOf('utf8'), ...int32s('own')]);
    for (const rows of [Uint32Array.of(0, 4), new Uint32Array(0)]) {
      await writer.appendTable(rows.length, [
        { name: 'utf8', ref: columnNamed(block, 'utf8'), select: rows },
        { name: 'own', data: numbers(...rows) },
      ]);
    }
    await writer.seal();
    expect(readColumn(scratch, 'a', 'utf8')).toEqual([sevenOf('utf8')[0], sevenOf('utf8')[4]]);
    expect(readColumn(scratch, 'a', 'own')).toEqual([0, 4]);
    expect(wholeArrowSegment(scratch, shardId, 'a')).toBeUndefined();
    await scratch.verifyStream(shardId, 'a');
  });
});

describe('a selection is refused', () => {
  const cases: [string, Uint32Array, number, boolean, RegExp][] = [
    ['beyond the rows of the block', Uint32Array.of(0, 7), 2, true, /asked for row 7 of 7/],
    ['of other rows than the block has', Uint32Array.of(0, 1), 3, true, /selects 2 rows for a block of 3/],
    ['that keeps nulls where there may be none', Uint32Array.of(0, 1), 2, false, /has 1 nulls and is not nullable/],
  ];
  it.each(cases)('%s', async (_, select, rows, nullable, message) => {
    const scratch = await makeScratch();
    const block = await input(scratch);
    const writer = await writerOf(scratch, 'a', [{ name: 'int32', type: 'int32', nullable }]);
    const ref = columnNamed(block, 'int32');
    const before = scratch.usage();
    expect(await rejection(writer.appendTable(rows, [{ name: 'int32', ref, select }]))).toMatchObject({
      code: 'PDL_STAGE_OUTPUT',
      message: expect.stringMatching(message),
    });
    expect(scratch.usage()).toEqual(before);
  });

  it('beyond the rows of the selection that was there before', async () => {
    const scratch = await makeScratch();
    const block = await input(scratch);
    const a = await writerOf(scratch, 'a', schemaOf('int32'));
    const once = await a.appendTable(2, [{ name: 'int32', ref: columnNamed(block, 'int32'), select: Uint32Array.of(1, 3) }]);
    const b = await writerOf(scratch, 'b', schemaOf('int32'));
    const ref = columnNamed(once, 'int32');
    expect(await rejection(b.appendTable(1, [{ name: 'int32', ref, select: Uint32Array.of(2) }]))).toMatchObject({
      message: expect.stringMatching(/row 2 of 2/),
    });
    expect(await rejection(b.appendTable(7, [{ name: 'int32', ref }]))).toMatchObject({
      message: expect.stringMatching(/has 2 rows in a block of 7/),
    });
  });

  it('as data: what was read with `selected` is not a column of its own', async () => {
    const scratch = await makeScratch();
    const writer = await writerOf(scratch, 'a', int32s());
    const data: ColumnData = { ...numbers(1, 2), selection: Uint32Array.of(1, 0) };
    expect(await rejection(writer.appendTable(2, [{ name: 'n', data }]))).toMatchObject({
      message: expect.stringMatching(/`selected`/),
    });
  });
});

it('drops the nulls of a column, which is not nullable from then on', async () => {
  const scratch = await makeScratch();
  const block = await input(scratch);
  const held = Uint32Array.from(sevenOf('int32').flatMap((value, row) => (value === null ? [] : [row])));
  const a = await writerOf(scratch, 'a', int32s());
  const filtered = await a.appendTable(held.length, [{ name: 'n', ref: columnNamed(block, 'int32'), select: held }]);
  const b = await writerOf(scratch, 'b', int32s('again'));
  await b.appendTable(held.length, [{ name: 'again', ref: columnNamed(filtered, 'n') }]);
  expect(readColumn(scratch, 'b', 'again')).toEqual(sevenOf('int32').filter((value) => value !== null));
});

needs('python3+pyarrow').describe('pyarrow', () => {
  const rowsOf = `
import sys, json, pyarrow.ipc as ipc
table = getattr(ipc, 'open_' + sys.argv[2])(sys.argv[1]).read_all()
table.validate(full=True)
print(json.dumps({'rows': table.num_rows, 'columns': table.to_pydict()}, default=str))`;
  const read = (path: string, container: string): unknown =>
    JSON.parse(execFileSync(python, ['-c', rowsOf, path, container], { encoding: 'utf8' }));

  it('reads a segment that holds selections beside columns: the selections do not disturb it', async () => {
    const scratch = await makeScratch();
    const block = await input(scratch);
    const writer = await writerOf(scratch, 'a', [...schemaOf('utf8'), ...int32s('own')]);
    const select = Uint32Array.of(6, 5, 4);
    await writer.appendTable(3, [
      { name: 'utf8', ref: columnNamed(block, 'utf8'), select },
      { name: 'own', data: numbers(1, 2, 3) },
    ]);
    await writer.seal();
    const path = scratch.segments(shardId).find(({ stream }) => stream === 'a')?.path ?? '';
    expect(read(path, 'stream')).toEqual({ rows: 3, columns: { own: [1, 2, 3] } });
    const only = await writerOf(scratch, 'b', schemaOf('utf8'));
    await only.appendTable(3, [{ name: 'utf8', ref: columnNamed(block, 'utf8'), select }]);
    await only.seal();
    const bare = scratch.segments(shardId).find(({ stream }) => stream === 'b')?.path ?? '';
    expect(read(bare, 'stream')).toMatchObject({ columns: {} });
  });

  it('reads the selected rows from the file that is written for a command', async () => {
    const scratch = await makeScratch();
    const block = await input(scratch);
    const writer = await writerOf(scratch, 'a', schemaOf('int32', 'utf8', 'list<int32>'));
    const rows = [5, 2, 2];
    await writer.appendTable(
      3,
      ['int32', 'utf8', 'list<int32>'].map((name) => ({ name, ref: columnNamed(block, name), select: Uint32Array.from(rows) })),
    );
    const reader = scratch.openReader(shardId);
    const path = join(memoryDir(), 'for-a-command.arrow');
    const tables = scratch.blocks(shardId, 'a').map((of) => ({ rows: of.rows, columns: reader.table(of) }));
    await writeArrowFile(path, scratch.stream(shardId, 'a')?.schema ?? [], tables);
    const picked = (type: ColumnType): unknown => rows.map((row) => sevenOf(type)[row]);
    expect(read(path, 'file')).toEqual({
      rows: 3,
      columns: { int32: picked('int32'), utf8: picked('utf8'), 'list<int32>': picked('list<int32>') },
    });
  });
});
