import { describe, expect, it, onTestFinished } from 'vitest';
import type { Lineage } from '../../../runtime/contracts/block.js';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import type { ShardSource } from '../../../runtime/contracts/shard.js';
import { LoadThread, type LoadRequest } from '../../../runtime/sources/load-in-thread.js';
import type { Scratch } from '../../../runtime/scratch/types.js';
import { makeScratch, memoryDir, optionsIn } from '../../unit/scratch/helpers.js';
import { inputOf, vega } from '../../unit/sources/helpers.js';

const lineage: Lineage = { digest: 'd', stage: 'input', version: '1', parameters: 'p', inputs: {} };

function makeThread(): LoadThread {
  const thread = new LoadThread();
  onTestFinished(() => thread.close());
  return thread;
}

async function makeRequests(sizeBytesMax = 256 * 1024 * 1024): Promise<{
  scratch: Scratch;
  request: (shardId: string, source: ShardSource, input?: Record<string, unknown>) => Promise<LoadRequest>;
}> {
  const dir = memoryDir();
  const options = optionsIn(dir, { sizeBytesMax });
  const scratch = await makeScratch({ sizeBytesMax }, dir);
  return {
    scratch,
    request: async (shardId, source, input = {}) => {
      const run = { runId: `${shardId}.load`, epoch: 1 };
      await scratch.putShard({ shardId, epoch: 1, revision: 1 });
      await scratch.beginRun(shardId, 'input', run);
      return { source, input: inputOf({ format: source.format, ...input }), shardId, lineage, run, scratch: options };
    },
  };
}

const flights: ShardSource = { uri: vega('flights-3m.parquet'), format: 'parquet' };

describe('loading in a thread', () => {
  it('gives the owner the stream, and several shards side by side', async () => {
    const thread = makeThread();
    const { scratch, request } = await makeRequests();
    const progress: number[] = [];
    const columns = { date: 'timestamp[ms]', delay: 'int16', distance: 'int16', origin: 'dictionary', destination: 'dictionary' };
    const [large, small] = await Promise.all([
      thread.load(await request('large', flights, { columns }), { onProgress: ({ rows }) => progress.push(rows) }),
      thread.load(await request('small', { uri: vega('airports.csv'), format: 'csv' })),
    ]);
    expect(large).toMatchObject({ rows: 3_000_000, sourceReads: 1 });
    expect(small).toMatchObject({ rows: 3376 });
    expect(scratch.stream('large', 'input')).toMatchObject({ sealed: true, rows: 3_000_000, blocks: 46 });
    expect(scratch.stream('small', 'input')).toMatchObject({ sealed: true, rows: 3376 });
    expect(progress.at(-1)).toBe(3_000_000);
    await scratch.verifyStream('large', 'input');
  });

  it('keeps the type of an error', async () => {
    const thread = makeThread();
    const { request } = await makeRequests();
    const thrown = await thread.load(await request('s', { uri: '/none.csv', format: 'csv' })).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(PodlineError);
    expect(thrown).toMatchObject({ code: 'PDL_SOURCE_MISSING', place: '/none.csv', retry: 'never' });
  });

  it('asks its parent for room, and fails when there is none', async () => {
    const thread = makeThread();
    const { scratch, request } = await makeRequests(4 * 1024 * 1024);
    const onFull = async () => 'ssd' as const;
    const { bytes } = await thread.load(await request('spills', { ...flights, format: 'bytes' }, { blockBytes: '1Mi' }), {
      onFull,
    });
    expect(bytes.ssd.written).toBeGreaterThan(8 * 1024 * 1024);
    expect(scratch.segments('spills').map(({ medium }) => medium)).toContain('ssd');
    await expect(
      thread.load(await request('fails', { ...flights, format: 'bytes' }, { blockBytes: '1Mi' })),
    ).rejects.toMatchObject({ code: 'PDL_SCRATCH_FULL' });
  });

  it('lets go of a load that is cancelled, with the reason, and goes on from there the next time', async () => {
    const thread = makeThread();
    const { scratch, request } = await makeRequests();
    const stop = new AbortController();
    const reason = new Error('the lease was lost');
    const loading = thread.load(await request('s', flights), { signal: stop.signal, onProgress: () => stop.abort(reason) });
    await expect(loading).rejects.toBe(reason);
    const held = scratch.stream('s', 'input')!;
    expect(held).toMatchObject({ sealed: false });
    expect(await thread.load(await request('s', flights))).toMatchObject({ rows: 3_000_000, blocks: 46 });
  });

  it('settles what is under way when it is closed, may be closed twice, and begins anew after', async () => {
    const thread = makeThread();
    const { request } = await makeRequests();
    const loading = thread.load(await request('s', flights));
    const settled = expect(loading).rejects.toMatchObject({ code: 'PDL_INTERNAL', retry: 'later' });
    await Promise.all([thread.close(), thread.close()]);
    await settled;
    expect(await thread.load(await request('t', { inline: [{ a: 1 }], format: 'ndjson' }))).toMatchObject({ rows: 1 });
  });

  it('takes many small shards one after another', async () => {
    const thread = makeThread();
    const { scratch, request } = await makeRequests();
    for (let i = 0; i < 50; i++) await thread.load(await request(`s${String(i)}`, { inline: [{ i }], format: 'ndjson' }));
    expect(scratch.shards().filter(({ shardId }) => scratch.stream(shardId, 'input')?.sealed === true)).toHaveLength(50);
  });
});
