import { copyFileSync, truncateSync, writeFileSync, statSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import type { ColumnData } from '../../../runtime/scratch/types.js';
import { cellOf, duck, fileOf, load, plain, tempDir, vega } from './helpers.js';
import { shardId } from '../scratch/helpers.js';

const flights = vega('flights-3m.parquet');

/** Every type that Podline reads, with nulls, over several row groups. */
const everyType = (rows: number) => `
  select
    (i % 100)::tinyint as i8, (i * 3)::smallint as i16, i::integer as i32, (i * 10000000000) as i64,
    (i % 200)::utinyint as u8, (i % 60000)::usmallint as u16, (i + 4000000000 - ${rows})::uinteger as u32, (i * 1000)::ubigint as u64,
    (i / 3)::float as f32, i / 7 as f64,
    i % 3 = 0 as flag,
    'text ' || i as words, case when i % 5 = 0 then null else 'k' || (i % 4) end as kind,
    case when i % 7 = 0 then null else i * 2 end as gaps,
    case when i % 2 = 0 then null else i % 4 = 1 end as maybe,
    date '1960-01-01' + i::integer as day,
    timestamp '1969-12-31 23:59:59.5' + interval (i * 777) millisecond as moment,
    timestamp_ms '2020-01-01 00:00:00.123' as at_ms,
    timestamp_ns '2262-01-01 00:00:00.123456789' as at_ns,
    (i / 8)::decimal(9, 3) as price, (i * 100 - 50)::decimal(30, 2) as big_price,
    uuid '6ba7b810-9dad-11d1-80b4-00c04fd430c8' as id
  from (select unnest(range(0, ${rows}))::bigint as i)`;
const asRead = `select * replace (
    (day - date '1970-01-01') as day, epoch_us(moment) as moment, epoch_ms(at_ms) as at_ms, epoch_us(at_ns::timestamp) as at_ns,
    price::double as price, big_price::double as big_price, id::varchar as id)`;

describe('parquet', () => {
  it('reads three million flights as DuckDB does', async () => {
    const { result, scratch, schema } = await load(fileOf(flights, 'parquet'), {
      columns: { date: 'timestamp[us]', delay: 'int16', distance: 'int16', origin: 'dictionary', destination: 'utf8' },
    });
    expect(schema.map(({ type, nullable }) => [type, nullable])).toEqual([
      ['timestamp[us]', false],
      ['int16', false],
      ['int16', false],
      ['dictionary', false],
      ['utf8', false],
    ]);
    expect(result).toMatchObject({ rows: 3_000_000, blocks: Math.ceil(3_000_000 / 65_536), sourceReads: 1 });
    const sums = new Map<string, { flights: number; delay: number; distance: number; minutes: number }>();
    const sampled: string[] = [];
    const reader = scratch.openReader(shardId);
    let row = 0;
    for (const block of scratch.blocks(shardId, 'input')) {
      const table = reader.table(block);
      const column = (name: string): ColumnData => table.get(name)!;
      const [delay, distance, origin] = ['delay', 'distance', 'origin'].map((name) => column(name).values as Int32Array);
      const dates = column('date').values as BigInt64Array;
      const names = Array.from(
        { length: column('origin').dictionary!.length },
        (_, code) => cellOf({ ...column('origin'), values: Int32Array.of(code) }, 0) as string,
      );
      const groups = names.map((name) => sums.get(name) ?? { flights: 0, delay: 0, distance: 0, minutes: 0 });
      for (let i = 0; i < block.rows; i++, row++) {
        const sum = groups[origin![i]!]!;
        sum.flights += 1;
        sum.delay += delay![i]!;
        sum.distance += distance![i]!;
        sum.minutes += Number(dates[i]!) / 60_000_000 - 16_300_000;
        if (row % 1000 === 0) sampled.push(cellOf(column('destination'), i) as string);
      }
      names.forEach((name, code) => groups[code]!.flights > 0 && sums.set(name, groups[code]!));
    }
    reader.close();
    const expected = await duck(
      `select origin, count(*) as flights, sum(delay)::bigint as delay, sum(distance)::bigint as distance, sum(epoch_us(date) // 60000000 - 16300000)::bigint as minutes from '${flights}' group by all`,
    );
    expect(sums).toEqual(new Map(expected.map(({ origin, ...sum }) => [origin, sum])));
    const destinations = await duck(
      `select destination from read_parquet('${flights}', file_row_number = true) where file_row_number % 1000 = 0 order by file_row_number`,
    );
    expect(sampled).toEqual(destinations.map(({ destination }) => destination));
  });

  it('reads text that the file keeps as a small dictionary as one, and numbers as wide as they are', async () => {
    const { schema } = await load({ uri: flights, format: 'parquet', rows: [2_900_000, 2_900_010] });
    expect(schema.map(({ type }) => type)).toEqual(['timestamp[us]', 'int64', 'int64', 'dictionary', 'dictionary']);
  });

  it.each([
    ['snappy', 'V1'],
    ['zstd', 'V2'],
    ['gzip', 'V1'],
    ['brotli', 'V1'],
    ['lz4_raw', 'V2'],
    ['uncompressed', 'V2'],
  ])('reads every type, with nulls, from %s pages of version %s', async (codec, version) => {
    const path = join(tempDir(), 'every.parquet');
    await duck(
      `copy (${everyType(5000)}) to '${path}' (format parquet, codec '${codec}', row_group_size 2048, parquet_version ${version})`,
    );
    const { rows, schema } = await load(fileOf(path, 'parquet'), { blockRows: 1000 });
    expect(Object.fromEntries(schema.map(({ name, type }) => [name, type]))).toMatchObject({
      i8: 'int8',
      i16: 'int16',
      i32: 'int32',
      i64: 'int64',
      u8: 'uint8',
      u16: 'uint16',
      u32: 'uint32',
      u64: 'uint64',
      f32: 'float32',
      f64: 'float64',
      flag: 'bool',
      words: 'utf8',
      kind: 'dictionary',
      day: 'date32',
      moment: 'timestamp[us]',
      at_ms: 'timestamp[ms]',
      at_ns: 'timestamp[us]',
      price: 'float64',
      id: 'utf8',
    });
    expect(plain(rows)).toEqual(await duck(`${asRead} from '${path}'`));
  });

  it('says which columns have nulls', async () => {
    const path = join(tempDir(), 'nulls.parquet');
    await duck(`copy (select 1 as whole, null::integer as never, 'a' as text) to '${path}' (format parquet)`);
    const { rows, schema } = await load(fileOf(path, 'parquet'));
    expect(schema.map(({ name, nullable }) => [name, nullable])).toEqual([
      ['whole', false],
      ['never', true],
      ['text', false],
    ]);
    expect(rows).toEqual([{ whole: 1, never: null, text: 'a' }]);
  });

  it('gives any range of rows, across row groups and blocks', async () => {
    const path = join(tempDir(), 'ranges.parquet');
    await duck(
      `copy (select i, 'n' || (i % 9) as name, case when i % 3 = 0 then null else i end as third from range(0, 10000) t(i)) to '${path}' (format parquet, row_group_size 2048)`,
    );
    const all = await duck(`select * from '${path}'`);
    for (const [from, to] of [
      [0, 1],
      [2047, 2049],
      [100, 9000],
      [9999, 10_000],
      [4096, 4096],
      [0, 10_000],
    ] as const) {
      const { rows, result } = await load({ uri: path, format: 'parquet', rows: [from, to] }, { blockRows: 777 });
      expect(plain(rows)).toEqual(all.slice(from, to));
      expect(result.rows).toBe(to - from);
    }
  });

  it('takes only the columns that are named, in that order, and reads no other', async () => {
    const { schema, result } = await load(fileOf(flights, 'parquet'), { columns: ['destination', 'delay'] });
    expect(schema.map(({ name }) => name)).toEqual(['destination', 'delay']);
    expect(result.bytes.ssd.read).toBeLessThan(statSync(flights).size / 2);
  });

  it('names row, column and value that do not fit a declared type', async () => {
    await expect(load(fileOf(flights, 'parquet'), { columns: { delay: 'int8' } })).rejects.toMatchObject({
      code: 'PDL_COLUMN_TYPE',
      message: expect.stringMatching(/^flights-3m\.parquet: row \d+ of column "delay" is -?\d+, which does not fit int8$/),
    });
  });

  it('does not mind a value that does not fit outside of the range', async () => {
    const path = join(tempDir(), 'outlier.parquet');
    await duck(
      `copy (select case when i = 500 then 300 else i % 10 end::bigint as n from range(0, 1000) t(i)) to '${path}' (format parquet)`,
    );
    expect((await load({ uri: path, format: 'parquet', rows: [0, 500] }, { columns: { n: 'int8' } })).rows).toHaveLength(500);
    await expect(load({ uri: path, format: 'parquet', rows: [400, 600] }, { columns: { n: 'int8' } })).rejects.toThrow(
      'row 500 of column "n" is 300',
    );
  });

  it('refuses a declared type that a column cannot become, and says which it can', async () => {
    await expect(load(fileOf(flights, 'parquet'), { columns: { origin: 'int32' } })).rejects.toMatchObject({
      code: 'PDL_COLUMN_TYPE',
      hint: expect.stringContaining('utf8'),
    });
  });

  it('refuses a column that is not there and names those that are', async () => {
    await expect(load(fileOf(flights, 'parquet'), { columns: ['dely'] })).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringContaining('date, delay, distance'),
    });
  });

  it('refuses nested columns by name, and reads the file without them', async () => {
    const path = join(tempDir(), 'nested.parquet');
    await duck(`copy (select 1 as id, [1, 2] as list, {'a': 1} as struct, 2 as last) to '${path}' (format parquet)`);
    await expect(load(fileOf(path, 'parquet'))).rejects.toMatchObject({
      code: 'PDL_FORMAT_UNSUPPORTED',
      message: expect.stringContaining('"struct"'),
    });
    await duck(`copy (select [[1]] as lists, map {'a': 1} as map) to '${path}2' (format parquet)`);
    for (const name of ['lists', 'map'])
      await expect(load(fileOf(`${path}2`, 'parquet'), { columns: [name] })).rejects.toMatchObject({
        code: 'PDL_FORMAT_UNSUPPORTED',
        message: expect.stringContaining(`"${name}"`),
      });
    expect((await load(fileOf(path, 'parquet'), { columns: ['id', 'last'] })).rows).toEqual([{ id: 1, last: 2 }]);
  });

  it('says what was expected of a truncated file', async () => {
    const path = join(tempDir(), 'short.parquet');
    copyFileSync(flights, path);
    truncateSync(path, 5_000_000);
    await expect(load(fileOf(path, 'parquet'))).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringMatching(/expected to end with the 4 bytes "PAR1" at byte 4999996/),
    });
    truncateSync(path, 3);
    await expect(load(fileOf(path, 'parquet'))).rejects.toThrow('the smallest has 12');
  });

  it('says which column a damaged page belongs to', async () => {
    const path = join(tempDir(), 'damaged.parquet');
    const bytes = readFileSync(flights);
    bytes.fill(0xa5, 300_000, 301_000);
    writeFileSync(path, bytes);
    await expect(load(fileOf(path, 'parquet'))).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringContaining('column "delay" of damaged.parquet, rows 0 to 272727'),
    });
  });

  it('never answers a damaged file with anything but its error or data', async () => {
    const dir = tempDir();
    const path = join(dir, 'small.parquet');
    await duck(
      `copy (select i, 'n' || (i % 9) as name, case when i % 3 = 0 then null else i / 2 end as half from range(0, 300) t(i)) to '${path}' (format parquet)`,
    );
    const whole = readFileSync(path);
    for (let trial = 0; trial < 150; trial++) {
      const bytes = Buffer.from(whole);
      bytes[(trial * 7919) % bytes.length] = (trial * 131) & 255;
      const damaged = join(dir, 'damaged.parquet');
      writeFileSync(damaged, bytes);
      const outcome = await load(fileOf(damaged, 'parquet')).then(
        () => 'read',
        (thrown: unknown) => (thrown instanceof PodlineError ? thrown.code : String(thrown)),
      );
      expect(['read', 'PDL_SOURCE_UNREADABLE', 'PDL_FORMAT_UNSUPPORTED', 'PDL_COLUMN_TYPE']).toContain(outcome);
    }
  });
});
