import { copyFileSync, readFileSync, renameSync, statSync } from 'node:fs';
import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { BlockRecord, ColumnRef, ColumnSchema } from '../../../runtime/contracts/block.js';
import { writeArrowFile } from '../../../runtime/scratch/arrow/file-writer.js';
import { crc32, crc32Combine, crc32OfZeros, crc32Replaced } from '../../../runtime/scratch/checksum.js';
import { loadNative } from '../../../runtime/scratch/native.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import { eachBufferOf } from '../../../runtime/scratch/table-block.js';
import type { ColumnToWrite, Scratch } from '../../../runtime/scratch/types.js';
import {
  columnOf,
  makeScratch,
  memoryDir,
  optionsIn,
  readColumn,
  rejection,
  shardId,
  valuesOf,
  writerOf,
  type Value,
} from './helpers.js';
import { join } from 'node:path';

const rows = 5_000;
const schema: ColumnSchema[] = [
  { name: 'gone', type: 'float64', nullable: true },
  { name: 'words', type: 'dictionary', nullable: false },
  { name: 'stays', type: 'int64', nullable: true },
  { name: 'texts', type: 'utf8', nullable: false },
  { name: 'lists', type: 'list<int32>', nullable: true },
];
const value = {
  gone: (row: number): Value => (row % 7 === 0 ? null : row / 3),
  words: (row: number): Value => ['north', 'south', 'east'][row % 3] ?? '',
  stays: (row: number): Value => (row % 5 === 0 ? null : BigInt(row)),
  texts: (row: number): Value => `text ${row % 100}`,
  lists: (row: number): Value => (row % 4 === 0 ? null : [row, -row]),
};
const valuesIn = (name: string, block: number): Value[] =>
  Array.from({ length: rows }, (_, row) => value[name as keyof typeof value](row + block));
const wholeColumn = (name: string): Value[] => [...valuesIn(name, 0), ...valuesIn(name, 1)];

/** `input` with two blocks of its own; `later` refers to all columns of it under other names, some rows selected in its second. */
async function scratchWith(dir = memoryDir()): Promise<Scratch> {
  const scratch = await makeScratch({}, dir);
  const writer = await writerOf(scratch, 'input', schema);
  for (const block of [0, 1]) {
    await writer.appendTable(
      rows,
      schema.map(({ name, type }) => ({ name, data: columnOf(type, valuesIn(name, block)) })),
    );
  }
  await writer.seal();
  const later = await writerOf(
    scratch,
    'later',
    schema.map((column) => ({ ...column, name: `${column.name}2` })),
  );
  const [first, second] = scratch.blocks(shardId, 'input') as [BlockRecord, BlockRecord];
  const refs = (block: BlockRecord, select?: Uint32Array): ColumnToWrite[] =>
    block.columns.map((ref) => ({ name: `${ref.name}2`, ref, ...(select && { select }) }));
  await later.appendTable(rows, refs(first));
  await later.appendTable(2, refs(second, Uint32Array.of(3, 1)));
  await later.seal();
  return scratch;
}

const refOf = (block: BlockRecord | undefined, name: string): ColumnRef => {
  const ref = block?.columns.find((column) => column.name === name);
  if (!ref) throw new Error(`no column ${name}`);
  return ref;
};

describe('checksums of parts', () => {
  it('combine and change as if all bytes had been read', () => {
    const bytes = (): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(bytes(), bytes(), bytes(), (before, middle, after) => {
        const whole = Buffer.concat([before, middle, after]);
        const zeroed = Buffer.concat([before, Buffer.alloc(middle.length), after]);
        expect(crc32Combine(zlibCrc32(before), zlibCrc32(Buffer.concat([middle, after])), middle.length + after.length)).toBe(
          zlibCrc32(whole),
        );
        expect(crc32OfZeros(middle.length)).toBe(zlibCrc32(Buffer.alloc(middle.length)));
        expect(crc32Replaced(zlibCrc32(whole), crc32(middle), crc32OfZeros(middle.length), after.length)).toBe(zlibCrc32(zeroed));
      }),
      { numRuns: 300 },
    );
  });
});

it('frees nothing of a stream that is still being written', async () => {
  const scratch = await makeScratch();
  const writer = await writerOf(scratch, 'input', schema);
  await writer.appendTable(
    rows,
    schema.map(({ name, type }) => ({ name, data: columnOf(type, valuesIn(name, 0)) })),
  );
  expect(await rejection(scratch.freeColumns(shardId, 'input', ['gone']))).toMatchObject({
    message: expect.stringMatching(/still being written/),
  });
});

describe.runIf(loadNative().functions !== undefined)('freeing columns', () => {
  it('gives their pages back, and leaves zeros under true checksums and all other columns as they are', async () => {
    const scratch = await scratchWith();
    const before = scratch.usage().usedBytes;
    const [segment] = scratch.segments(shardId);
    const blocksBefore = statSync(segment?.path ?? '').blocks;
    const names = ['gone', 'words', 'lists'];
    const freed = await scratch.freeColumns(shardId, 'input', names);
    expect(freed).toBeGreaterThan(2 * (rows * 8 + rows * 4 + rows * 6) * 0.7);
    expect(scratch.usage().usedBytes).toBe(before - freed);
    expect(statSync(segment?.path ?? '').blocks).toBe(blocksBefore - freed / 512);
    const file = readFileSync(segment?.path ?? '');
    for (const block of scratch.blocks(shardId, 'input')) {
      for (const name of names) {
        eachBufferOf(refOf(block, name), ({ offset, length }) => {
          expect(file.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
        });
      }
    }
    await scratch.verifyStream(shardId, 'input');
    for (const name of ['stays', 'texts']) {
      expect(readColumn(scratch, 'input', name)).toEqual(wholeColumn(name));
      expect(readColumn(scratch, 'later', `${name}2`)).toEqual([
        ...valuesIn(name, 0),
        valuesIn(name, 1)[3],
        valuesIn(name, 1)[1],
      ]);
    }
    await scratch.dropStream(shardId, 'later');
    await scratch.dropStream(shardId, 'input');
    expect(scratch.usage().usedBytes).toBe(0);
  });

  it('marks them wherever they are referred to; reading them is an error, referring to them is not', async () => {
    const scratch = await scratchWith();
    const unmarked = refOf(scratch.block(shardId, 'input', 0), 'gone');
    await scratch.freeColumns(shardId, 'input', ['gone']);
    expect(scratch.stream(shardId, 'input')?.freed).toEqual(['gone']);
    const marks = ['input', 'later'].map((stream) =>
      scratch.blocks(shardId, stream).map(({ columns }) => columns.map(({ freed }) => freed === true)),
    );
    const each = [true, false, false, false, false];
    expect(marks).toEqual([
      [each, each],
      [each, each],
    ]);
    const reader = scratch.openReader(shardId);
    onTestFinished(() => reader.close());
    const block = scratch.block(shardId, 'later', 1) as BlockRecord;
    expect(() => reader.table(block)).toThrow(
      expect.objectContaining({ code: 'PDL_SCRATCH_CORRUPT', message: expect.stringMatching(/`gone2` was freed/) }),
    );
    expect(valuesOf(reader.column(refOf(block, 'stays2'), 2))).toHaveLength(2);
    // A stage that looked the column up before it was freed passes it on afterwards.
    const writer = await writerOf(scratch, 'last', [{ name: 'x', type: 'float64', nullable: true }]);
    const committed = await writer.appendTable(rows, [{ name: 'x', ref: unmarked }]);
    expect(committed.columns[0]?.freed).toBe(true);
    expect(scratch.block(shardId, 'last', 0)?.columns[0]?.freed).toBe(true);
    // And once more does nothing.
    expect(await scratch.freeColumns(shardId, 'input', ['gone', 'no such column'])).toBe(0);
  });

  it('does not disturb readers of the columns that live', async () => {
    const scratch = await scratchWith();
    const reader = scratch.openReader(shardId);
    onTestFinished(() => reader.close());
    const held = reader.column(refOf(scratch.block(shardId, 'input', 1), 'stays'), rows);
    await scratch.freeColumns(shardId, 'input', ['gone', 'words', 'texts', 'lists']);
    expect(valuesOf(held)).toEqual(valuesIn('stays', 1));
  });

  it('frees only what the stream wrote itself', async () => {
    const scratch = await scratchWith();
    expect(await scratch.freeColumns(shardId, 'later', ['gone2', 'stays2'])).toBe(0);
    expect(readColumn(scratch, 'input', 'gone')).toEqual(wholeColumn('gone'));
  });

  it('is gone on with by the next owner when the first one could not end it', async () => {
    const dir = memoryDir();
    const scratch = await scratchWith(dir);
    const path = scratch.segments(shardId)[0]?.path ?? '';
    const before = scratch.usage().usedBytes;
    const freeing = rejection(scratch.freeColumns(shardId, 'input', ['gone']));
    // Between its reading of the first block and its punching of holes.
    await new Promise((go) => setImmediate(go));
    renameSync(path, `${path}.away`);
    expect(await freeing).toMatchObject({ code: 'ENOENT' });
    renameSync(`${path}.away`, path);
    expect(scratch.usage().usedBytes).toBe(before);
    expect(refOf(scratch.block(shardId, 'input', 0), 'gone').freed).toBe(true);
    await scratch.close();
    const again = await openScratch(optionsIn(dir));
    onTestFinished(() => again.close());
    expect(again.usage().usedBytes).toBeLessThan(before - rows * 8);
    await again.verifyStream(shardId, 'input');
  });

  it('is kept by a stream that is restored, and its pages are given back again', async () => {
    const from = await scratchWith();
    await from.freeColumns(shardId, 'input', ['gone', 'lists']);
    const to = await makeScratch();
    const stream = from.stream(shardId, 'input');
    if (!stream) throw new Error('no stream');
    const segments = from.segments(shardId).filter((segment) => segment.stream === 'input');
    await to.restoreStream(shardId, { stream, segments, blocks: from.blocks(shardId, 'input') }, async (segment, path) => {
      copyFileSync(segments.find(({ id }) => id === segment.id)?.path ?? '', path);
    });
    await to.verifyStream(shardId, 'input');
    expect(to.stream(shardId, 'input')?.freed).toEqual(['gone', 'lists']);
    expect(to.usage().usedBytes).toBe(statSync(to.segments(shardId)[0]?.path ?? '').blocks * 512);
    expect(readColumn(to, 'input', 'stays')).toEqual(wholeColumn('stays'));
    const reader = to.openReader(shardId);
    onTestFinished(() => reader.close());
    expect(() => reader.column(refOf(to.block(shardId, 'input', 0), 'gone'), rows)).toThrow(/was freed/);
  });

  it('goes on after the stream was spilled', async () => {
    const scratch = await scratchWith();
    const both = [scratch.spillStream(shardId, 'input'), scratch.freeColumns(shardId, 'input', ['gone'])];
    expect((await Promise.all(both))[1]).toBe(0);
    expect(refOf(scratch.block(shardId, 'input', 0), 'gone').freed).toBe(true);
    await scratch.verifyStream(shardId, 'input');
    expect(readColumn(scratch, 'input', 'stays')).toEqual(wholeColumn('stays'));
  });

  it('works on a file that another program laid out', async () => {
    const dir = memoryDir();
    const scratch = await makeScratch({}, dir);
    const path = join(dir, 'out.arrow');
    await writeArrowFile(path, schema, [
      { rows, columns: new Map(schema.map(({ name, type }) => [name, columnOf(type, valuesIn(name, 0))])) },
    ]);
    const writer = await writerOf(scratch, 'a', schema);
    await writer.adoptArrow(path);
    await writer.seal();
    expect(await scratch.freeColumns(shardId, 'a', ['words', 'gone'])).toBeGreaterThan(0);
    expect(readColumn(scratch, 'a', 'texts')).toEqual(valuesIn('texts', 0));
    await scratch.verifyStream(shardId, 'a');
  });
});
