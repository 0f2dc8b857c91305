import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Scratch } from '../../../runtime/scratch/types.js';
import { csvField } from '../../../runtime/results/csv.js';
import type { ResultFormat } from '../../../runtime/results/types.js';
import { writeResult } from '../../../runtime/results/write-result.js';
import { needs, python } from '../../support/require.js';
import { Fixture, lineagesOf, shardId } from '../checkpoints/fixture.js';
import { fill, request, rowsAsJson, table } from './fixture.js';

let fixture: Fixture;
let scratch: Scratch;
beforeEach(async () => {
  fixture = await Fixture.make();
  scratch = await fixture.scratch();
});
afterEach(async () => {
  await fixture.close();
});

/** Delivers the table; the path of its file. */
async function deliver(format: ResultFormat, blocks?: Parameters<typeof fill>[1]): Promise<string> {
  await fill(scratch, blocks ?? { kind: 'table' });
  const { result } = await writeResult(request(scratch, join(fixture.root, 'results'), { format }));
  return join(result.dir, `count.${format}`);
}

/** NDJSON with 64-bit numbers kept whole. */
const parseLine = (line: string): unknown =>
  JSON.parse(line.replace(/:(-?\d{16,})(?=[,}])/g, ':"$1n"'), (_key, value: unknown) =>
    typeof value === 'string' && /^-?\d{16,}n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  );

async function duckdb(sql: string): Promise<unknown[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    return (await connection.runAndReadAll(sql)).getRowObjectsJson();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

describe('ndjson', () => {
  it('has a row for each row, in order, with every type and all digits', async () => {
    const lines = readFileSync(await deliver('ndjson'), 'utf8').split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.map(parseLine)).toEqual(rowsAsJson);
  });
});

describe('csv', () => {
  it('is read by DuckDB with every value as it was', async () => {
    const path = await deliver('csv');
    const rows = await duckdb(`select * from read_csv('${path}', header = true, all_varchar = true)`);
    const expected = rowsAsJson.map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [
          name,
          value === null ? null : Array.isArray(value) ? JSON.stringify(value) : String(value),
        ]),
      ),
    );
    // NaN is a number that CSV can say and JSON cannot.
    for (const index of [1, 4]) Object.assign(expected[index] ?? {}, { f64: 'NaN' });
    expect(rows).toEqual(expected);
  });

  it('tells an empty string from a null, and quotes what must be', () => {
    expect([null, '', 'a', 'a,b', '"', ' a', 'a\n', 1, true].map(csvField)).toEqual([
      '',
      '""',
      'a',
      '"a,b"',
      '""""',
      '" a"',
      '"a\n"',
      '1',
      'true',
    ]);
  });
});

describe('parquet', () => {
  const plain = (value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value);
  it('is read by DuckDB with every type and value', async () => {
    const path = await deliver('parquet');
    const rows = (await duckdb(`select * from '${path}'`)) as Record<string, unknown>[];
    expect(rows).toHaveLength(6);
    for (const [index, row] of rows.entries()) {
      const expected = rowsAsJson[index] as Record<string, unknown>;
      for (const name of ['i8', 'i16', 'i32', 'i64', 'u8', 'u16', 'u32', 'u64', 'f32', 'yes', 'text', 'code', 'day']) {
        expect(String(row[name]), `${name} of row ${String(index)}`).toBe(String(plain(expected[name])));
      }
      for (const name of ['nums', 'words']) expect(row[name]).toEqual(expected[name]);
    }
    const types = (await duckdb(`select column_name, column_type from (describe select * from '${path}')`)) as {
      column_name: string;
      column_type: string;
    }[];
    expect(Object.fromEntries(types.map(({ column_name, column_type }) => [column_name, column_type]))).toEqual({
      i8: 'TINYINT',
      i16: 'SMALLINT',
      i32: 'INTEGER',
      i64: 'BIGINT',
      u8: 'UTINYINT',
      u16: 'USMALLINT',
      u32: 'UINTEGER',
      u64: 'UBIGINT',
      f32: 'FLOAT',
      f64: 'DOUBLE',
      yes: 'BOOLEAN',
      text: 'VARCHAR',
      code: 'VARCHAR',
      ms: expect.stringContaining('TIMESTAMP') as string,
      us: expect.stringContaining('TIMESTAMP') as string,
      day: 'DATE',
      nums: 'INTEGER[]',
      words: 'VARCHAR[]',
    });
    expect(await duckdb(`select epoch_ms(ms) as ms, epoch_us(us) as us from '${path}' limit 3`)).toEqual([
      { ms: '978307200123', us: '978307200123456' },
      { ms: '-1', us: '-1' },
      { ms: null, us: '0' },
    ]);
  });

  it('has a row group for each block and says what is nullable', async () => {
    const file = await asyncBufferFromFile(await deliver('parquet'));
    const metadata = await parquetMetadataAsync(file);
    expect(metadata.row_groups.map(({ num_rows }) => Number(num_rows))).toEqual([3, 3]);
    expect(parquetSchema(metadata).children.map(({ element }) => [element.name, element.repetition_type === 'OPTIONAL'])).toEqual(
      table.schema.map(({ name, nullable }) => [name, nullable]),
    );
  });

  it('without any row is a file with columns', async () => {
    const file = await asyncBufferFromFile(await deliver('parquet', { kind: 'table', blocks: [] }));
    expect(await parquetReadObjects({ file })).toEqual([]);
    expect(parquetSchema(await parquetMetadataAsync(file)).children).toHaveLength(table.schema.length);
  });
});

describe('arrow', () => {
  it('can be taken back into a scratch, its dictionaries merged into one', async () => {
    const path = await deliver('arrow');
    const run = { runId: 'back', epoch: 1 };
    const lineage = lineagesOf().get('clean');
    if (lineage === undefined) throw new Error('no lineage');
    await scratch.beginRun(shardId, 'clean', run);
    const writer = await scratch.openWriter({ shardId, stream: 'clean', kind: 'table', schema: table.schema, lineage, run });
    const copy = join(fixture.root, 'scratch', 'copy.arrow');
    await copyFile(path, copy);
    const blocks = await writer.adoptArrow(copy);
    await writer.seal();
    await writer.close();
    expect(blocks.map(({ rows }) => rows)).toEqual([3, 3]);
    const { result } = await writeResult(request(scratch, join(fixture.root, 'again'), { resultStages: ['clean'] }));
    const lines = readFileSync(join(result.dir, 'clean.ndjson'), 'utf8').trimEnd().split('\n');
    expect(lines.map(parseLine)).toEqual(rowsAsJson);
  });

  needs('python3+pyarrow').it('is read by pyarrow, and whole by its own check', async () => {
    const path = await deliver('arrow');
    const script = [
      'import sys, json, pyarrow as pa',
      'table = pa.ipc.open_file(pa.memory_map(sys.argv[1])).read_all()',
      'table.validate(full=True)',
      'print(json.dumps({"types": [str(t) for t in table.schema.types], "nullable": [f.nullable for f in table.schema],',
      '  "code": table["code"].to_pylist(), "text": table["text"].to_pylist(), "u64": table["u64"].to_pylist(), "i64": [str(v) for v in table["i64"].to_pylist()],',
      '  "nums": table["nums"].to_pylist(), "words": table["words"].to_pylist()}))',
    ].join('\n');
    const read = JSON.parse(execFileSync(python, ['-c', script, path], { encoding: 'utf8' })) as Record<string, unknown[]>;
    expect(read['code']).toEqual(rowsAsJson.map(({ code }) => code));
    expect(read['text']).toEqual(rowsAsJson.map(({ text }) => text));
    expect(read['nums']).toEqual(rowsAsJson.map(({ nums }) => nums));
    expect(read['words']).toEqual(rowsAsJson.map(({ words }) => words));
    expect(read['i64']?.slice(0, 2)).toEqual(['1', '-9223372036854775808']);
    expect(read['nullable']).toEqual(table.schema.map(({ nullable }) => nullable));
    expect(read['types']?.slice(0, 2)).toEqual(['int8', 'int16']);
  });
});
