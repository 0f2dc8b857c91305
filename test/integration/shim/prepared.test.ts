/** Runs that a shim is told of beforehand: it makes ready, and begins at the moment at which the index has the input whole. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import type { RunRequest } from '../../../runtime/contracts/shim-protocol.js';
import { column } from '../../../runtime/index.js';
import { nodeClockMs } from '../../../runtime/platform/clock.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import type { StreamWriter } from '../../../runtime/scratch/types.js';
import { columnOf } from '../../../runtime/stages/columns.js';
import { FakeAgent, lineageOf, stageOf, type ShimProcess } from '../../support/shim-agent.js';
import { until } from '../../support/until.js';

const shimCommand = [process.execPath, entryPath('sidecars/shim/main')];
const api = pathToFileURL(entryPath('runtime/index')).href;

let agent: FakeAgent;
beforeEach(async () => {
  agent = await FakeAgent.start();
});
afterEach(async () => {
  await agent.close();
});

async function moduleOf(name: string, source: string, over: Partial<ResolvedStage> = {}): Promise<ResolvedStage> {
  const file = `${name}.mjs`;
  await writeFile(
    join(agent.dir, file),
    `import { defineStage } from ${JSON.stringify(api)};\nexport default defineStage(${source});\n`,
  );
  return stageOf(name, { module: file, ...over });
}

function read(name: string, stream: string): unknown[] {
  const reader = agent.scratch.openReader(agent.shardId);
  const values = agent.scratch.blocks(agent.shardId, stream).flatMap((block) => {
    const data = reader.table(block, [name]).get(name);
    return data === undefined ? [] : Array.from({ length: block.rows }, (_, row) => columnOf(data).at(row));
  });
  reader.close();
  return values;
}

/** A stage that still works, which the test plays. */
async function writerOf(stream: string, runId = 'load', epoch = 1): Promise<StreamWriter> {
  const run = { runId, epoch };
  await agent.scratch.beginRun(agent.shardId, stream, run);
  const schema = [{ name: 'n', type: 'int32' as const, nullable: false }];
  const lineage = lineageOf(stream);
  return agent.scratch.openWriter({ shardId: agent.shardId, stream, kind: 'table', schema, lineage, run });
}
const append = (writer: StreamWriter, ...values: number[]): Promise<unknown> =>
  writer.appendTable(values.length, [{ name: 'n', data: column.int32.from(values).toData() }]);

/** As a shim does that has made a stream whole. */
async function seal(writer: StreamWriter): Promise<void> {
  const { stream } = await writer.seal();
  agent.scratch.ring(agent.shardId, stream);
  await writer.close();
}

/** The shim has a run ready and listens: its process watches a file. */
async function listens({ child }: ShimProcess): Promise<void> {
  const folder = `/proc/${String(child.pid)}/fdinfo`;
  await until(async () => {
    const infos = await Promise.all((await readdir(folder)).map((fd) => readFile(join(folder, fd), 'utf8').catch(() => '')));
    return infos.some((info) => info.includes('inotify wd'));
  });
}

async function prepare(shim: ShimProcess, stage: string, over: Partial<RunRequest> = {}): Promise<RunRequest> {
  const request = await agent.request(stage, { growing: ['input'], ...over });
  agent.send(shim.slot, { type: 'prepare', ...request });
  return request;
}
const endOf = ({ runId }: Pick<RunRequest, 'runId'>) => agent.heard('ended', (said) => said.runId === runId);

const squares =
  '{ input: { n: "int32" }, output: { square: "float64" }, block: (b) => ({ columns: { square: Float64Array.from(b.columns.n.values, (n) => n * n) } }) }';

describe.each([
  ['in the thread of the shim', { workers: 1 }],
  ['on two worker threads', { workers: 2 }],
  ['on one, for its memory', { workers: 1, resources: { memory: '128Mi' } }],
  ['on as many as are worth it', { workers: 'auto' }],
] as [string, Partial<ResolvedStage>][])('a run that was prepared for a stage %s', (_, over) => {
  it('begins by itself when its input is whole, not before', async () => {
    const writer = await writerOf('input');
    await append(writer, 1, 2);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await prepare(shim, 'work');
    await listens(shim);
    await append(writer, 3);
    agent.send(shim.slot, { type: 'inputGrew', runId: request.runId, stream: 'input', blocks: 2, sealed: false });
    const beforeMs = nodeClockMs();
    await seal(writer);
    const ended = await endOf(request);
    expect(ended).toMatchObject({ outcome: 'committed', blocks: 2, rows: 3 });
    expect(ended.calledAtMs).toBeGreaterThan(beforeMs);
    expect(ended.endedAtMs).toBeGreaterThan(ended.calledAtMs ?? Infinity);
    expect(ended.waitedMs).toBeGreaterThan(0);
    expect(read('square', 'work')).toEqual([1, 4, 9]);
  });

  it('begins by itself where nothing of its input was there when it was prepared', async () => {
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const lineage = lineageOf('work', { input: lineageOf('input').digest });
    const request = await prepare(shim, 'work', { lineage });
    await listens(shim);
    const writer = await writerOf('input');
    await append(writer, 4);
    await seal(writer);
    expect(await endOf(request)).toMatchObject({ outcome: 'committed', blocks: 1 });
    expect(read('square', 'work')).toEqual([16]);
  });

  it('begins on what is there when it is started', async () => {
    const writer = await writerOf('input');
    await append(writer, 5);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await prepare(shim, 'work');
    agent.send(shim.slot, { type: 'start', ...request });
    await agent.heard('progress', (said) => said.blocks === 1);
    await append(writer, 6);
    await seal(writer);
    agent.send(shim.slot, { type: 'inputGrew', runId: request.runId, stream: 'input', blocks: 2, sealed: true });
    expect(await endOf(request)).toMatchObject({ outcome: 'committed', blocks: 2 });
  });

  it('is over once, also where its start comes after its end', async () => {
    const writer = await writerOf('input');
    await append(writer, 5);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await prepare(shim, 'work');
    await seal(writer);
    expect((await endOf(request)).outcome).toBe('committed');
    agent.send(shim.slot, { type: 'start', ...request, growing: [] });
    const other = await writerOf('other');
    await append(other, 6);
    await seal(other);
    expect(await agent.run(shim, 'work', { inputs: ['other'] })).toMatchObject({ outcome: 'committed', rows: 1 });
    expect(agent.said.filter((said) => said.type === 'ended' && said.runId === request.runId)).toHaveLength(1);
  });

  it('gives way to another one that is started', async () => {
    const writer = await writerOf('input');
    await append(writer, 7);
    const other = await writerOf('other');
    await append(other, 8, 9);
    await seal(other);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await prepare(shim, 'work');
    await listens(shim);
    const instead = await agent.run(shim, 'work', { inputs: ['other'] });
    expect(instead).toMatchObject({ outcome: 'committed', rows: 2 });
    expect(await endOf(request)).toMatchObject({ outcome: 'cancelled', blocks: 0 });
    expect(read('square', 'work')).toEqual([64, 81]);
  });

  it('is let go of when it is cancelled', async () => {
    const writer = await writerOf('input');
    await append(writer, 10);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await prepare(shim, 'work');
    agent.send(shim.slot, { type: 'cancel', runId: request.runId, reason: 'test' });
    expect(await endOf(request)).toMatchObject({ outcome: 'cancelled', blocks: 0 });
    await seal(writer);
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', blocks: 1 });
  });

  it('begins anew under the epoch that it is started with', async () => {
    const writer = await writerOf('input');
    await append(writer, 11);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await prepare(shim, 'work');
    await listens(shim);
    await agent.scratch.putShard({ shardId: agent.shardId, epoch: 2, revision: 1 });
    await agent.scratch.beginRun(agent.shardId, 'work', { runId: request.runId, epoch: 2 });
    agent.send(shim.slot, { type: 'start', ...request, epoch: 2 });
    await agent.heard('progress', (said) => said.blocks === 1);
    await seal(await writerOf('input', 'load again', 2));
    agent.send(shim.slot, { type: 'inputGrew', runId: request.runId, stream: 'input', blocks: 1, sealed: true });
    expect(await endOf(request)).toMatchObject({ outcome: 'committed', blocks: 1 });
    expect(agent.said.filter((said) => said.type === 'ended')).toHaveLength(1);
  });

  it('bears that what makes its input begins anew', async () => {
    const writer = await writerOf('input');
    await append(writer, 12);
    await append(writer, 13);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await prepare(shim, 'work');
    await listens(shim);
    await agent.scratch.dropStream(agent.shardId, 'input');
    agent.scratch.ring(agent.shardId, 'input');
    const again = await writerOf('input', 'load again');
    await append(again, 14);
    await seal(again);
    expect(await endOf(request)).toMatchObject({ outcome: 'committed', blocks: 1 });
    expect(read('square', 'work')).toEqual([196]);
  });
});

it('from stage to stage without a word of the agent', async () => {
  const writer = await writerOf('input');
  for (const n of [1, 2, 3]) await append(writer, n);
  await seal(writer);
  const first = await agent.put(shimCommand, await moduleOf('first', squares), { slot: 0 });
  const sum =
    '{ input: { square: "float64" }, output: { sum: "float64" }, aggregate: { start: () => ({ sum: 0 }), add(s, b) { for (const v of b.columns.square.values) s.sum += v; }, merge: (a, b) => ({ sum: a.sum + b.sum }), finish: (s) => ({ sum: Float64Array.of(s.sum) }) } }';
  const second = await agent.put(shimCommand, await moduleOf('second', sum, { after: ['first'] }), { slot: 1 });
  const made = await agent.request('first');
  const digests = { first: made.lineage.digest };
  const next = await prepare(second, 'second', {
    inputs: ['first'],
    growing: ['first'],
    lineage: lineageOf('second', digests),
  });
  await listens(second);
  agent.send(first.slot, { type: 'start', ...made });
  const [one, other] = [await endOf(made), await endOf(next)];
  expect(other).toMatchObject({ outcome: 'committed', blocks: 3, rows: 1 });
  expect(other.calledAtMs).toBeGreaterThan(one.calledAtMs ?? Infinity);
  expect(read('sum', 'second')).toEqual([14]);
});

it('a stage that takes its input whole, or runs in a process of its own, lets a preparation be', async () => {
  const writer = await writerOf('input');
  await append(writer, 15);
  const shim = await agent.put(shimCommand, await moduleOf('work', squares, { executor: 'process' }));
  const request = await prepare(shim, 'work');
  await seal(writer);
  const { growing: _, ...whole } = request;
  agent.send(shim.slot, { type: 'start', ...whole });
  expect(await endOf(request)).toMatchObject({ outcome: 'committed', blocks: 1 });
  expect(agent.said.filter((said) => said.type === 'ended')).toHaveLength(1);
});
