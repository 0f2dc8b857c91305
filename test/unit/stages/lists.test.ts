/** Columns of lists: made, read, filtered, row by row. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { column, defineStage, type AnyColumn } from '../../../runtime/index.js';
import { columnOf } from '../../../runtime/stages/columns.js';
import { Shard } from './shard.js';

/** What a column holds after it has been a column of the scratch, as plain arrays. */
const plain = (built: { toData(): Parameters<typeof columnOf>[0] }): unknown[] => {
  const back: AnyColumn = columnOf(built.toData());
  if (!('items' in back)) throw new Error(`${back.type} is no list`);
  return Array.from({ length: back.rows }, (_, row) => back.toArray(row));
};

describe('a column of lists', () => {
  it('is made from lists of any lengths, null ones and null items among them', () => {
    expect(plain(column.list('int32').from([[1, 2], [], [3]]))).toEqual([[1, 2], [], [3]]);
    expect(plain(column.list('utf8').from([['a', 'žluť'], null, [null, '']]))).toEqual([['a', 'žluť'], null, [null, '']]);
    expect(plain(column.list('bool').from([[true, false, null]]))).toEqual([[true, false, null]]);
    expect(plain(column.list('int64').from([[1n, -5n], BigInt64Array.of(7n)]))).toEqual([[1n, -5n], [7n]]);
    expect(plain(column.list('timestamp[ms]').from([[-1, 0, 86_400_000]]))).toEqual([[-1, 0, 86_400_000]]);
    expect(plain(column.list('float32').from([Float32Array.of(0.5, 1), [2]]))).toEqual([[0.5, 1], [2]]);
    expect(plain(column.list('int8').from([]))).toEqual([]);
  });

  it('of a fixed size is one array to fill', () => {
    const built = column.list('float32').fixed(3, 2);
    built.items.values.set([1, 2, 3, 4, 5, 6]);
    expect(plain(built)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const nullable = column.list('float32').fixed(2, 1, 'nullable');
    nullable.setNull(0);
    expect(plain(nullable)).toEqual([null, [0]]);
  });

  it('grows item by item and list by list, beyond what was reserved', () => {
    const builder = column.list('uint16').growing();
    const expected: number[][] = [];
    for (let row = 0; row < 300; row++) {
      const items = Array.from({ length: row % 7 }, (_, i) => row * i);
      expected.push(items);
      if (row % 2 === 0) {
        for (const item of items) builder.add(item);
        builder.endRow();
      } else builder.push(items);
    }
    expect(builder.rows).toBe(300);
    expect(plain(builder.finish())).toEqual(expected);
  });

  it('is made of items and offsets that are there already, without a copy', () => {
    const items = column.int16.from([1, 2, 3, 4]);
    const built = column.list('int16').of(items, Int32Array.of(0, 1, 4));
    expect(built.items).toBe(items);
    expect(plain(built)).toEqual([[1], [2, 3, 4]]);
    expect(() => column.list('int16').of(items, Int32Array.of(0, 5))).toThrow(
      expect.objectContaining({ code: 'PDL_STAGE_OUTPUT' }),
    );
    expect(() => column.list('int16').of(items, Int32Array.of(2, 1))).toThrow(/do not fall/);
  });

  it('gives views of its items, and plain arrays', () => {
    const built = column.list('float64').from([[1, 2], [3]]);
    expect(built.at(0)).toEqual(Float64Array.of(1, 2));
    expect(built.at(0).buffer).toBe(built.items.values.buffer);
    expect(built.lengthAt(1)).toBe(1);
    expect(
      column
        .list('timestamp[us]')
        .from([[1.5, 2]])
        .at(0),
    ).toEqual(Float64Array.of(1.5, 2));
    expect(
      column
        .list('utf8')
        .from([['a', 'b']])
        .at(0),
    ).toEqual(['a', 'b']);
  });

  it.each([
    ['300 in int8', () => column.list('int8').from([[300]]), /list<int8> cannot hold one of the items given, which row 0/],
    ['a half in int32', () => column.list('int32').growing().add(0.5), /cannot hold 0.5/],
    [
      'a null where there is none',
      () =>
        column
          .list('int32')
          .growing()
          .add(null as never),
      /cannot hold a null/,
    ],
    ['text among numbers', () => column.list('float64').from([['a' as never]]), /list<float64>/],
  ])('refuses %s', (_, make, message) => {
    expect(make).toThrow(message);
  });
});

describe('stages of lists', () => {
  let shard: Shard;
  beforeEach(async () => {
    shard = await Shard.open();
  });
  afterEach(() => shard.close());

  const lists = [['a', 'bb'], [], ['ccc'], ['d', 'e', 'f']];
  const load = () =>
    shard.load('input', {
      words: column.list('utf8').from(lists),
      maybe: column.list('int32').from([[1, null], null, [], [2, 3]]),
      vector: column.list('float32').from([
        [1, 2],
        [3, 4],
        [5, 6],
        [7, 8],
      ]),
    });

  it('read them in place and write their own', async () => {
    await load();
    const stage = defineStage({
      input: { vector: 'list<float32>', words: 'list<utf8>' },
      output: { lengths: 'list<uint8>', sum: 'float32' },
      block(batch) {
        const { vector, words } = batch.columns;
        const sum = column.float32(batch.rows);
        for (let row = 0; row < batch.rows; row++) sum.values[row] = vector.at(row).reduce((total, value) => total + value, 0);
        const lengths = Array.from({ length: batch.rows }, (_, row) => words.at(row).map((word) => word.length));
        return { columns: { lengths, sum } };
      },
    });
    await shard.run('out', stage);
    expect(shard.schema('out')).toEqual([
      'words list<utf8>',
      'maybe list<int32>',
      'vector list<float32>',
      'lengths list<uint8>',
      'sum float32',
    ]);
    expect(shard.rows('out')[3]).toEqual({ words: ['d', 'e', 'f'], maybe: [2, 3], vector: [7, 8], lengths: [1, 1, 1], sum: 15 });
    expect(shard.rows('out')[0]?.['maybe']).toEqual([1, null]);
  });

  it('work row by row; a row that was dropped leaves nothing behind', async () => {
    await load();
    const stage = defineStage({
      input: { words: 'list<utf8>', maybe: { type: 'list<int32>', nullable: true } },
      output: { twice: 'list<utf8>', none: { type: 'list<int32>', nullable: true } },
      keep: 'none',
      row(row, out) {
        out.twice = row.words.flatMap((word) => [word, word]);
        if (row.maybe !== null) out.none = row.maybe;
        return row.words.length !== 1;
      },
    });
    await shard.run('out', stage);
    expect(shard.rows('out')).toEqual([
      { twice: ['a', 'a', 'bb', 'bb'], none: [1, 0] },
      { twice: [], none: null },
      { twice: ['d', 'd', 'e', 'e', 'f', 'f'], none: [2, 3] },
    ]);
  });

  it('that take no nulls are told of null items', async () => {
    await load();
    const stage = defineStage({
      input: { maybe: 'list<int32>' },
      block: (batch) => ({ select: new Uint8Array(batch.columns.maybe.rows) }),
    });
    await expect(shard.run('out', stage)).rejects.toThrow(/column maybe has 1 nulls in block 0/);
    await shard.run('rows', defineStage({ keep: ['words', 'vector'], row: () => undefined }));
    const nulls = defineStage({
      input: { words: 'list<utf8>' },
      output: { some: 'list<utf8>' },
      block: (batch) => ({ columns: { some: Array.from({ length: batch.rows }, () => [null]) as never } }),
    });
    await expect(shard.run('some', nulls, ['rows'])).rejects.toThrow(
      /some must give list<utf8> without nulls, but gave 4 nulls in its lists/,
    );
  });

  it('read them as arrays in a files form', async () => {
    await load();
    const stage = defineStage({ files: (inputs) => ({ 'rows.json': JSON.stringify(inputs.only().toRows()) }) });
    await shard.run('out', stage);
    expect(JSON.parse(shard.text('out', 'rows.json'))).toEqual(
      lists.map((words, row) => ({
        words,
        maybe: [[1, null], null, [], [2, 3]][row],
        vector: [row * 2 + 1, row * 2 + 2],
      })),
    );
  });
});
