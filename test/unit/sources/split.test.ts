import { mkdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../../runtime/platform/entries.js';
import type { SplitShard } from '../../../runtime/sources/split.js';
import { duck, load, plain, readBytes, split, tempDir, vega, type Row } from './helpers.js';

/** The rows of all shards, one after another. */
async function rowsOf(shards: readonly SplitShard[], input: Record<string, unknown> = {}): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { source } of shards) for (const row of plain((await load(source, input)).rows)) rows.push(row);
  return rows;
}
const rangesOf = (shards: readonly SplitShard[]) =>
  shards.map(({ source }) => ('uri' in source ? (source.bytes ?? source.rows) : undefined));

const field = fc.oneof(
  fc.string({ maxLength: 6 }),
  fc.constantFrom('', 'plain', 'a,b', 'line\nbreak', 'crlf\r\nin', '"', '""', 'q"q', ' ', 'é€😀', "'"),
);
const encode = (text: string): string => (/[",\r\n]/.test(text) || text === '' ? `"${text.replaceAll('"', '""')}"` : text);

describe('split by records', () => {
  it('puts each CSV record into exactly one chunk', async () => {
    const dir = tempDir();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(field, field), { maxLength: 30 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.boolean(),
        fc.oneof(fc.record({ rows: fc.integer({ min: 1, max: 12 }) }), fc.record({ bytes: fc.integer({ min: 1, max: 80 }) })),
        async (records, newline, endsWithNewline, hasEmptyLines, chunk) => {
          const path = join(dir, 'data.csv');
          const between = hasEmptyLines ? newline + newline : newline;
          const text =
            ['a,b', ...records.map((record) => record.map(encode).join(','))].join(between) + (endsWithNewline ? newline : '');
          writeFileSync(path, text);
          const columns = { a: 'utf8', b: 'utf8' };
          const shards = await split({ source: path, format: 'csv', chunk, columns });
          expect(await rowsOf(shards, { columns })).toEqual(records.map(([a, b]) => ({ a, b })));
          const ranges = rangesOf(shards) as [number, number][];
          expect(ranges.map(([from]) => from).slice(1)).toEqual(ranges.map(([, to]) => to).slice(0, -1));
          expect(ranges.at(-1)![1]).toBe(statSync(path).size);
          if ('rows' in chunk) expect(shards).toHaveLength(Math.max(Math.ceil(records.length / chunk.rows), 1));
        },
      ),
      { numRuns: 40 },
    );
  });

  it('puts each NDJSON record into exactly one chunk', async () => {
    const dir = tempDir();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ a: fc.integer(), b: fc.oneof(fc.string(), fc.constant(null)) }), { maxLength: 30 }),
        fc.constantFrom('\n', '\r\n', '\n\n'),
        fc.boolean(),
        fc.oneof(fc.record({ rows: fc.integer({ min: 1, max: 12 }) }), fc.record({ bytes: fc.integer({ min: 1, max: 80 }) })),
        async (records, newline, endsWithNewline, chunk) => {
          const path = join(dir, 'data.ndjson');
          writeFileSync(path, records.map((record) => JSON.stringify(record)).join(newline) + (endsWithNewline ? newline : ''));
          const columns = { a: 'int32', b: 'utf8' };
          const shards = await split({ source: path, format: 'ndjson', chunk, columns });
          expect(await rowsOf(shards, { columns })).toEqual(records);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('keeps a chunk within its bytes unless one record has more', async () => {
    const shards = await split({ source: vega('airports.csv'), format: 'csv', chunk: { bytes: '16Ki' } });
    const sizes = (rangesOf(shards) as [number, number][]).map(([from, to]) => to - from);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(16 * 1024);
    expect(sizes.length).toBe(13);
  });

  it('gives the parts of one file the same types, whatever they hold themselves', async () => {
    const path = join(tempDir(), 'mixed.csv');
    writeFileSync(path, `n,s\n${'1,x\n'.repeat(10)}2.5,\n`);
    const shards = await split({ source: path, format: 'csv', chunk: { rows: 4 } });
    for (const { source } of shards) expect((await load(source)).schema.map(({ type }) => type)).toEqual(['float64', 'utf8']);
  });

  it('reads real files in parts as in one', async () => {
    for (const [file, format] of [
      ['birdstrikes.csv', 'csv'],
      ['zipcodes.csv', 'csv'],
      ['flights-200k.arrow', 'arrow'],
    ] as const) {
      const whole = await rowsOf(await split({ source: vega(file), format }));
      const shards = await split({ source: vega(file), format, chunk: { rows: 33_333 } });
      expect(await rowsOf(shards), file).toEqual(whole);
      expect(shards.length).toBe(Math.ceil(whole.length / 33_333));
    }
  });
});

describe('split by rows', () => {
  it('cuts parquet from its footer alone', async () => {
    const shards = await split({
      source: 'npm:vega-datasets/data/flights-3m.parquet',
      format: 'parquet',
      chunk: { rows: 1_000_000 },
    });
    expect(shards.map(({ key }) => key)).toEqual([
      'flights-3m.parquet#000000',
      'flights-3m.parquet#000001',
      'flights-3m.parquet#000002',
    ]);
    expect(rangesOf(shards)).toEqual([
      [0, 1_000_000],
      [1_000_000, 2_000_000],
      [2_000_000, 3_000_000],
    ]);
    const byBytes = await split({ source: vega('flights-3m.parquet'), format: 'parquet', chunk: { bytes: '5M' } });
    expect((rangesOf(byBytes) as [number, number][]).at(-1)![1]).toBe(3_000_000);
    expect(byBytes).toHaveLength(3);
  });

  it('reads parquet in parts as DuckDB reads it whole', async () => {
    const path = join(tempDir(), 'parts.parquet');
    await duck(
      `copy (select i, 'n' || (i % 9) as name from range(0, 7000) t(i)) to '${path}' (format parquet, row_group_size 2048)`,
    );
    const shards = await split({ source: path, format: 'parquet', chunk: { rows: 999 } });
    expect(shards).toHaveLength(8);
    expect(await rowsOf(shards)).toEqual(await duck(`select * from '${path}'`));
  });

  it('cuts bytes anywhere', async () => {
    const path = vega('7zip.png');
    const shards = await split({ source: path, chunk: { bytes: 1000 } });
    const parts: Buffer[] = [];
    for (const { source } of shards) parts.push(readBytes((await load(source, { blockBytes: 300 })).scratch));
    expect(Buffer.concat(parts).equals(readFileSync(path))).toBe(true);
    expect(parts.slice(0, -1).every((part) => part.length === 1000)).toBe(true);
  });

  it('makes an empty file one empty shard', async () => {
    const path = join(tempDir(), 'empty');
    writeFileSync(path, '');
    for (const format of ['bytes', 'ndjson', 'csv'] as const) {
      const shards = await split({ source: path, format, chunk: { bytes: 10 }, columns: { a: 'int32' } });
      expect(rangesOf(shards)).toEqual([[0, 0]]);
      expect((await load(shards[0]!.source, { columns: { a: 'int32' } })).result).toMatchObject({ rows: 0, blocks: 0 });
    }
  });

  it('splits inline rows, and leaves an inline payload whole', async () => {
    const inline = [{ a: 1 }, { a: 2 }, { a: 3 }];
    const shards = await split({ source: { inline }, chunk: { rows: 2 } });
    expect(shards).toEqual([
      { key: 'inline#000000', source: { inline: inline.slice(0, 2), format: 'bytes' } },
      { key: 'inline#000001', source: { inline: inline.slice(2), format: 'bytes' } },
    ]);
    expect(await split({ source: { inline: 'text' } })).toEqual([{ key: 'inline', source: { inline: 'text', format: 'bytes' } }]);
  });

  it('refuses a chunk that does not go with the format', async () => {
    await expect(split({ source: vega('7zip.png'), chunk: { rows: 2 } })).rejects.toMatchObject({
      code: 'PDL_MANIFEST_INVALID',
      place: 'spec.input.chunk',
    });
  });
});

describe('sources of a manifest', () => {
  function tree(): string {
    const dir = tempDir();
    for (const path of ['a/x.csv', 'a/y.csv', 'a/deep/z.csv', 'b/x.csv', 'b/notes.md', '.hidden/x.csv', 'a/.dot.csv']) {
      mkdirSync(join(dir, path, '..'), { recursive: true });
      writeFileSync(join(dir, path), 'n\n1\n');
    }
    return dir;
  }
  const keys = async (source: unknown, dir: string, format = 'csv') =>
    (await split({ source, format }, dir)).map(({ key }) => key);

  it('means files, folders and patterns, sorted, with keys relative to what they have in common', async () => {
    const dir = tree();
    expect(await keys('a/x.csv', dir)).toEqual(['x.csv']);
    expect(await keys('a', dir)).toEqual(['deep/z.csv', 'x.csv', 'y.csv']);
    expect(await keys('./a/', dir)).toEqual(['deep/z.csv', 'x.csv', 'y.csv']);
    expect(await keys('a/*.csv', dir)).toEqual(['x.csv', 'y.csv']);
    expect(await keys('**/*.csv', dir)).toEqual(['a/deep/z.csv', 'a/x.csv', 'a/y.csv', 'b/x.csv']);
    expect(await keys('{a,b}/[xq].cs?', dir)).toEqual(['a/x.csv', 'b/x.csv']);
    expect(await keys(join(dir, 'b/**'), dir)).toEqual(['notes.md', 'x.csv']);
    expect(await keys(['b', 'a/x.csv'], dir)).toEqual(['b/x.csv', 'a/x.csv']);
    expect(await keys('b', dir, 'bytes')).toEqual(['notes.md', 'x.csv']);
  });

  it('takes a file that several entries mean once', async () => {
    const dir = tree();
    expect(await keys(['a/x.csv', 'a/*.csv', './a/../a/y.csv'], dir)).toEqual(['x.csv', 'y.csv']);
  });

  it('does not change the key of a file when another one comes beside it', async () => {
    const dir = tree();
    const before = await keys('**/x.csv', join(dir, 'b'));
    mkdirSync(join(dir, 'b/new'));
    writeFileSync(join(dir, 'b/new/x.csv'), 'n\n');
    expect(await keys('**/x.csv', join(dir, 'b'))).toEqual([...before.slice(0, -1), 'new/x.csv', 'x.csv']);
  });

  it('takes a path with pattern characters in it as it stands', async () => {
    const dir = join(tempDir(), 'odd [x]{1}');
    mkdirSync(dir);
    writeFileSync(join(dir, 'a*.csv'), 'n\n');
    writeFileSync(join(dir, 'ab.csv'), 'n\n');
    symlinkSync(join(dir, 'ab.csv'), join(dir, 'link.csv'));
    expect(await keys('a*.csv', dir)).toEqual(['a*.csv']);
    expect(await keys('?b.csv', dir)).toEqual(['ab.csv']);
    expect(await keys('.', dir)).toEqual(['a*.csv', 'ab.csv', 'link.csv']);
  });

  it.each([
    ['none.csv', 'is not there'],
    ['none/*.csv', 'matches no file'],
    ['a/*.parquet', 'matches no file'],
    ['npm:no-such-package/x.csv', 'is in no node_modules'],
  ])('says that %s means nothing', async (source, message) => {
    await expect(keys(source, tree())).rejects.toMatchObject({
      code: 'PDL_SOURCE_MISSING',
      message: expect.stringContaining(`\`${source}\` ${message}`),
    });
  });

  it('says why a folder holds nothing of the format', async () => {
    const dir = tree();
    await expect(keys('b', dir, 'parquet')).rejects.toMatchObject({
      code: 'PDL_SOURCE_MISSING',
      message: expect.stringContaining('no file has a name of format parquet'),
      hint: expect.stringContaining('pattern'),
    });
  });

  it('finds files of installed packages, from wherever the manifest lies', async () => {
    const [shard] = await split({ source: 'npm:vega-datasets/data/airports.csv', format: 'csv' }, tempDir());
    expect(shard).toMatchObject({
      key: 'airports.csv',
      source: { uri: join(packageRoot, 'node_modules/vega-datasets/data/airports.csv') },
    });
  });

  it('refuses to load a source that is not what it was when it was split', async () => {
    const path = join(tempDir(), 'a.csv');
    writeFileSync(path, 'n\n1\n2\n');
    const [shard] = await split({ source: path, format: 'csv', chunk: { rows: 1 } });
    utimesSync(path, 1, 1);
    await expect(load(shard!.source)).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringContaining('has changed since it was submitted'),
    });
  });
});
