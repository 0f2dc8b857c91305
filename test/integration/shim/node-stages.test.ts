/** TypeScript stages in the Node shim: threads, processes, and what they do to themselves. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import { column } from '../../../runtime/index.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import { columnOf } from '../../../runtime/stages/columns.js';
import { FakeAgent, lineageOf, stageOf, type ShimProcess } from '../../support/shim-agent.js';

const shimCommand = [process.execPath, entryPath('sidecars/shim/main')];
const api = pathToFileURL(entryPath('runtime/index')).href;

let agent: FakeAgent;
beforeEach(async () => {
  agent = await FakeAgent.start();
});
afterEach(async () => {
  await agent.close();
});

/** Writes a stage module; a stage named `work` that loads it. */
async function moduleOf(source: string, over: Partial<ResolvedStage> = {}, file = 'work.mjs'): Promise<ResolvedStage> {
  await writeFile(
    join(agent.dir, file),
    `import { defineStage, column } from ${JSON.stringify(api)};\nexport default defineStage(${source});\n`,
  );
  return stageOf('work', { module: file, ...over });
}

const put = (stage: ResolvedStage, options: { workers?: number } = {}): Promise<ShimProcess> =>
  agent.put(shimCommand, stage, options);

/** `blocks` blocks of `rows` rows of `n`, which counts up. */
const numbers = (blocks: number, rows = 100): Promise<void> =>
  agent.table(
    'input',
    [{ name: 'n', type: 'int32', nullable: false }],
    Array.from({ length: blocks }, (_, block) => ({
      rows,
      columns: [{ name: 'n', data: column.int32.from(Array.from({ length: rows }, (__, row) => block * rows + row)).toData() }],
    })),
  );

function read(name: string, stream = 'work'): unknown[] {
  const reader = agent.scratch.openReader(agent.shardId);
  const values = agent.scratch.blocks(agent.shardId, stream).flatMap((block) => {
    const data = reader.table(block, [name]).get(name);
    return data === undefined ? [] : Array.from({ length: block.rows }, (_, row) => columnOf(data).at(row));
  });
  reader.close();
  return values;
}

const squares =
  '{ input: { n: "int32" }, output: { square: "float64" }, block: (b) => ({ columns: { square: Float64Array.from(b.columns.n.values, (n) => n * n) } }) }';

describe.each([
  ['in the thread of the shim', { workers: 1 }],
  ['on two worker threads', { workers: 2 }],
  ['in a process of its own', { workers: 1, executor: 'process' }],
  ['on two threads of a process of its own', { workers: 2, executor: 'process' }],
  ['on a thread with a memory limit', { workers: 1, resources: { memory: '256Mi' } }],
] as [string, Partial<ResolvedStage>][])('a stage %s', (_, over) => {
  it('works through all blocks in order, and again on the next shard', async () => {
    await numbers(9);
    const shim = await put(await moduleOf(squares, over));
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', blocks: 9, rows: 900 });
    expect(read('square')).toEqual(Array.from({ length: 900 }, (__, n) => n * n));
    await agent.scratch.dropStream(agent.shardId, 'work');
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', rows: 900 });
  });

  it('adds floats up to the same last bit', async () => {
    await numbers(9, 1000);
    const source = `{
      input: { n: 'int32' }, output: { sum: 'float64' },
      aggregate: {
        start: () => ({ sum: 0.1 }),
        add(s, b) { for (const n of b.columns.n.values) s.sum += 1 / (n + 1); },
        merge: (a, b) => ({ sum: a.sum + b.sum }),
        finish: (s) => ({ sum: Float64Array.of(s.sum) }),
      } }`;
    let expected = 0.1;
    for (let block = 0; block < 9; block++) {
      let sum = 0.1;
      for (let n = block * 1000; n < (block + 1) * 1000; n++) sum += 1 / (n + 1);
      expected += sum;
    }
    expect(await agent.run(await put(await moduleOf(source, over)), 'work')).toMatchObject({ outcome: 'committed' });
    expect(read('sum')).toEqual([expected]);
  });

  it('fails with the error of its code, and parks', async () => {
    await numbers(3);
    const shim = await put(
      await moduleOf('{ block(b) { if (b.index === 1) throw new TypeError("bad row"); return {}; } }', over),
    );
    const ended = await agent.run(shim, 'work');
    expect(ended).toMatchObject({
      outcome: 'failed',
      error: {
        code: 'PDL_STAGE_FAILED',
        message: 'stage work failed in block 1: bad row',
        logTail: expect.stringContaining('TypeError'),
      },
    });
    expect((await agent.run(shim, 'work')).outcome).toBe('failed');
  });

  it('is cancelled', async () => {
    await numbers(1);
    const shim = await put(
      await moduleOf(
        '{ async block(b, ctx) { ctx.progress("in it"); await new Promise((r) => ctx.signal.addEventListener("abort", r)); return {}; } }',
        over,
      ),
    );
    const request = await agent.request('work');
    agent.send(shim.slot, { type: 'start', ...request });
    await agent.heard('progress', (said) => said.note === 'in it');
    agent.send(shim.slot, { type: 'cancel', runId: request.runId, reason: 'test' });
    expect((await agent.heard('ended')).outcome).toBe('cancelled');
  });

  it('logs, counts what it fetched, and sees its shard and parameters', async () => {
    await numbers(1, 1);
    const source = `{ output: { seen: 'utf8' }, keep: 'none', async block(b, ctx) {
      const answer = await ctx.fetch('data:text/plain,hello');
      ctx.external({ bytesOut: 7 });
      ctx.logger.info('called', { status: answer.status });
      return { rows: 1, columns: { seen: [[ctx.shard.id, ctx.shard.key, ctx.parameters.limit, await answer.text()].join('|')] } };
    } }`;
    const ended = await agent.run(await put(await moduleOf(source, over)), 'work', { parameters: { limit: 3 } });
    expect(ended.error).toBeUndefined();
    expect(read('seen')).toEqual(['shard-1|key one|3|hello']);
    expect(ended.bytes.network).toEqual({ read: 5, written: 7 });
    expect(await agent.heard('log')).toMatchObject({ level: 'info', message: 'called {"status":200}' });
  });
});

describe('many threads', () => {
  it('commit in the order of the blocks, whichever is done first', async () => {
    await numbers(60, 10);
    // Every fourth block waits until the next one is being worked on, and thereby is overtaken.
    const source = `{ async block(b) {
      const { existsSync, writeFileSync } = await import('node:fs');
      const sign = (block) => ${JSON.stringify(join(agent.dir, 'sign-'))} + block;
      writeFileSync(sign(b.index), '');
      while (b.index % 4 === 0 && !existsSync(sign(b.index + 1))) await new Promise((r) => setImmediate(r));
      return {};
    } }`;
    const shim = await put(await moduleOf(source, { workers: 3 }));
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', blocks: 60, rows: 600 });
    expect(read('n')).toEqual(Array.from({ length: 600 }, (_, n) => n));
  });

  it('tell by message what does not fit into the ring', async () => {
    await numbers(5, 1);
    const names = Array.from({ length: 700 }, (_, n) => `column_${n}`);
    const source = `{ output: ${JSON.stringify(Object.fromEntries(names.map((name) => [name, 'int8'])))}, keep: 'none',
      block: (b) => ({ rows: 1, columns: Object.fromEntries(${JSON.stringify(names)}.map((name) => [name, Int8Array.of(b.index)])) }) }`;
    const shim = await put(await moduleOf(source, { workers: 2 }));
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', blocks: 5, rows: 5 });
    expect(read('column_699')).toEqual([0, 1, 2, 3, 4]);
  });

  it('ask for room one after another, and go on where they are told to', async () => {
    await agent.close();
    agent = await FakeAgent.start({ sizeBytesMax: 8 * 1024 * 1024 });
    await numbers(24, 1);
    let asking = 0;
    let most = 0;
    agent.room = async () => {
      most = Math.max(most, ++asking);
      await new Promise((resolve) => setImmediate(resolve));
      asking--;
      return 'ssd' as const;
    };
    const source =
      '{ output: { filler: "utf8" }, keep: "none", block: (b) => ({ rows: 1, columns: { filler: [String(b.index).repeat(1 << 20)] } }) }';
    const ended = await agent.run(await put(await moduleOf(source, { workers: 3 })), 'work');
    expect(ended).toMatchObject({ outcome: 'committed', rows: 24 });
    expect(most).toBe(1);
    expect(ended.bytes.ssd.written).toBeGreaterThan(10 * 1024 * 1024);
    expect(read('filler').map((text) => Number(String(text).slice(0, String(text).length >> 20)))).toEqual(
      Array.from({ length: 24 }, (_, n) => n),
    );
  });

  it('are as many as are worth it, where a stage leaves that open', async () => {
    await numbers(40, 10);
    const source = `{ output: { thread: 'int32' }, async block(b) {
      const { threadId } = await import('node:worker_threads');
      const until = performance.now() + 20;
      while (performance.now() < until);
      return { columns: { thread: new Int32Array(b.rows).fill(threadId) } };
    } }`;
    const shim = await put(await moduleOf(source, { workers: 'auto' }), { workers: 2 });
    const threadsOf = async (): Promise<unknown[]> => {
      await agent.scratch.dropStream(agent.shardId, 'work');
      expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', rows: 400 });
      expect(read('n')).toEqual(Array.from({ length: 400 }, (_, n) => n));
      return read('thread');
    };
    // It begins in the thread of the shim, where nothing is to be started, and goes over to others when they are up.
    let threads = await threadsOf();
    expect(threads[0]).toBe(0);
    while (threads.every((thread) => thread === 0)) threads = await threadsOf();
    // What it has learned it keeps, and it is two threads that work: in one run or another, each has a block.
    const seen = new Set<unknown>();
    for (let run = 0; run < 10 && seen.size < 2; run++) for (const thread of await threadsOf()) seen.add(thread);
    expect([seen.size, seen.has(0)]).toEqual([2, false]);
  });
});

describe('what a stage does to itself', () => {
  it.each([
    ['an endless loop on a thread', { workers: 2 }],
    ['an endless loop in a process', { executor: 'process' as const }],
  ])('%s ends with the cancel, and the slot goes on', async (_, over) => {
    await numbers(1);
    const shim = await put(
      await moduleOf('{ block(b, ctx) { if (ctx.parameters.hang) { ctx.progress("in it"); for (;;); } return {}; } }', over),
    );
    const request = await agent.request('work', { parameters: { hang: true } });
    agent.send(shim.slot, { type: 'start', ...request });
    await agent.heard('progress', (said) => said.note === 'in it');
    agent.send(shim.slot, { type: 'cancel', runId: request.runId, reason: 'test' });
    expect((await agent.heard('ended')).outcome).toBe('cancelled');
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed' });
  });

  it.each([
    ['a segmentation fault', 'process.kill(process.pid, "SIGSEGV"); for (;;);', 'PDL_STAGE_DIED', /SIGSEGV/],
    ['an exit', 'console.error("last words"); process.exit(7);', 'PDL_STAGE_DIED', /exit code 7/],
    ['a leak', 'const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));', 'PDL_STAGE_MEMORY', /memory limit/],
  ])('%s in a process of its own is told, and the slot goes on', async (_, code, expected, message) => {
    await numbers(2);
    const stage = await moduleOf(`{ block(b, ctx) { if (ctx.parameters.fail && b.index === 1) { ${code} } return {}; } }`, {
      executor: 'process',
      resources: { memory: '48Mi' },
    });
    const shim = await put(stage);
    const ended = await agent.run(shim, 'work', { parameters: { fail: true } });
    expect(ended).toMatchObject({
      outcome: 'failed',
      error: { code: expected, message: expect.stringMatching(message), retry: 'later' },
    });
    if (expected === 'PDL_STAGE_DIED' && code.includes('last words')) expect(ended.error?.logTail).toContain('last words');
    const committed = agent.scratch.progress(agent.shardId, 'work')?.consumed ?? 0;
    expect(committed).toBeLessThanOrEqual(1);
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed', blocks: 2 - committed });
    expect(read('n')).toHaveLength(200);
  });

  it('a leak on a thread is told, and the slot goes on', async () => {
    await numbers(1);
    const stage = await moduleOf(
      '{ block(b, ctx) { const all = []; if (ctx.parameters.leak) for (;;) all.push(new Array(1e4).fill(Math.random())); return {}; } }',
      { resources: { memory: '32Mi' } },
    );
    const shim = await put(stage);
    expect((await agent.run(shim, 'work', { parameters: { leak: true } })).error).toMatchObject({ code: 'PDL_STAGE_MEMORY' });
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed' });
  });

  it('a rejection that nobody awaited fails the run, not the slot', async () => {
    await numbers(1);
    const stage = await moduleOf(
      '{ async block(b, ctx) { if (ctx.parameters.fail) { void Promise.reject(new Error("nobody heard")); await new Promise(() => {}); } return {}; } }',
    );
    const shim = await put(stage);
    expect((await agent.run(shim, 'work', { parameters: { fail: true } })).error).toMatchObject({
      code: 'PDL_STAGE_FAILED',
      message: 'nobody heard',
    });
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed' });
  });

  it('a module that cannot be loaded makes the slot unusable, until a better one comes', async () => {
    await numbers(1);
    const shim = agent.spawn(shimCommand, 'work');
    await agent.hello();
    await writeFile(join(agent.dir, 'broken.mjs'), 'export default 1 +;');
    agent.send(shim.slot, agent.welcome(stageOf('work', { module: 'broken.mjs' })));
    expect(await agent.heard('unusable')).toMatchObject({
      step: shim.step,
      error: { code: 'PDL_STAGE_LOAD', message: expect.stringContaining('broken.mjs') },
    });
    agent.send(shim.slot, agent.welcome(await moduleOf(squares)));
    await agent.heard('ready');
    expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed' });
  });
});

describe('a shim that is killed', () => {
  it.each([1, 2])('goes on behind its last committed block (%i workers)', async (workers) => {
    await numbers(40);
    // From its tenth block on it waits for a file, which is not there before the first shim is killed.
    const go = join(agent.dir, 'go');
    const stage = await moduleOf(
      `{ output: { pid: 'int32' }, async block(b, ctx) {
        const { existsSync } = await import('node:fs');
        while (b.index >= 10 && !existsSync(${JSON.stringify(go)})) await new Promise((r) => setImmediate(r));
        return { columns: { pid: new Int32Array(b.rows).fill(process.pid) } };
      } }`,
      { workers },
    );
    const first = await put(stage);
    const request = await agent.request('work');
    agent.send(first.slot, { type: 'start', ...request });
    await agent.heard('progress', (said) => said.blocks >= 5);
    first.child.kill('SIGKILL');
    await first.exited;
    const committed = agent.scratch.progress(agent.shardId, 'work')?.consumed ?? 0;
    expect(committed).toBeGreaterThanOrEqual(5);
    expect(committed).toBeLessThanOrEqual(10);
    await writeFile(go, '');
    const second = await put(stage);
    const ended = await agent.run(second, 'work', { lineage: request.lineage });
    expect(ended).toMatchObject({ outcome: 'committed', blocks: 40 - committed });
    expect(read('n')).toEqual(Array.from({ length: 4000 }, (_, n) => n));
    expect(read('pid').filter((pid) => pid === first.child.pid)).toHaveLength(committed * 100);
  });

  it('takes its worker processes with it', async () => {
    await numbers(1);
    const stage = await moduleOf('{ block(b, ctx) { ctx.progress(String(process.pid)); for (;;); } }', { executor: 'process' });
    const shim = await put(stage);
    agent.send(shim.slot, { type: 'start', ...(await agent.request('work')) });
    const { note } = await agent.heard('progress', (said) => said.note !== undefined);
    shim.child.kill('SIGKILL');
    await shim.exited;
    await expect.poll(() => isAtWork(Number(note)), { timeout: 20_000, interval: 50 }).toBe(false);
  });
});

describe('a scratch without room', () => {
  it('asks the agent, and goes on where it is told to', async () => {
    await agent.close();
    agent = await FakeAgent.start({ sizeBytesMax: 8 * 1024 * 1024 });
    await numbers(20);
    const asked: number[] = [];
    agent.room = (bytes) => (asked.push(bytes), 'ssd');
    const stage = await moduleOf(
      '{ output: { filler: "utf8" }, keep: "none", block: (b) => ({ rows: 1, columns: { filler: ["x".repeat(1 << 20)] } }) }',
    );
    const ended = await agent.run(await put(stage), 'work');
    expect(ended).toMatchObject({ outcome: 'committed', rows: 20 });
    expect(asked.length).toBeGreaterThan(0);
    expect(ended.bytes.ssd.written).toBeGreaterThan(10 * 1024 * 1024);
    expect(read('filler')).toHaveLength(20);
  });
});

describe('two inputs', () => {
  it('are zipped block by block', async () => {
    await numbers(3);
    const left = await put(await moduleOf(squares));
    await agent.run(left, 'work');
    const source =
      '{ input: { n: "int32", square: "float64" }, output: { cube: "float64" }, block: (b) => ({ columns: { cube: b.columns.square.values.map((s, i) => s * b.columns.n.values[i]) } }) }';
    const cube = { ...(await moduleOf(source, {}, 'cube.mjs')), name: 'cube', after: ['input', 'work'] };
    const shim = await agent.put(shimCommand, cube, { slot: 1 });
    expect(await agent.run(shim, 'cube', { inputs: ['input', 'work'], lineage: lineageOf('cube') })).toMatchObject({
      outcome: 'committed',
      rows: 300,
    });
    expect(read('cube', 'cube').slice(0, 4)).toEqual([0, 1, 8, 27]);
  });
});

async function isAtWork(pid: number): Promise<boolean> {
  const { readFile } = await import('node:fs/promises');
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return state !== undefined && !/\) [ZX]/.test(state);
}
