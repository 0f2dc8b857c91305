import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ColumnType } from '../../../runtime/contracts/block.js';
import type { InputFormat } from '../../../runtime/contracts/manifest.js';
import { hasTmpfs, sharedMemory } from '../../../runtime/local/places.js';
import { mediumOf } from '../../../runtime/platform/medium-of.js';
import { Decoders } from '../../../runtime/sources/parallel/decoders.js';
import { lineageOf, makeScratch, memoryDir, optionsIn, run, shardId } from '../../unit/scratch/helpers.js';
import { duck, fileOf, load, readBytes, tempDir, vega } from '../../unit/sources/helpers.js';

/** Parts of a few bytes, so that small files have many. */
function decoders(partBytes = 64): Decoders {
  const made = new Decoders(3, { partBytes, from: { text: 1, parquet: 1, bytes: 1 } });
  onTestFinished(() => made.close());
  return made;
}

function file(name: string, content: string): string {
  const path = join(tempDir(), name);
  writeFileSync(path, content);
  return path;
}

async function bytesTarget(sizeBytesMax = 64 * 1024 * 1024) {
  const dir = memoryDir();
  const scratch = await makeScratch({ sizeBytesMax }, dir);
  const request = { shardId, stream: 'input', kind: 'bytes' as const, schema: [], lineage: lineageOf('input'), run };
  return { scratch, target: { scratch: optionsIn(dir, { sizeBytesMax }), request } };
}

async function same(path: string, format: InputFormat, input: Record<string, unknown>, helpers: Decoders) {
  const alone = await load(fileOf(path, format), input);
  const together = await load(fileOf(path, format), input, { decoders: helpers });
  expect(together.schema).toEqual(alone.schema);
  expect(together.result).toMatchObject({ rows: alone.result.rows, blocks: alone.result.blocks, sourceReads: 1 });
  expect(together.rows).toEqual(alone.rows);
  return together;
}

describe('threads that decode beside one another', () => {
  it('give the rows of CSV as one would, line breaks and quotes within fields wherever they lie', async () => {
    const helpers = decoders();
    const field = fc.oneof(
      fc.constantFrom('', '""', '"a\nb"', '"\n"', '"x""\n""y"', '"\r\n,"', 'plain'),
      fc.stringMatching(/^[a-z]{0,90}$/),
    );
    const record = fc.tuple(field, field).map(([a, b]) => `${a},${b}`);
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 40 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        async (records, end, last) => {
          const text = ['k,v', ...records].join(end) + (last ? end : '');
          await same(file('data.csv', text), 'csv', { blockRows: 7, columns: { k: 'utf8', v: 'dictionary' } }, helpers);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('give the rows of NDJSON as one would, whatever their length', async () => {
    const helpers = decoders();
    const row = fc.record({ a: fc.nat(), b: fc.string({ maxLength: 200 }), c: fc.array(fc.nat(9), { maxLength: 3 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 30 }), fc.boolean(), async (rows, last) => {
        const text = rows.map((each) => JSON.stringify(each)).join('\n') + (last ? '\n\n' : '');
        const columns: Record<string, ColumnType> = { a: 'int64', b: 'dictionary', c: 'list<int8>' };
        await same(file('data.ndjson', text), 'ndjson', { blockRows: 4, columns }, helpers);
      }),
      { numRuns: 60 },
    );
  });

  it('give the rows of Parquet as one would, with one dictionary', async () => {
    const path = join(tempDir(), 'groups.parquet');
    await duck(
      `copy (select i, 'w' || (i * 7 % 5000) as word, case when i % 3 = 0 then null else i / 2 end as half from range(0, 20000) t(i))
       to '${path}' (format parquet, row_group_size 2048)`,
    );
    await same(path, 'parquet', { blockRows: 3000, columns: { word: 'dictionary', i: 'int32', half: 'float64' } }, decoders());
    const part = { ...fileOf(path, 'parquet'), rows: [3000, 9000] as [number, number] };
    const alone = await load(part, { blockRows: 1000 });
    expect((await load(part, { blockRows: 1000 }, { decoders: decoders() })).rows).toEqual(alone.rows);
  });

  it('tell a fault with the number that its record has in the source', async () => {
    const lines = Array.from({ length: 100 }, (_, i) => `{"a":${String(i)}}`);
    lines[70] = '{"a":"x"}';
    const input = { columns: { a: 'int32' } };
    const reading = load(fileOf(file('bad.ndjson', lines.join('\n')), 'ndjson'), input, { decoders: decoders() });
    await expect(reading).rejects.toMatchObject({
      code: 'PDL_COLUMN_TYPE',
      message: 'bad.ndjson: record 71 of column "a" is "x", which does not fit int32',
    });
    const csv = `a,b\n${'1,"\n"\n'.repeat(50)}1,2,3\n${'1,2\n'.repeat(50)}`;
    await expect(load(fileOf(file('bad.csv', csv), 'csv'), {}, { decoders: decoders() })).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringContaining('record 51'),
    });
  });

  it('go on behind what is loaded already', async () => {
    const path = file('more.ndjson', Array.from({ length: 200 }, (_, i) => `{"a":${String(i)}}\n`).join(''));
    const helpers = decoders();
    const stopped = new AbortController();
    const scratch = await makeScratch();
    const more = {
      decoders: helpers,
      signal: stopped.signal,
      onProgress: ({ blocks }: { blocks: number }) => blocks === 3 && stopped.abort(new Error('enough')),
    };
    await expect(load(fileOf(path, 'ndjson'), { blockRows: 30 }, more, scratch)).rejects.toThrow('enough');
    expect(scratch.blocks(shardId, 'input')).toHaveLength(3);
    const { rows } = await load(fileOf(path, 'ndjson'), { blockRows: 30 }, { decoders: helpers }, scratch);
    expect(rows.map(({ a }) => a)).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  it('copy bytes into blocks of one stream, which lie in parts of each thread', async () => {
    const whole = randomBytes(1_000_003);
    const path = join(tempDir(), 'data.bin');
    writeFileSync(path, whole);
    const { scratch, target } = await bytesTarget();
    const { result } = await load(
      fileOf(path, 'bytes'),
      { blockBytes: 65_536 },
      { decoders: decoders(), copyTarget: () => target },
      scratch,
    );
    expect(readBytes(scratch).equals(whole)).toBe(true);
    expect(result).toMatchObject({ blocks: 16, sourceReads: 1 });
    expect([result.bytes[await mediumOf(path)].read, result.bytes.memory.written]).toEqual([whole.length, whole.length]);
    expect(new Set(scratch.blocks(shardId, 'input').map(({ payload }) => payload?.segment)).size).toBe(3);
    await scratch.verifyStream(shardId, 'input');
  });

  it.runIf(hasTmpfs())('count what they read from tmpfs as memory, whoever reads it', async () => {
    const dir = mkdtempSync(join(sharedMemory, 'podline-media-'));
    onTestFinished(() => {
      rmSync(dir, { recursive: true, force: true });
    });
    const text = join(dir, 'data.csv');
    writeFileSync(text, `a,b\n${Array.from({ length: 500 }, (_, row) => `${row},${row}`).join('\n')}\n`);
    const whole = randomBytes(1_000_003);
    const raw = join(dir, 'data.bin');
    writeFileSync(raw, whole);
    const { scratch, target } = await bytesTarget();
    const copied = await load(
      fileOf(raw, 'bytes'),
      { blockBytes: 65_536 },
      { decoders: decoders(), copyTarget: () => target },
      scratch,
    );
    const decoded = await load(fileOf(text, 'csv'), {}, { decoders: decoders() });
    const alone = await load(fileOf(text, 'csv'), {});
    for (const { result } of [copied, decoded, alone]) expect(result.bytes.ssd).toEqual({ read: 0, written: 0 });
    expect(copied.result.bytes.memory.read).toBe(whole.length);
    expect(alone.result.bytes.memory.read).toBe(statSync(text).size);
    expect(decoded.result.bytes.memory.read).toBeGreaterThanOrEqual(statSync(text).size);
  });

  it('leave what finds no room to the one thread that can ask for some', async () => {
    const whole = randomBytes(4_000_000);
    const path = join(tempDir(), 'data.bin');
    writeFileSync(path, whole);
    const { scratch, target } = await bytesTarget(2 * 1024 * 1024);
    const { result } = await load(
      fileOf(path, 'bytes'),
      { blockBytes: 262_144 },
      { decoders: decoders(), copyTarget: () => target, onFull: () => Promise.resolve('ssd') },
      scratch,
    );
    expect(readBytes(scratch).equals(whole)).toBe(true);
    expect(result.bytes.memory.written).toBeGreaterThan(0);
    expect(result.bytes.ssd.written).toBeGreaterThan(0);
    await scratch.verifyStream(shardId, 'input');
  });

  it('leave small sources, and those that are no file, to one thread', async () => {
    const usual = new Decoders(4);
    onTestFinished(() => usual.close());
    const path = vega('birdstrikes.csv');
    const { result } = await load(fileOf(path, 'csv'), {}, { decoders: usual });
    expect(result.bytes.ssd.read).toBe(statSync(path).size);
    const { rows } = await load({ inline: 'a\n1\n2\n', format: 'csv' }, {}, { decoders: decoders() });
    expect(rows).toEqual([{ a: 1 }, { a: 2 }]);
  });
});
