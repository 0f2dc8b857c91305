/** The scratch between real processes: writers that are killed in the middle of an append, and writers side by side. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import type { WriterRequest } from '../../../runtime/scratch/types.js';
import { entryPath } from '../../../runtime/platform/entries.js';
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
