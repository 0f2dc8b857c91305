import { access, mkdir, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isPodlineError } from '../../../runtime/contracts/errors.js';
import type { Recovery } from '../../../runtime/checkpoints/types.js';
import { delays, Fixture, lineagesOf, recoverInto, rowsOfBlock, run, shardId, valuesOf, write } from './fixture.js';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await Fixture.make();
});
afterEach(async () => {
  await fixture.close();
});

const expected = (blocks: number): number[] => Array.from({ length: blocks }, (_, block) => delays(block)).flat();
const actions = (recovery: Recovery): Record<string, string> =>
  Object.fromEntries(recovery.plan.decisions.map((decision) => [decision.stream, decision.action]));
const filesOf = async (place: 'ssd' | 'volume', ending: string): Promise<string[]> =>
  (await readdir(fixture.shardDir(place))).filter((name) => name.endsWith(ending)).sort();

/** Flips one byte of a file. */
async function corrupt(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 0xff;
  await file.write(byte, 0, 1, at);
  await file.close();
}

async function rejectionCode(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (isPodlineError(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe('a checkpoint', () => {
  it('brings a sealed stream back into an empty scratch, byte by byte', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 5);
    const written = await write(checkpoints, scratch, ['input']);
    expect(written.writtenBytes).toBeGreaterThan(5 * rowsOfBlock * 4);
    expect(written.bytes.memory.read).toBe(written.bytes.ssd.written);

    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second);
    expect(actions(recovery)).toEqual({ input: 'restore', clean: 'make', count: 'make' });
    expect(recovery.resumedFrom).toBe('ssd');
    expect(recovery.bytes.ssd.read).toBe(written.writtenBytes);
    expect(valuesOf(second, 'input', 'delay')).toEqual(expected(5));
    await second.verifyStream(shardId, 'input');
    expect(second.stream(shardId, 'input')).toEqual(scratch.stream(shardId, 'input'));
  });

  it('brings a stream back whose columns lie in segments of another stream', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 4);
    await run(scratch, 'clean', 0, 4);
    // What reads the input is done, and the line has let it go; its bytes are needed still.
    await scratch.dropStream(shardId, 'input');
    await write(checkpoints, scratch, ['clean']);

    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second);
    expect(actions(recovery)).toEqual({ input: 'skip', clean: 'restore', count: 'make' });
    expect(second.streams(shardId).map(({ stream }) => stream)).toEqual(['clean']);
    expect(valuesOf(second, 'clean', 'delay')).toEqual(expected(4));
    await second.verifyStream(shardId, 'clean');
  });

  it('places a segment once that two streams stand on', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 4);
    await run(scratch, 'clean', 0, 2, { seal: false });
    const written = await write(checkpoints, scratch, ['input', 'clean']);
    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second);
    expect(actions(recovery)).toEqual({ input: 'restore', clean: 'restore', count: 'make' });
    expect(recovery.bytes.ssd.read).toBe(written.writtenBytes);
    expect(valuesOf(second, 'clean', 'delay')).toEqual(expected(2));
  });

  it('holds a partial stream with its progress and the state of an aggregation, and its run goes on behind it', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 4);
    await run(scratch, 'clean', 0, 4);
    await run(scratch, 'count', 0, 3, { seal: false });
    await write(checkpoints, scratch, ['clean', 'count']);

    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second);
    expect(recovery.known).toEqual([
      { stream: 'clean', sealed: true },
      { stream: 'count', sealed: false },
    ]);
    const progress = second.progress(shardId, 'count');
    expect(progress?.consumed).toBe(3);
    expect([...(progress?.state ?? [])]).toEqual([2]);
    await run(second, 'count', 3, 4, { epoch: 2 });
    expect(valuesOf(second, 'count', 'sum')).toEqual(
      Array.from({ length: 4 }, (_, block) => delays(block).reduce((sum, delay) => sum + delay, 0)),
    );
  });

  it('holds what was committed when it was asked for, although the stream goes on or is dropped at once', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    const writing = write(checkpoints, scratch, ['input']);
    await scratch.dropStream(shardId, 'input');
    await writing;
    const second = await fixture.scratch('second', 2);
    await recoverInto(fixture.checkpoints(), second);
    expect(valuesOf(second, 'input', 'delay')).toEqual(expected(3));
  });

  it('is incremental: blocks that it holds are not written again', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 6);
    const by = { runId: 'slow', epoch: 1 };
    await scratch.beginRun(shardId, 'clean', by);
    const lineage = lineagesOf().get('clean');
    if (lineage === undefined) throw new Error('no lineage');
    const schema = [{ name: 'late', type: 'float64' as const, nullable: false }];
    const writer = await scratch.openWriter({ shardId, stream: 'clean', kind: 'table', schema, lineage, run: by });
    const append = async (block: number): Promise<void> => {
      const values = Float64Array.from(delays(block));
      await writer.appendTable(
        rowsOfBlock,
        [{ name: 'late', data: { type: 'float64', rows: rowsOfBlock, nullCount: 0, values } }],
        { consumed: block + 1 },
      );
    };
    await append(0);
    await append(1);
    const first = await write(checkpoints, scratch, ['input', 'clean']);
    await append(2);
    const second = await write(checkpoints, scratch, ['clean']);
    await writer.close();
    expect(second.writtenBytes).toBeGreaterThanOrEqual(rowsOfBlock * 8);
    expect(second.writtenBytes).toBeLessThan(2 * rowsOfBlock * 8);
    expect(second.streams.sort()).toEqual(['clean', 'input']);
    expect(await filesOf('ssd', '.seg')).toHaveLength(2);
    // Both manifests stand on the file that grew: the older one on its beginning.
    await rm(join(fixture.shardDir(), second.manifest));
    const other = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), other);
    expect(recovery.bytes.ssd.read).toBe(first.writtenBytes);
    expect(other.blocks(shardId, 'clean')).toHaveLength(2);
    await other.verifyStream(shardId, 'clean');
  });

  it('writes nothing where nothing is new, also after the agent was started again', async () => {
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    const checkpoints = fixture.checkpoints();
    const first = await write(checkpoints, scratch, ['input']);
    expect(await write(checkpoints, scratch, ['input'])).toMatchObject({ writtenBytes: 0, manifest: first.manifest });
    expect(await write(fixture.checkpoints(), scratch, ['input'])).toMatchObject({ writtenBytes: 0, manifest: first.manifest });
    expect(await filesOf('ssd', '.json')).toHaveLength(1);
  });

  it('does not copy to the SSD again what was restored from it', async () => {
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    await write(fixture.checkpoints(), scratch, ['input']);
    const second = await fixture.scratch('second', 2);
    const checkpoints = fixture.checkpoints();
    await recoverInto(checkpoints, second);
    await run(second, 'clean', 0, 2, { seal: false, epoch: 2 });
    const written = await write(checkpoints, second, ['clean'], { epoch: 2 });
    expect(written.streams.sort()).toEqual(['clean', 'input']);
    expect(written.writtenBytes).toBeLessThan(3 * rowsOfBlock * 8);
    const third = await fixture.scratch('third', 3);
    await recoverInto(fixture.checkpoints(), third, { epoch: 3 });
    expect(valuesOf(third, 'clean', 'delay')).toEqual(expected(2));
    expect(valuesOf(third, 'input', 'delay')).toEqual(expected(3));
  });

  it('tells the policy what it holds and whether a write is under way', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    expect(checkpoints.state(shardId, 'ssd')).toMatchObject({ busy: false });
    const writing = write(checkpoints, scratch, ['input'], { workMs: { input: 12 } });
    expect(checkpoints.state(shardId, 'ssd').busy).toBe(true);
    await writing;
    const state = checkpoints.state(shardId, 'ssd');
    expect(state.busy).toBe(false);
    expect(state.written.get('input')).toMatchObject({ sealed: true, blocks: 3, workMs: 12 });
    expect(checkpoints.state(shardId, 'volume').written.size).toBe(0);
  });
});

describe('retention', () => {
  it('keeps the last manifests and removes the segments that none of them names', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    await run(scratch, 'clean', 0, 1, { seal: false });
    await write(checkpoints, scratch, ['input', 'clean'], { retain: 1 });
    await run(scratch, 'clean', 1, 3);
    await run(scratch, 'count', 0, 3);
    const last = await write(checkpoints, scratch, ['clean', 'count'], { retain: 1 });
    expect(await filesOf('ssd', '.json')).toEqual([last.manifest]);
    // The result alone is needed now; it stands on one segment.
    expect(last.streams).toEqual(['count']);
    expect(await filesOf('ssd', '.seg')).toHaveLength(1);
  });

  it('leaves nothing of a finished shard', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 1);
    await write(checkpoints, scratch, ['input']);
    await write(checkpoints, scratch, ['input'], { place: 'volume' });
    await checkpoints.forget('flights', shardId);
    for (const place of ['ssd', 'volume'] as const) await expect(access(fixture.shardDir(place))).rejects.toThrow('ENOENT');
  });
});

describe('a checkpoint that is not whole', () => {
  async function twoCheckpoints(): Promise<{ older: string; newer: string }> {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    const older = await write(checkpoints, scratch, ['input']);
    await run(scratch, 'clean', 0, 2, { seal: false });
    const newer = await write(checkpoints, scratch, ['input', 'clean']);
    await checkpoints.close();
    return { older: older.manifest, newer: newer.manifest };
  }
  const segmentOf = async (stream: string): Promise<string> => {
    const found = (await filesOf('ssd', '.seg')).find((name) => name.startsWith(`${stream}.`));
    if (found === undefined) throw new Error(`no file of ${stream}`);
    return join(fixture.shardDir(), found);
  };

  it('is passed over when its manifest is torn, and the older one is used', async () => {
    const { newer } = await twoCheckpoints();
    const path = join(fixture.shardDir(), newer);
    await truncate(path, (await stat(path)).size - 100);
    const recovery = await recoverInto(fixture.checkpoints(), await fixture.scratch('second', 2));
    expect(actions(recovery)).toEqual({ input: 'restore', clean: 'make', count: 'make' });
    expect(recovery.refused).toContainEqual(expect.stringContaining(`${newer} is torn`));
  });

  it('is passed over when a byte of its manifest is another', async () => {
    const { newer } = await twoCheckpoints();
    const path = join(fixture.shardDir(), newer);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('"rows":1000', '"rows":1001'));
    const recovery = await recoverInto(fixture.checkpoints(), await fixture.scratch('second', 2));
    expect(recovery.refused).toContainEqual(expect.stringContaining(`${newer} does not match its checksum`));
  });

  it('is passed over when a segment is shorter than it says', async () => {
    await twoCheckpoints();
    await truncate(await segmentOf('clean'), 10);
    const recovery = await recoverInto(fixture.checkpoints(), await fixture.scratch('second', 2));
    expect(actions(recovery)).toEqual({ input: 'restore', clean: 'make', count: 'make' });
    expect(recovery.refused).toContainEqual(expect.stringContaining('has 10 bytes instead of'));
  });

  it('is found out while it is restored when a byte of a segment is another; the older one serves, and what was good stays', async () => {
    await twoCheckpoints();
    await corrupt(await segmentOf('clean'), 5000);
    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second);
    expect(actions(recovery)).toEqual({ input: 'restore', clean: 'make', count: 'make' });
    expect(recovery.resumedFrom).toBe('ssd');
    expect(recovery.refused).toContainEqual(expect.stringMatching(/clean\..*does not match its checksum in bytes/));
    expect(second.streams(shardId).map(({ stream }) => stream)).toEqual(['input']);
    expect(valuesOf(second, 'input', 'delay')).toEqual(expected(3));
  });

  it('is replaced by the volume, and in the end by the source', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    await write(checkpoints, scratch, ['input']);
    await write(checkpoints, scratch, ['input'], { place: 'volume' });
    await corrupt(await segmentOf('input'), 3000);
    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second);
    expect(recovery.resumedFrom).toBe('volume');
    expect(valuesOf(second, 'input', 'delay')).toEqual(expected(3));

    const [onVolume] = await filesOf('volume', '.seg');
    await corrupt(join(fixture.shardDir('volume'), onVolume ?? ''), 3000);
    const third = await fixture.scratch('third', 3);
    const last = await recoverInto(fixture.checkpoints(), third, { epoch: 3 });
    expect(last.resumedFrom).toBe('source');
    expect(third.streams(shardId)).toEqual([]);
    expect(third.usage().usedBytes).toBe(0);
  });

  it('is not built upon by the next one', async () => {
    await twoCheckpoints();
    await corrupt(await segmentOf('clean'), 5000);
    const second = await fixture.scratch('second', 2);
    const checkpoints = fixture.checkpoints();
    await recoverInto(checkpoints, second);
    await run(second, 'clean', 0, 3, { epoch: 2 });
    const written = await write(checkpoints, second, ['clean'], { epoch: 2 });
    expect(written.streams).toEqual(['clean']);
    const third = await fixture.scratch('third', 3);
    const recovery = await recoverInto(fixture.checkpoints(), third, { epoch: 3 });
    expect(recovery.refused).toEqual([]);
    expect(valuesOf(third, 'clean', 'delay')).toEqual(expected(3));
  });
});

describe('what was made otherwise', () => {
  it('is not restored, and the reason is told', async () => {
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 2);
    await run(scratch, 'clean', 0, 2);
    await write(fixture.checkpoints(), scratch, ['input', 'clean']);
    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second, { lineages: lineagesOf({ clean: 'v2' }) });
    expect(actions(recovery)).toEqual({ input: 'make', clean: 'make', count: 'make' });
    expect(recovery.refused).toEqual([
      'the checkpoint of clean on the SSD is not used: stage clean has changed (version v1 → v2)',
    ]);
  });

  it('is dropped from the scratch, and the rest of it stays', async () => {
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 2);
    await run(scratch, 'clean', 0, 2);
    const recovery = await recoverInto(fixture.checkpoints(), scratch, { lineages: lineagesOf({ clean: 'v2' }) });
    expect(actions(recovery)).toEqual({ input: 'keep', clean: 'make', count: 'make' });
    expect(recovery.resumedFrom).toBe('scratch');
    expect(scratch.streams(shardId).map(({ stream }) => stream)).toEqual(['input']);
  });

  it('is not carried over into the next checkpoint', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 2);
    await run(scratch, 'clean', 0, 1, { seal: false });
    await write(checkpoints, scratch, ['input', 'clean']);
    const lineages = lineagesOf({ clean: 'v2' });
    const written = await write(checkpoints, scratch, ['input'], { lineages });
    expect(written.streams).toEqual(['input']);
  });
});

describe('a place', () => {
  it('that is missing is not made: the volume may not be mounted', async () => {
    const volumeDir = join(fixture.root, 'unmounted');
    const checkpoints = fixture.checkpoints({ volumeDir });
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 1);
    expect(await rejectionCode(write(checkpoints, scratch, ['input'], { place: 'volume' }))).toBe('PDL_CHECKPOINT_MISSING');
    await expect(access(volumeDir)).rejects.toThrow('ENOENT');
    expect(await write(checkpoints, scratch, ['input'])).toMatchObject({ place: 'ssd' });
    const inventory = await checkpoints.inventory('flights', shardId);
    expect(inventory.ssd.streams.map(({ stream }) => stream)).toEqual(['input']);
    expect(inventory.volume).toEqual({ streams: [], refused: [] });
  });

  it('that comes back is used again, and holds what it held', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 2);
    await write(checkpoints, scratch, ['input'], { place: 'volume' });
    const away = `${fixture.volumeDir}-away`;
    await rename(fixture.volumeDir, away);
    await run(scratch, 'clean', 0, 1, { seal: false });
    expect(await rejectionCode(write(checkpoints, scratch, ['clean'], { place: 'volume' }))).toBe('PDL_CHECKPOINT_MISSING');
    await rename(away, fixture.volumeDir);
    const written = await write(checkpoints, scratch, ['clean'], { place: 'volume' });
    expect(written.streams.sort()).toEqual(['clean', 'input']);
    expect(written.writtenBytes).toBeLessThan(2 * rowsOfBlock * 8);
  });

  it('that was emptied is written anew', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 2);
    await write(checkpoints, scratch, ['input']);
    await rm(fixture.shardDir(), { recursive: true });
    await run(scratch, 'clean', 0, 1, { seal: false });
    await write(checkpoints, scratch, ['input', 'clean']);
    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second);
    expect(recovery.refused).toEqual([]);
    expect(valuesOf(second, 'clean', 'delay')).toEqual(expected(1));
  });

  it('with a file where the folder should be is reported, not thrown out of an inventory', async () => {
    await mkdir(join(fixture.ssdDir, 'flights'));
    await writeFile(fixture.shardDir(), 'not a folder');
    const inventory = await fixture.checkpoints().inventory('flights', shardId);
    expect(inventory.ssd.streams).toEqual([]);
    expect(inventory.ssd.refused).toHaveLength(1);
  });
});

describe('the fence of epochs', () => {
  it('refuses the manifest of a lower epoch, and leaves the higher one alone', async () => {
    const late = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 2);
    await write(late, scratch, ['input']);

    const second = await fixture.scratch('second', 2);
    const current = fixture.checkpoints();
    await recoverInto(current, second);
    await run(scratch, 'clean', 0, 1, { seal: false });
    expect(await rejectionCode(write(late, scratch, ['clean']))).toBe('PDL_LEASE_LOST');

    await run(second, 'clean', 0, 2, { epoch: 2 });
    const written = await write(current, second, ['clean'], { epoch: 2, retain: 1 });
    expect(await rejectionCode(write(late, scratch, ['clean']))).toBe('PDL_LEASE_LOST');
    expect(await filesOf('ssd', '.json')).toEqual([written.manifest]);
    const third = await fixture.scratch('third', 3);
    await recoverInto(fixture.checkpoints(), third, { epoch: 3 });
    expect(valuesOf(third, 'clean', 'delay')).toEqual(expected(2));
  });
});

describe('resume from a stage', () => {
  it('runs it and what follows again although the checkpoint holds them', async () => {
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 2);
    await run(scratch, 'clean', 0, 2);
    await run(scratch, 'count', 0, 1, { seal: false });
    await write(fixture.checkpoints(), scratch, ['clean', 'count']);
    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints(), second, { resumeFrom: 'count' });
    expect(actions(recovery)).toEqual({ input: 'skip', clean: 'restore', count: 'make' });
  });
});

describe('close', () => {
  it('waits for what is being written and may be called twice', async () => {
    const checkpoints = fixture.checkpoints();
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 3);
    const writing = write(checkpoints, scratch, ['input']);
    await Promise.all([checkpoints.close(), checkpoints.close()]);
    await expect(writing).resolves.toMatchObject({ streams: ['input'] });
    await expect(write(checkpoints, scratch, ['input'])).rejects.toThrow('closed');
  });
});
