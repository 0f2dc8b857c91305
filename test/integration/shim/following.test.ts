/** Stages that work on the blocks of another while it still works: in threads, in a process, and two shims at once. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import { column } from '../../../runtime/index.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import type { StreamWriter } from '../../../runtime/scratch/types.js';
import { columnOf } from '../../../runtime/stages/columns.js';
import { FakeAgent, lineageOf, stageOf } from '../../support/shim-agent.js';

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
    `import { existsSync } from 'node:fs';\nimport { defineStage, column } from ${JSON.stringify(api)};\nexport default defineStage(${source});\n`,
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

/** A loader that the test plays. */
async function inputWriter(): Promise<StreamWriter> {
  const run = { runId: 'load', epoch: 1 };
  await agent.scratch.beginRun(agent.shardId, 'input', run);
  const schema = [{ name: 'n', type: 'int32' as const, nullable: false }];
  return agent.scratch.openWriter({
    shardId: agent.shardId,
    stream: 'input',
    kind: 'table',
    schema,
    lineage: lineageOf('input'),
    run,
  });
}
const append = (writer: StreamWriter, from: number): Promise<unknown> =>
  writer.appendTable(10, [
    { name: 'n', data: column.int32.from(Array.from({ length: 10 }, (_, row) => from * 10 + row)).toData() },
  ]);

const squares =
  '{ input: { n: "int32" }, output: { square: "float64" }, block: (b) => ({ columns: { square: Float64Array.from(b.columns.n.values, (n) => n * n) } }) }';

describe.each([
  ['in the thread of the shim', { workers: 1 }],
  ['on two worker threads', { workers: 2 }],
  ['on as many as are worth it', { workers: 'auto' }],
  ['in a process of its own', { workers: 1, executor: 'process' }],
] as [string, Partial<ResolvedStage>][])('a stage %s', (_, over) => {
  it('follows a stream that grows, to its end', async () => {
    const writer = await inputWriter();
    await append(writer, 0);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await agent.request('work', { growing: ['input'] });
    agent.send(shim.slot, { type: 'start', ...request });
    agent.send(shim.slot, { type: 'followed', runId: request.runId });
    for (let blocks = 1; blocks < 30; blocks++) {
      await agent.heard('progress', (said) => said.blocks === blocks);
      await append(writer, blocks);
      agent.send(shim.slot, { type: 'inputGrew', runId: request.runId, stream: 'input', blocks: blocks + 1, sealed: false });
    }
    await writer.seal();
    await writer.close();
    agent.send(shim.slot, { type: 'inputGrew', runId: request.runId, stream: 'input', blocks: 30, sealed: true });
    expect(await agent.heard('ended')).toMatchObject({ outcome: 'committed', blocks: 30, rows: 300 });
    expect(read('square', 'work')).toEqual(Array.from({ length: 300 }, (__, n) => n * n));
  });

  it('is cancelled while it waits, and runs again', async () => {
    const writer = await inputWriter();
    await append(writer, 0);
    const shim = await agent.put(shimCommand, await moduleOf('work', squares, over), { workers: 2 });
    const request = await agent.request('work', { growing: ['input'] });
    agent.send(shim.slot, { type: 'start', ...request });
    await agent.heard('progress', (said) => said.blocks === 1);
    agent.send(shim.slot, { type: 'cancel', runId: request.runId, reason: 'test' });
    expect((await agent.heard('ended')).outcome).toBe('cancelled');
    await append(writer, 1);
    await writer.seal();
    await writer.close();
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', blocks: 1 });
    expect(read('square', 'work')).toHaveLength(20);
  });
});

it('an assembly line within a shard: the second stage works while the first does', async () => {
  const writer = await inputWriter();
  for (let block = 0; block < 20; block++) await append(writer, block);
  await writer.seal();
  await writer.close();
  // The first stops at its tenth block until there is a sign, which is given when the second has done what there is by then.
  const sign = join(agent.dir, 'sign');
  const first = await agent.put(
    shimCommand,
    await moduleOf(
      'first',
      `{ input: { n: 'int32' }, output: { square: 'float64' }, async block(b) {
        while (b.index >= 10 && !existsSync(${JSON.stringify(sign)})) await new Promise((r) => setImmediate(r));
        return { columns: { square: Float64Array.from(b.columns.n.values, (n) => n * n) } };
      } }`,
    ),
    { slot: 0 },
  );
  const cube =
    '{ input: { n: "int32", square: "float64" }, output: { cube: "float64" }, keep: "none", block: (b) => ({ columns: { cube: b.columns.square.values.map((s, i) => s * b.columns.n.values[i]) } }) }';
  const second = await agent.put(shimCommand, await moduleOf('second', cube, { after: ['first'] }), { slot: 1 });
  const leads = await agent.request('first');
  const follows = await agent.request('second', {
    inputs: ['first'],
    growing: ['first'],
    lineage: lineageOf('second', { first: leads.lineage.digest }),
  });
  agent.send(first.slot, { type: 'start', ...leads });
  agent.send(first.slot, { type: 'followed', runId: leads.runId });
  agent.send(second.slot, { type: 'start', ...follows });
  let relayed = 0;
  const relay = (): void => {
    for (const said of agent.said.slice(relayed)) {
      if (said.type !== 'progress' || said.runId !== leads.runId) continue;
      agent.send(second.slot, { type: 'inputGrew', runId: follows.runId, stream: 'first', blocks: said.blocks, sealed: false });
    }
    relayed = agent.said.length;
  };
  await agent.heard('progress', (said) => (relay(), said.runId === leads.runId && said.blocks === 10));
  relay();
  await agent.heard('progress', (said) => (relay(), said.runId === follows.runId && said.blocks === 10));
  expect(agent.scratch.stream(agent.shardId, 'first')).toMatchObject({ sealed: false, blocks: 10 });
  await writeFile(sign, '');
  expect(await agent.heard('ended', (said) => said.runId === leads.runId)).toMatchObject({ outcome: 'committed', blocks: 20 });
  agent.send(second.slot, { type: 'inputGrew', runId: follows.runId, stream: 'first', blocks: 20, sealed: true });
  const ended = await agent.heard('ended', (said) => said.runId === follows.runId);
  expect(ended).toMatchObject({ outcome: 'committed', blocks: 20, waitedMs: expect.any(Number) });
  expect(read('cube', 'second')).toEqual(Array.from({ length: 200 }, (_, n) => n ** 3));
});
