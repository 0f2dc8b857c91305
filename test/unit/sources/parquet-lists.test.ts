import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { needs, python } from '../../support/require.js';
import { duck, fileOf, load, tempDir, type Row } from './helpers.js';

/** Lists of every length with nulls among lists and items; a column for each kind of item. */
const query = `select i::integer as i,
  case when i % 5 = 0 then null else [x * 7 + i for x in range(i % 4)] end as whole,
  [case when (x + i) % 3 = 0 then null else (x + i) / 4 end for x in range(i % 7)]::double[] as half,
  case when i % 11 = 0 then null else [case when x % 2 = 0 then null else 'wörd ' || (x * i % 50) end for x in range(i % 6)] end as word,
  [x % 2 = i % 2 for x in range(i % 3)] as flag,
  [make_timestamp((i + x) * 1000003) for x in range(i % 3)] as "at",
  [date '2001-01-01' + (i + x)::integer for x in range(i % 2)] as day,
  []::tinyint[] as empty
from range(0, 5000) t(i)`;
const schema = {
  i: 'int32',
  whole: 'list<int64>',
  half: 'list<float64>',
  word: 'list<utf8>',
  flag: 'list<bool>',
  at: 'list<timestamp[us]>',
  day: 'list<date32>',
  empty: 'list<int8>',
};

const plainCell = (value: unknown): unknown =>
  Array.isArray(value) ? value.map(plainCell) : typeof value === 'bigint' ? Number(value) : value;
const plainRows = (rows: readonly Row[]): unknown[] =>
  rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plainCell(value)])));

/** The rows as DuckDB reads them, times and days as the numbers that they are here. */
async function expectedOf(path: string): Promise<unknown[]> {
  const rows = await duck(
    `select i, whole, half, word, flag, [epoch_us(x) for x in "at"] as "at", [date_diff('day', date '1970-01-01', x) for x in day] as day, empty from '${path}'`,
  );
  const lists = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && 'items' in value ? plainCell(value.items) : plainCell(value);
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, lists(value)])));
}

describe('lists of parquet', () => {
  it.each([
    ['snappy', 'V1', 5000],
    ['zstd', 'V1', 2048],
    ['gzip', 'V2', 2048],
    ['uncompressed', 'V2', 5000],
  ])('are read as DuckDB reads them: %s, %s, groups of %i rows', async (codec, version, group) => {
    const path = join(tempDir(), 'lists.parquet');
    await duck(
      `copy (${query}) to '${path}' (format parquet, codec ${codec}, row_group_size ${String(group)}, parquet_version ${version})`,
    );
    const { rows, schema: found } = await load(fileOf(path, 'parquet'), { blockRows: 777 });
    expect(Object.fromEntries(found.map(({ name, type }) => [name, type]))).toEqual(schema);
    expect(plainRows(rows)).toEqual(await expectedOf(path));
    const part = await load({ ...fileOf(path, 'parquet'), rows: [1234, 3456] }, { columns: ['word', 'i'] });
    expect(part.rows.map(({ i }) => i)).toEqual(Array.from({ length: 3456 - 1234 }, (_, n) => n + 1234));
    expect(part.rows.map(({ word }) => word)).toEqual(rows.slice(1234, 3456).map(({ word }) => word));
  });

  it('are narrowed as declared, and a value that does not fit is told with its row', async () => {
    const path = join(tempDir(), 'narrow.parquet');
    await duck(`copy (select [i, i + 1]::bigint[] as l from range(0, 200) t(i)) to '${path}' (format parquet)`);
    const { rows } = await load({ ...fileOf(path, 'parquet'), rows: [0, 100] }, { columns: { l: 'list<int16>' } });
    expect(rows[99]).toEqual({ l: [99, 100] });
    await expect(load(fileOf(path, 'parquet'), { columns: { l: 'list<int8>' } })).rejects.toMatchObject({
      code: 'PDL_COLUMN_TYPE',
      message: 'narrow.parquet: row 127 of column "l" is 128, which does not fit int8',
    });
    for (const type of ['int64', 'utf8', 'list<utf8>'])
      await expect(load(fileOf(path, 'parquet'), { columns: { l: type } })).rejects.toMatchObject({ code: 'PDL_COLUMN_TYPE' });
  });

  needs('python3+pyarrow').it('are read as pyarrow writes them, in two levels or three, and required', async () => {
    const script = [
      'import sys, pyarrow as pa, pyarrow.parquet as pq',
      'l = [[1, 2], [], [3]] * 1000',
      'item = pa.field("item", pa.int32(), nullable=False)',
      'schema = pa.schema([pa.field("a", pa.list_(pa.int32())), pa.field("b", pa.list_(item), nullable=False)])',
      'table = pa.table({"a": [None, [None], [5]] * 1000, "b": l}, schema=schema)',
      'for name, more in [("three", {}), ("two", {"use_compliant_nested_type": False}), ("pages", {"data_page_size": 512, "data_page_version": "2.0", "use_dictionary": False})]:',
      '  pq.write_table(table, f"{sys.argv[1]}/{name}.parquet", **more)',
    ].join('\n');
    const dir = tempDir();
    execFileSync(python, ['-c', script, dir]);
    const expected = Array.from({ length: 1000 }, () => [
      { a: null, b: [1, 2] },
      { a: [null], b: [] },
      { a: [5], b: [3] },
    ]).flat();
    for (const name of ['three', 'two', 'pages']) {
      const { rows, schema: found } = await load(fileOf(join(dir, `${name}.parquet`), 'parquet'));
      expect(rows).toEqual(expected);
      expect(found.map(({ nullable }) => nullable)).toEqual([true, false]);
    }
  });
});
