/** The scratch between real processes: writers that are killed in the middle of an append, and writers side by side. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, it, onTestFinished } from 'vitest';
import { IndexStore } from '../../../runtime/scratch/index-store.js';
import type { WriterRequest, WrittenBlock } from '../../../runtime/scratch/types.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import { endThread } from '../../../runtime/platform/uninterrupted.js';
import { needs } from '../../support/require.js';
import { int32s, lineageOf, makeScratch, memoryDir, optionsIn, readColumn, shardId } from '../../unit/scratch/helpers.js';

entryPath('runtime/scratch/scratch'); // says so when dist is not built

function appender(dir: string, request: WriterRequest, blocks: number, rows: number): ChildProcess {
  const options = optionsIn(dir, { role: 'stage' });
  const script = fileURLToPath(new URL('append.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify({ options, request, blocks, rows })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}

const requestOf = (stream: string, runId: string): WriterRequest => ({
  shardId,
  stream,
  kind: 'table',
  schema: int32s(),
  lineage: lineageOf(stream),
  run: { runId, epoch: 1 },
});

/** Resolves when the process has said `lines` lines, or has ended. */
async function said(child: ChildProcess, lines: number): Promise<void> {
  let count = 0;
  const { stdout } = child;
  if (!stdout) throw new Error('the output of the process is not piped');
  for await (const chunk of stdout) {
    count += String(chunk).split('\n').length - 1;
    if (count >= lines) return;
  }
}

it('keeps only whole blocks when a writer is killed at any moment, and its successors end the same work', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({}, dir);
  const [blocks, rows] = [400, 20_000];
  let kills = 0;
  for (let turn = 0; scratch.stream(shardId, 'a')?.sealed !== true; turn += 1) {
    const request = requestOf('a', `run-${turn}`);
    await scratch.beginRun(shardId, 'a', request.run);
    const child = appender(dir, request, blocks, rows);
    const ended = once(child, 'exit');
    // Killed as soon as it has said something: by then it is somewhere in the middle of the next blocks.
    await said(child, 1 + ((turn * 7) % 29));
    child.kill('SIGKILL');
    const [code] = (await ended) as [number | null];
    if (code === null) kills += 1;
    const committed = scratch.stream(shardId, 'a')?.blocks ?? 0;
    expect(scratch.blocks(shardId, 'a').map(({ seq }) => seq)).toEqual(Array.from({ length: committed }, (_, seq) => seq));
    expect(scratch.progress(shardId, 'a')?.consumed ?? 0).toBe(committed);
    await scratch.verifyStream(shardId, 'a');
  }
  expect(kills).toBeGreaterThan(5);
  const values = readColumn(scratch, 'a', 'n');
  expect(values).toHaveLength(blocks * rows);
  expect(values.every((value, row) => value === Math.floor(row / rows))).toBe(true);
  // What the killed ones had reserved is accounted for again.
  await scratch.dropStream(shardId, 'a');
  expect(scratch.usage()).toMatchObject({ usedBytes: 0 });
});

it('lets several processes append to streams of their own at once', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({}, dir);
  const streams = ['a', 'b', 'c'];
  const children = await Promise.all(
    streams.map(async (stream) => {
      const request = requestOf(stream, `run-${stream}`);
      await scratch.beginRun(shardId, stream, request.run);
      return appender(dir, request, 60, 10_000);
    }),
  );
  const exits = children.map((child) => once(child, 'exit'));
  const spoken = children.map((child) => said(child, 61));
  expect((await Promise.all(exits)).map(([code]) => code as unknown)).toEqual([0, 0, 0]);
  await Promise.all(spoken);
  for (const stream of streams) {
    expect(scratch.stream(shardId, stream)).toMatchObject({ sealed: true, blocks: 60, rows: 600_000 });
    expect(readColumn(scratch, stream, 'n').every((value, row) => value === Math.floor(row / 10_000))).toBe(true);
    await scratch.verifyStream(shardId, stream);
  }
  const bytes = scratch
    .segments(shardId)
    .reduce((sum, { committedBytes }) => sum + Math.ceil((committedBytes + 8) / 4096) * 4096, 0);
  expect(scratch.usage().usedBytes).toBe(bytes);
});

it('commits in the order of the stream what several threads write at once', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({}, dir);
  const request = requestOf('a', 'run');
  await scratch.beginRun(shardId, 'a', request.run);
  const writer = await scratch.openWriter(request);
  const [blocks, rows, threads] = [90, 20_000, 3];
  const waiting = new Map<number, WrittenBlock>();
  const commits: number[] = [];
  const workers = Array.from({ length: threads }, (_, from) => {
    const options = optionsIn(dir, { role: 'stage' });
    const workerData = { options, request, from, step: threads, blocks, rows };
    return new Worker(new URL('part-thread.mjs', import.meta.url), { workerData });
  });
  await new Promise<void>((resolve, reject) => {
    let next = 0;
    for (const worker of workers) {
      worker.on('error', reject);
      worker.on('message', ({ block, written }: { block: number; written: WrittenBlock }) => {
        waiting.set(block, written);
        const ready: WrittenBlock[] = [];
        for (let found = waiting.get(next); found; found = waiting.get(next)) {
          ready.push(found);
          waiting.delete(next++);
        }
        if (ready.length === 0) return;
        commits.push(ready.length);
        writer.commitWritten(ready, { consumed: next }).then(() => {
          if (scratch.progress(shardId, 'a')?.consumed === blocks) resolve();
        }, reject);
      });
    }
  });
  const ended = workers.map((worker) => once(worker, 'exit'));
  for (const worker of workers) worker.postMessage('close');
  await Promise.all(ended);
  expect(await writer.seal()).toMatchObject({ blocks, rows: blocks * rows });
  await writer.close();
  expect(commits.reduce((sum, count) => sum + count, 0)).toBe(blocks);
  expect(readColumn(scratch, 'a', 'n').every((value, row) => value === Math.floor(row / rows))).toBe(true);
  const segments = scratch.segments(shardId);
  expect(segments.map(({ ended: isWhole }) => isWhole)).toEqual([true, true, true]);
  await scratch.verifyStream(shardId, 'a');
  expect(scratch.usage().usedBytes).toBe(segments.reduce((sum, { path }) => sum + statSync(path).blocks * 512, 0));
});

needs('tmpfs').it('gives back the room of a killed writer to the last page, and uses its segment no more', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({}, dir);
  const request: WriterRequest = { ...requestOf('a', 'run-1'), kind: 'bytes', schema: [] };
  await scratch.beginRun(shardId, 'a', request.run);
  const script = fileURLToPath(new URL('hold.mjs', import.meta.url));
  const args = { options: optionsIn(dir, { role: 'stage' }), request, bytes: 1_000_000 };
  const child = spawn(process.execPath, [script, JSON.stringify(args)], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  await said(child, 1);
  const [held] = scratch.segments(shardId);
  expect(statSync(held?.path ?? '').blocks * 512).toBeGreaterThan(2_000_000);
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  const next = { ...request, run: { runId: 'run-2', epoch: 1 } };
  await scratch.beginRun(shardId, 'a', next.run);
  const writer = await scratch.openWriter(next);
  expect(scratch.usage().usedBytes).toBe(4096);
  expect(statSync(held?.path ?? '').blocks * 512).toBe(4096);
  await writer.appendBytes(Buffer.from('later'));
  await writer.seal();
  expect(scratch.segments(shardId)).toHaveLength(2);
  await scratch.verifyStream(shardId, 'a');
  await writer.close();
});

it('shows a commit of another process as soon as that process tells of it', async () => {
  const dir = memoryDir();
  const scratch = await makeScratch({}, dir);
  const request = requestOf('a', 'run');
  await scratch.beginRun(shardId, 'a', request.run);
  const child = appender(dir, request, 300, 16);
  const ended = once(child, 'exit');
  if (!child.stdout) throw new Error('the output of the process is not piped');
  let told = 0;
  for await (const chunk of child.stdout) {
    told += String(chunk).split('\n').length - 1;
    // Twice in one turn of the event loop: the second look must not be answered from the first one's snapshot only.
    expect(scratch.stream(shardId, 'a')?.blocks).toBeGreaterThanOrEqual(told);
    expect(scratch.blocks(shardId, 'a').length).toBeGreaterThanOrEqual(told);
  }
  await ended;
  expect(told).toBe(300);
});

it('loses no transaction while processes open the index and leave it', async () => {
  const dir = memoryDir();
  const script = fileURLToPath(new URL('open-index.mjs', import.meta.url));
  const index = new IndexStore(dir);
  const comeAndGo = async (name: string): Promise<void> => {
    for (let turn = 0; turn < 40; turn += 1) {
      const key = name + String(turn);
      const child = spawn(process.execPath, [script, dir, key, '5'], { stdio: 'inherit' });
      expect(await once(child, 'exit')).toEqual([0, null]);
      expect(index.get('progress', 'others', key)).toEqual({ consumed: 5 });
    }
  };
  let isOver = false;
  const goings = Promise.all([comeAndGo('a'), comeAndGo('b')]).finally(() => (isOver = true));
  let counted = 0;
  // As fast as it can: a process must find somebody writing when it opens.
  while (!(isOver as boolean)) {
    for (let n = 0; n < 100; n += 1) {
      const before = index.transact((txn) => {
        const { consumed } = txn.get('progress', 'own', 'count') ?? { consumed: 0 };
        txn.put('progress', { consumed: consumed + 1 }, 'own', 'count');
        return consumed;
      });
      if (before !== counted) throw new Error(`transaction ${String(counted)} was lost: the count is ${String(before)}`);
      counted += 1;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await goings;
  await index.close();
});

it('ends a thread, and a process, whose threads are within transactions all the time', async () => {
  const dir = memoryDir();
  const index = new IndexStore(dir);
  const thread = new URL('busy-thread.mjs', import.meta.url);
  for (let turn = 0; turn < 20; turn += 1) {
    const worker = new Worker(thread, { workerData: dir });
    await once(worker, 'message');
    await endThread(worker);
    // Had it left a lock behind, this would wait for ever.
    index.transact((txn) => txn.put('progress', { consumed: turn }, 'own', 'count'));
  }
  const script = fileURLToPath(new URL('busy-process.mjs', import.meta.url));
  for (let turn = 0; turn < 10; turn += 1) {
    const child = spawn(process.execPath, [script, dir], { stdio: 'inherit' });
    expect(await once(child, 'exit')).toEqual([7, null]);
  }
  index.transact((txn) => txn.put('progress', { consumed: 20 }, 'own', 'count'));
  expect(index.get('progress', 'own', 'count')).toEqual({ consumed: 20 });
  await index.close();
});
