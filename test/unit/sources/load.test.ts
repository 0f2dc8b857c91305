import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ShardSource } from '../../../runtime/contracts/shard.js';
import { pieceBytes } from '../../../runtime/sources/source-reader.js';
import { makeScratch, shardId } from '../scratch/helpers.js';
import { duck, fileOf, load, plain, readBytes, readRows, tempDir, vega } from './helpers.js';

/** Loads, breaking off after `blocks` blocks, and then again; both results. */
async function inTwo(source: ShardSource, input: Record<string, unknown>, blocks: number) {
  const scratch = await makeScratch();
  const broken = new Error('broken off');
  const stop = new AbortController();
  const onProgress = (progress: { blocks: number }): void => {
    if (progress.blocks === blocks) stop.abort(broken);
  };
  await expect(load(source, input, { onProgress, signal: stop.signal }, scratch)).rejects.toBe(broken);
  expect(scratch.stream(shardId, 'input')).toMatchObject({ blocks, sealed: false });
  const before = scratch.blocks(shardId, 'input');
  const second = await load(source, input, {}, scratch);
  expect(scratch.blocks(shardId, 'input', 0, blocks)).toEqual(before);
  expect(scratch.stream(shardId, 'input')).toMatchObject({ sealed: true });
  return second;
}

const codes = (scratch: Awaited<ReturnType<typeof makeScratch>>, name: string): number[] => {
  const reader = scratch.openReader(shardId);
  const all = scratch.blocks(shardId, 'input').flatMap((block) => [...(reader.table(block).get(name)!.values as Int32Array)]);
  reader.close();
  return all;
};

describe('a load that was broken off', () => {
  it.each([
    ['parquet', vega('flights-3m.parquet'), { columns: ['origin', 'delay'] }, 14],
    ['csv', vega('birdstrikes.csv'), { blockRows: 900, columns: { 'Airport Name': 'dictionary', 'Cost Total $': 'int32' } }, 4],
    ['arrow', vega('flights-200k.arrow'), { blockRows: 20_000 }, 3],
  ] as const)('goes on behind its last block: %s', async (format, path, input, blocks) => {
    const source: ShardSource = format === 'parquet' ? { uri: path, format, rows: [100_000, 1_500_000] } : fileOf(path, format);
    const { scratch, result } = await inTwo(source, input, blocks);
    const whole = await load(source, input);
    expect(result.rows).toBe(whole.result.rows);
    expect(result.blocks).toBe(whole.result.blocks);
    if (format === 'parquet') expect(codes(scratch, 'origin')).toEqual(codes(whole.scratch, 'origin'));
    else expect(readRows(scratch)).toEqual(whole.rows);
  });

  it('goes on behind its last block: ndjson and bytes', async () => {
    const path = join(tempDir(), 'data.ndjson');
    writeFileSync(path, Array.from({ length: 5000 }, (_, i) => JSON.stringify({ i, s: `t${i % 7}` })).join('\n'));
    const rows = await inTwo(fileOf(path, 'ndjson'), { blockRows: 800 }, 2);
    expect(rows.rows).toEqual(Array.from({ length: 5000 }, (_, i) => ({ i, s: `t${i % 7}` })));
    const bytes = await inTwo(fileOf(vega('zipcodes.csv'), 'bytes'), { blockBytes: 100_000 }, 7);
    expect(readBytes(bytes.scratch).equals(readBytes((await load(fileOf(vega('zipcodes.csv'), 'bytes'))).scratch))).toBe(true);
    expect(bytes.result.bytes.ssd.read).toBe(2_018_388 - 700_000);
  });

  it('reads nothing when the stream was sealed already', async () => {
    const source = fileOf(vega('airports.csv'), 'bytes');
    const { scratch, result } = await load(source);
    const again = await load(source, {}, {}, scratch);
    expect(again.result).toMatchObject({ blocks: result.blocks, sourceReads: 0 });
    expect(again.result.bytes.ssd.read).toBe(0);
  });
});

describe('a load', () => {
  it('reads its source once and counts the bytes by medium', async () => {
    const { result, scratch } = await load(fileOf(vega('flights-3m.parquet'), 'parquet'), {
      columns: { delay: 'int16', distance: 'int16' },
    });
    expect(result.sourceReads).toBe(1);
    expect(result.bytes.ssd.read).toBeLessThan(13_493_022);
    expect(result.bytes.memory.written).toBe(scratch.stream(shardId, 'input')!.bytes);
    expect(result.bytes.memory.written).toBeGreaterThan(12_000_000);
  });

  it('tells its progress after every block', async () => {
    const seen: number[] = [];
    const { result } = await load(
      fileOf(vega('zipcodes.csv'), 'csv'),
      { blockRows: 10_000 },
      { onProgress: ({ rows, bytesTotal }) => seen.push(rows, bytesTotal ?? 0) },
    );
    const total = 2_018_388;
    expect(seen).toEqual([10_000, total, 20_000, total, 30_000, total, 40_000, total, result.rows, total]);
  });

  it('asks for room when the scratch is full, and goes on where it is told to', async () => {
    const scratch = await makeScratch({ sizeBytesMax: 3 * pieceBytes });
    const asked: number[] = [];
    const onFull = async (bytes: number) => {
      asked.push(bytes);
      return 'ssd' as const;
    };
    const { result } = await load(fileOf(vega('flights-3m.parquet'), 'bytes'), { blockBytes: '256Ki' }, { onFull }, scratch);
    expect(asked).toEqual([256 * 1024]);
    expect(result.bytes.ssd.written).toBeGreaterThan(0);
    expect(result.bytes.memory.written).toBeLessThanOrEqual(3 * pieceBytes);
    expect(result.bytes.ssd.written + result.bytes.memory.written).toBeGreaterThanOrEqual(result.bytes.ssd.read);
  });

  it('fails with PDL_SCRATCH_FULL where there is no room, and goes on when there is', async () => {
    const scratch = await makeScratch({ sizeBytesMax: 2 * pieceBytes });
    await expect(load(fileOf(vega('flights-3m.parquet'), 'bytes'), { blockBytes: '512Ki' }, {}, scratch)).rejects.toMatchObject({
      code: 'PDL_SCRATCH_FULL',
    });
    expect(scratch.stream(shardId, 'input')!.blocks).toBeGreaterThan(0);
    const { result } = await load(
      fileOf(vega('flights-3m.parquet'), 'bytes'),
      { blockBytes: '512Ki' },
      { onFull: async () => 'ssd' },
      scratch,
    );
    expect(result.blocks).toBe(Math.ceil(13_493_022 / (512 * 1024)));
    expect(readBytes(scratch).equals(readFileSync(vega('flights-3m.parquet')))).toBe(true);
  });

  it('does not begin when it was cancelled before', async () => {
    const reason = new Error('not wanted');
    await expect(load(fileOf(vega('airports.csv'), 'csv'), {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it('says that a file is not there', async () => {
    await expect(load(fileOf(join(tempDir(), 'none.csv'), 'csv'))).rejects.toMatchObject({ code: 'PDL_SOURCE_MISSING' });
    await expect(load(fileOf(tempDir(), 'csv'))).rejects.toMatchObject({
      code: 'PDL_SOURCE_UNREADABLE',
      message: expect.stringContaining('is not a file'),
    });
  });

  it('gives blocks of any size the same rows', async () => {
    const path = join(tempDir(), 'odd.parquet');
    await duck(
      `copy (select i::integer as i, i % 3 = 0 as flag, case when i % 5 = 0 then null else 'w' || i end as word, case when i % 4 = 0 then null else i % 2 = 0 end as maybe from range(0, 5000) t(i)) to '${path}' (format parquet, row_group_size 2048)`,
    );
    const expected = await duck(`select * from '${path}'`);
    for (const blockRows of [1000, 7, 2048, 4999, 100_000])
      expect(plain((await load(fileOf(path, 'parquet'), { blockRows })).rows)).toEqual(expected);
  });
});
