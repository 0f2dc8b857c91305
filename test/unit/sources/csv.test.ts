import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { duck, fileOf, load, plain, tempDir, vega } from './helpers.js';

function csv(text: string | Buffer): string {
  const path = join(tempDir(), 'data.csv');
  writeFileSync(path, text);
  return path;
}
const read = async (text: string | Buffer, input: Record<string, unknown> = {}) => {
  const { rows, schema } = await load(fileOf(csv(text), 'csv'), input);
  return { rows: plain(rows), types: schema.map(({ type }) => type) };
};

describe('csv', () => {
  it.each([
    'airports',
    'birdstrikes',
    'zipcodes',
    'species',
    'seattle-weather',
    'us-employment',
    'sp500-2000',
    'github',
    'disasters',
  ])('reads %s.csv as DuckDB does', async (name) => {
    const path = vega(`${name}.csv`);
    const { rows, schema } = await load(fileOf(path, 'csv'), { blockRows: 1000 });
    const duckTypes = { bool: 'BOOLEAN', int32: 'INTEGER', int64: 'BIGINT', float64: 'DOUBLE', utf8: 'VARCHAR' };
    const types = schema.map(
      ({ name: column, type }) => `'${column.replaceAll("'", "''")}': '${duckTypes[type as keyof typeof duckTypes]}'`,
    );
    expect(plain(rows)).toEqual(
      await duck(
        `select * from read_csv('${path}', header = true, columns = {${types.join(', ')}}, nullstr = '', delim = ',', quote = '"', escape = '"')`,
      ),
    );
  });

  it('infers types from what it finds, and leaves codes with leading zeros as text', async () => {
    const { rows, types } = await read(
      'i,l,f,b,zip,s,none,d\n1,3000000000,1,true,01234,a,,2001-01-01\n-2,-1,2.5e3,FALSE,99999,,,2001-02-03\n',
    );
    expect(types).toEqual(['int32', 'int64', 'float64', 'bool', 'utf8', 'utf8', 'utf8', 'utf8']);
    expect(rows).toEqual([
      { i: 1, l: 3000000000, f: 1, b: true, zip: '01234', s: 'a', none: null, d: '2001-01-01' },
      { i: -2, l: -1, f: 2500, b: false, zip: '99999', s: null, none: null, d: '2001-02-03' },
    ]);
  });

  it('reads declared types: narrow numbers, dates, times, dictionaries', async () => {
    const columns = {
      d: 'date32',
      t: 'timestamp[ms]',
      u: 'timestamp[us]',
      n: 'int8',
      k: 'dictionary',
      x: 'float32',
      w: 'uint64',
    };
    const { rows } = await read(
      'n,d,t,u,k,x,w,unused\n-128,1969-12-31,2001-01-01 00:01:02.5,2001-01-01T00:00:00.000001+01:00,a,0.5,18446744073709551615,q\n7,2000-02-29,0,5,b,,,\n,,,,a,1,0,\n',
      { columns },
    );
    expect(rows).toEqual([
      {
        d: -1,
        t: Date.UTC(2001, 0, 1, 0, 1, 2, 500),
        u: (Date.UTC(2001, 0, 1) - 3_600_000) * 1000 + 1,
        n: -128,
        k: 'a',
        x: 0.5,
        w: 2 ** 64,
      },
      { d: 11_016, t: 0, u: 5, n: 7, k: 'b', x: null, w: null },
      { d: null, t: null, u: null, n: null, k: 'a', x: 1, w: 0 },
    ]);
  });

  it('knows quotes, doubled quotes, line breaks within fields, CRLF, a byte order mark, no last line break, and empty lines', async () => {
    const { rows } = await read('\ufeffname,"say ""x""",n\r\n"a ""b""\r\nc, d","",1\r\n\r\n"","plain, text",2\r\ninch 3",,3');
    expect(rows).toEqual([
      { name: 'a "b"\r\nc, d', 'say "x"': '', n: 1 },
      { name: '', 'say "x"': 'plain, text', n: 2 },
      { name: 'inch 3"', 'say "x"': null, n: 3 },
    ]);
  });

  it.each([
    [';', '1,5'],
    ['\t', 'x y'],
    ['|', 'a;b'],
  ])('finds the delimiter %j', async (delimiter, value) => {
    expect((await read(`a${delimiter}b\n${value}${delimiter}2\n`)).rows).toEqual([{ a: value, b: 2 }]);
  });

  it('names record, column and value that do not fit the inferred type, and says how to declare another', async () => {
    const text = `n\n${'1\n'.repeat(700_000)}x1\n`;
    await expect(read(text)).rejects.toMatchObject({
      code: 'PDL_COLUMN_TYPE',
      message: 'data.csv: record 700001 of column "n" is "x1", which does not fit int32',
      hint: expect.stringContaining('n: utf8'),
    });
  });

  it.each([
    ['a,b\n1,2\n3\n', 'record 2 cannot be read: it has 1 fields, and the header has 2'],
    ['a,b\n1,"2\n', 'record 1 cannot be read: a quote is not closed'],
    ['a,b\n1,"2"x\n', 'record 1 cannot be read: text stands behind a closing quote'],
    ['a,a\n1,2\n', 'names "a" twice'],
    ['', 'is empty'],
    [Buffer.from([0x61, 0x0a, 0xff, 0x0a]), 'is not UTF-8'],
  ])('refuses %j', async (text, message) => {
    await expect(read(text)).rejects.toMatchObject({ code: 'PDL_SOURCE_UNREADABLE', message: expect.stringContaining(message) });
  });

  it('reads a file with a header alone as a table without rows, and an empty one if its columns are declared', async () => {
    expect(await read('a,b\n')).toEqual({ rows: [], types: ['utf8', 'utf8'] });
    expect(await read('', { columns: { a: 'int32' } })).toEqual({ rows: [], types: ['int32'] });
  });

  it('reads records that are longer than a piece of the stream', async () => {
    const long = 'x'.repeat(3_000_000);
    const { rows } = await read(`a,b\n"${long}\n${long}",1\n${long},2\n`, { columns: { a: 'utf8', b: 'int32' } });
    expect(rows.map(({ a, b }) => [String(a).length, b])).toEqual([
      [6_000_001, 1],
      [3_000_000, 2],
    ]);
  });

  it('gives a range of rows', async () => {
    const { rows } = await load({ uri: vega('airports.csv'), format: 'csv', rows: [10, 13] }, { columns: ['iata'] });
    const all = await load(fileOf(vega('airports.csv'), 'csv'), { columns: ['iata'] });
    expect(rows).toEqual(all.rows.slice(10, 13));
  });
});
