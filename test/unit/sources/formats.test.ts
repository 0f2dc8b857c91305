import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeArrowFile } from '../../../runtime/scratch/arrow/file-writer.js';
import { columnOf } from '../scratch/helpers.js';
import { duck, fileOf, load, plain, readBytes, tempDir, vega } from './helpers.js';

function file(name: string, content: string | Buffer): string {
  const path = join(tempDir(), name);
  writeFileSync(path, content);
  return path;
}
const ndjson = async (text: string, input: Record<string, unknown> = {}) =>
  load(fileOf(file('data.ndjson', text), 'ndjson'), input);

describe('ndjson', () => {
  it('finds columns and types in the first rows, and keeps nested values as JSON text', async () => {
    const { rows, schema } = await ndjson(
      '{"i":1,"f":1.5,"b":true,"s":"é","n":{"a":[1,2]},"big":5000000000}\n\n{"s":null,"f":2,"late":"x","i":-1}\r\n{"mixed":1}\n{"mixed":"two"}',
    );
    expect(schema.map(({ name, type }) => [name, type])).toEqual([
      ['i', 'int32'],
      ['f', 'float64'],
      ['b', 'bool'],
      ['s', 'utf8'],
      ['n', 'utf8'],
      ['big', 'int64'],
      ['late', 'utf8'],
      ['mixed', 'utf8'],
    ]);
    const none = { i: null, f: null, b: null, s: null, n: null, big: null, late: null, mixed: null };
    expect(plain(rows)).toEqual([
      { ...none, i: 1, f: 1.5, b: true, s: 'é', n: '{"a":[1,2]}', big: 5_000_000_000 },
      { ...none, f: 2, late: 'x', i: -1 },
      { ...none, mixed: '1' },
      { ...none, mixed: 'two' },
    ]);
  });

  it('reads declared types and leaves other keys out', async () => {
    const { rows } = await ndjson(
      '{"t":"2001-01-01","w":"9007199254740993","k":"a","x":1}\n{"t":978307200000,"w":5,"k":"b","y":2}\n',
      { columns: { t: 'timestamp[ms]', w: 'int64', k: 'dictionary' } },
    );
    expect(rows).toEqual([
      { t: 978307200000n, w: 9007199254740993n, k: 'a' },
      { t: 978307200000n, w: 5n, k: 'b' },
    ]);
  });

  it.each([
    ['{"a":1}\n{"a":', 'PDL_SOURCE_UNREADABLE', 'record 2 is not JSON'],
    ['{"a":1}\n[1]\n', 'PDL_SOURCE_UNREADABLE', 'record 2 is not an object'],
    [
      `${'{"a":1}\n'.repeat(200_000)}{"a":"x"}\n`,
      'PDL_COLUMN_TYPE',
      'record 200001 of column "a" is "x", which does not fit int32',
    ],
    [
      `${'{"a":1}\n'.repeat(200_000)}{"b":1}\n`,
      'PDL_COLUMN_TYPE',
      'record 200001 of column "b" is 1, which is of a column that the first rows did not have',
    ],
  ])('refuses a bad record by number', async (text, code, message) => {
    await expect(ndjson(text)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it('refuses a number that has lost digits in JSON', async () => {
    await expect(ndjson('{"w":9007199254740993}\n', { columns: { w: 'int64' } })).rejects.toMatchObject({
      code: 'PDL_COLUMN_TYPE',
    });
  });
});

describe('arrow', () => {
  it('reads flights-200k.arrow like the JSON of the same flights', async () => {
    const { rows, result } = await load(fileOf(vega('flights-200k.arrow'), 'arrow'), { blockRows: 10_000 });
    const expected = JSON.parse(readFileSync(vega('flights-200k.json'), 'utf8')) as Record<string, number>[];
    expect(result).toMatchObject({ rows: expected.length, blocks: Math.ceil(expected.length / 10_000), sourceReads: 1 });
    const names = Object.keys(expected[0]!);
    expect(plain(rows).map((row) => names.map((name) => Math.fround(row[name] as number)))).toEqual(
      expected.map((row) => names.map((name) => Math.fround(row[name]!))),
    );
  });

  it('casts to declared types, and brings the dictionaries of batches to one', async () => {
    const path = join(tempDir(), 'data.arrow');
    const block = (n: (number | null)[], kinds: (string | null)[], words: string[]) => ({
      rows: n.length,
      columns: new Map([
        [
          'n',
          columnOf(
            'int64',
            n.map((value) => (value === null ? null : BigInt(value))),
          ),
        ],
        ['kind', columnOf('dictionary', kinds)],
        ['word', columnOf('utf8', words)],
        [
          'at',
          columnOf(
            'timestamp[us]',
            n.map(() => -1500n),
          ),
        ],
      ]),
    });
    const schema = [
      { name: 'n', type: 'int64', nullable: true },
      { name: 'kind', type: 'dictionary', nullable: true },
      { name: 'word', type: 'utf8', nullable: false },
      { name: 'at', type: 'timestamp[us]', nullable: false },
    ] as const;
    await writeArrowFile(path, [...schema], [block([1, null], ['a', 'b'], ['x', 'y']), block([300, 4], ['c', null], ['y', 'z'])]);
    const source = fileOf(path, 'arrow');
    const columns = { word: 'dictionary', kind: 'utf8', n: 'int16', at: 'timestamp[ms]' };
    const { rows, schema: read } = await load(source, { columns });
    expect(read.map(({ type }) => type)).toEqual(Object.values(columns));
    const expected = [
      { word: 'x', kind: 'a', n: 1, at: -2n },
      { word: 'y', kind: 'b', n: null, at: -2n },
      { word: 'y', kind: 'c', n: 300, at: -2n },
      { word: 'z', kind: null, n: 4, at: -2n },
    ];
    expect(rows).toEqual(expected);
    expect((await load({ ...source, rows: [1, 3] }, { columns })).rows).toEqual(expected.slice(1, 3));
    await expect(load(source, { columns: { n: 'int8' } })).rejects.toMatchObject({
      code: 'PDL_COLUMN_TYPE',
      message: 'data.arrow: row 2 of column "n" is 300, which does not fit int8',
    });
    await expect(load(source, { columns: { word: 'int8' } })).rejects.toMatchObject({ code: 'PDL_COLUMN_TYPE' });
  });

  it('says what is wrong with a truncated file', async () => {
    const path = file('short.arrow', readFileSync(vega('flights-200k.arrow')).subarray(0, 100_000));
    await expect(load(fileOf(path, 'arrow'))).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringContaining('short.arrow'),
    });
  });
});

describe('bytes', () => {
  it('reads a file in blocks of the size that is asked for', async () => {
    const whole = readFileSync(vega('7zip.png'));
    const { scratch, result } = await load(fileOf(vega('7zip.png'), 'bytes'), { blockBytes: 1000 });
    expect(readBytes(scratch).equals(whole)).toBe(true);
    expect(result).toMatchObject({ rows: 0, blocks: Math.ceil(whole.length / 1000), sourceReads: 1, schema: [] });
    expect(result.bytes.ssd.read).toBe(whole.length);
  });
});

describe('inline payloads', () => {
  it('takes objects as rows, whatever the format says', async () => {
    expect(
      (
        await load({
          inline: [
            { a: 1, b: 'x' },
            { a: 2.5, c: [1] },
          ],
          format: 'bytes',
        })
      ).rows,
    ).toEqual([
      { a: 1, b: 'x', c: null },
      { a: 2.5, b: null, c: [1] },
    ]);
    expect((await load({ inline: { a: true }, format: 'ndjson' })).rows).toEqual([{ a: true }]);
    expect((await load({ inline: [], format: 'ndjson' })).result).toMatchObject({ rows: 0, blocks: 0, sourceReads: 0 });
  });

  it('takes a text as the content of a file of the format', async () => {
    expect((await load({ inline: 'a;b\n1;x\n', format: 'csv' })).rows).toEqual([{ a: 1, b: 'x' }]);
    expect((await load({ inline: '{"a":1}\n{"a":2}', format: 'ndjson' })).rows).toEqual([{ a: 1 }, { a: 2 }]);
    expect(readBytes((await load({ inline: 'plain é', format: 'bytes' })).scratch).toString()).toBe('plain é');
  });

  it('takes base64 as the bytes of a file of the format', async () => {
    const base64 = readFileSync(vega('flights-200k.arrow')).toString('base64');
    expect((await load({ inline: { base64 }, format: 'arrow' })).result.rows).toBe(200_000);
    const path = join(tempDir(), 'small.parquet');
    await duck(`copy (select i::integer as i from range(0, 5) t(i)) to '${path}' (format parquet)`);
    expect((await load({ inline: { base64: readFileSync(path).toString('base64') }, format: 'parquet' })).rows).toEqual(
      [0, 1, 2, 3, 4].map((i) => ({ i })),
    );
  });

  it.each([[5], [null], [[1, 2]]])('refuses %j', async (inline) => {
    await expect(load({ inline, format: 'ndjson' })).rejects.toMatchObject({ code: 'PDL_FORMAT_UNSUPPORTED' });
  });
});
