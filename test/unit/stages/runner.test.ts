/** Stages of every form, run in this thread on a real scratch. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ColumnSchema, Lineage } from '../../../runtime/contracts/block.js';
import type { ResolvedStage } from '../../../runtime/contracts/manifest.js';
import type { RunRequest } from '../../../runtime/contracts/shim-protocol.js';
import { column, defineStage, type ColumnSpecs, type DefinedStage } from '../../../runtime/index.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import type { ColumnToWrite, Scratch } from '../../../runtime/scratch/types.js';
import { columnOf } from '../../../runtime/stages/columns.js';
import type { RunEvents } from '../../../runtime/stages/commits.js';
import { runFiles } from '../../../runtime/stages/files-form.js';
import { InlineWorkers } from '../../../runtime/stages/inline.js';
import { RunNews } from '../../../runtime/stages/news.js';
import type { RoomAnswer } from '../../../runtime/stages/room.js';
import { endOf, runBlocks, type RunEnd } from '../../../runtime/stages/runner.js';

const shardId = 's1';
let dir: string;
let scratch: Scratch;
let runs = 0;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'podline-stages-'));
  scratch = await openScratch({
    dir: join(dir, 'scratch'),
    spillDir: join(dir, 'spill'),
    sizeBytesMax: 64 * 1024 * 1024,
    medium: 'memory',
    role: 'owner',
  });
  await scratch.putShard({ shardId, epoch: 1, revision: 1 });
});
afterEach(async () => {
  await scratch.close();
  await rm(dir, { recursive: true, force: true });
});

const lineage = (stage: string, parameters = ''): Lineage => ({
  digest: createHash('sha256')
    .update(stage + parameters)
    .digest('hex'),
  stage,
  version: 'v',
  parameters,
  inputs: {},
});

async function table(
  stream: string,
  schema: ColumnSchema[],
  blocks: { rows: number; columns: ColumnToWrite[] }[],
): Promise<void> {
  const run = { runId: 'load', epoch: 1 };
  await scratch.beginRun(shardId, stream, run);
  const writer = await scratch.openWriter({ shardId, stream, kind: 'table', schema, lineage: lineage(stream), run });
  for (const { rows, columns } of blocks) await writer.appendTable(rows, columns);
  await writer.seal();
  await writer.close();
}

/** Blocks of `delay` (int16) and `origin` (dictionary with nulls). */
const flights = (...blocks: number[][]): Promise<void> =>
  table(
    'input',
    [
      { name: 'delay', type: 'int16', nullable: false },
      { name: 'origin', type: 'dictionary', nullable: true },
    ],
    blocks.map((delays) => ({
      rows: delays.length,
      columns: [
        { name: 'delay', data: column.int16.from(delays).toData() },
        { name: 'origin', data: column.dictionary.from(delays.map((delay) => (delay === 0 ? null : `A${delay % 3}`))).toData() },
      ],
    })),
  );

const silent: RunEvents = {
  progress: () => undefined,
  note: () => undefined,
  log: () => undefined,
  room: () => Promise.resolve('none'),
};

interface Options {
  stream?: string;
  inputs?: string[];
  combine?: 'zip' | 'concat';
  parameters?: RunRequest['parameters'];
  signal?: AbortSignal;
  events?: Partial<RunEvents>;
  lineage?: Lineage;
  nowMs?: () => number;
}

async function run(defined: DefinedStage, options: Options = {}): Promise<RunEnd> {
  const name = options.stream ?? 'out';
  const runId = `run-${++runs}`;
  const inputs = options.inputs ?? ['input'];
  await scratch.beginRun(shardId, name, { runId, epoch: 1 });
  const request: RunRequest = {
    runId,
    shardId,
    shardKey: 'k',
    epoch: 1,
    attempt: 1,
    parameters: options.parameters ?? {},
    inputs,
    lineage: options.lineage ?? lineage(name),
    consumed: 0,
  };
  const stage = { name, combine: options.combine ?? 'zip' } as ResolvedStage;
  const signal = options.signal ?? new AbortController().signal;
  const events = { ...silent, ...options.events };
  const nowMs = options.nowMs ?? (() => performance.now());
  return endOf(nowMs(), nowMs, signal, (counts) =>
    defined.declaration.form === 'files'
      ? runFiles({ stage: name, defined, scratch, nowMs }, request, events, signal, counts)
      : runBlocks(
          {
            stage,
            declaration: defined.declaration,
            defined,
            scratch,
            workers: new InlineWorkers(name, defined, scratch, nowMs),
            nowMs,
          },
          request,
          events,
          new RunNews(),
          signal,
          counts,
        ),
  );
}

const ok = async (ended: Promise<RunEnd>): Promise<RunEnd> => {
  const end = await ended;
  expect(end.error).toBeUndefined();
  expect(end.outcome).toBe('committed');
  return end;
};

/** All rows of a stream, and where each of its columns lies. */
function read(stream = 'out') {
  const reader = scratch.openReader(shardId);
  const blocks = scratch.blocks(shardId, stream);
  const rows = blocks.flatMap((block) => {
    const columns = [...reader.table(block)].map(([name, data]) => [name, columnOf(data)] as const);
    return Array.from({ length: block.rows }, (_, row) =>
      Object.fromEntries(columns.map(([name, each]) => [name, each.at(row)])),
    );
  });
  reader.close();
  return { rows, blocks, record: scratch.stream(shardId, stream) };
}

const late = defineStage({
  input: { delay: 'int16' },
  output: { late: 'bool' },
  parameters: { limit: 'number' },
  block: (batch, ctx) => ({ columns: { late: Array.from(batch.columns.delay.values, (delay) => delay > ctx.parameters.limit) } }),
});

describe('the block form', () => {
  it('adds a column beside the input columns, which stay where they are', async () => {
    await flights([5, 20], [30]);
    const end = await ok(run(late, { parameters: { limit: 15 } }));
    const { rows, blocks, record } = read();
    expect(rows.map((row) => [row['delay'], row['origin'], row['late']])).toEqual([
      [5, 'A2', false],
      [20, 'A2', true],
      [30, 'A0', true],
    ]);
    expect(record).toMatchObject({ sealed: true, blocks: 2, rows: 3 });
    expect(record?.schema.map(({ name }) => name)).toEqual(['delay', 'origin', 'late']);
    expect(blocks[0]?.columns[0]?.values.segment).toBe(scratch.block(shardId, 'input', 0)?.columns[0]?.values.segment);
    expect(end).toMatchObject({ blocks: 2, rows: 3 });
    expect(end.bytes.memory.written).toBeLessThan(4096);
  });

  it('filters: kept columns are gathered, a mask that keeps all copies nothing, a block without rows is only progress', async () => {
    await flights([5, 20, 25], [1, 2], [30]);
    const stage = defineStage({
      input: { delay: 'int16' },
      block: (batch) => ({ select: Uint8Array.from(batch.columns.delay.values, (delay) => (delay > 15 ? 1 : 0)) }),
    });
    await ok(run(stage));
    const { rows, blocks } = read();
    expect(rows).toEqual([
      { delay: 20, origin: 'A2' },
      { delay: 25, origin: 'A1' },
      { delay: 30, origin: 'A0' },
    ]);
    expect(blocks.map((block) => block.rows)).toEqual([2, 1]);
    expect(blocks[1]?.extent).toBeUndefined();
    expect(scratch.progress(shardId, 'out')?.consumed).toBe(3);
  });

  it('selects rows by number, with new columns for those that stay', async () => {
    await flights([1, 2, 3]);
    const stage = defineStage({
      input: { delay: 'int16' },
      output: { twice: 'int32' },
      keep: ['delay'],
      block: (batch) => {
        const select = Uint32Array.of(2, 0);
        return { select, columns: { twice: Int32Array.from(select, (row) => 2 * batch.columns.delay.at(row)) } };
      },
    });
    await ok(run(stage));
    expect(read().rows).toEqual([
      { delay: 3, twice: 6 },
      { delay: 1, twice: 2 },
    ]);
  });

  it('renames without writing a byte', async () => {
    await flights([1, 2]);
    const stage = defineStage({
      input: { delay: 'int16' },
      output: { minutes: 'int16' },
      keep: 'none',
      block: (batch) => ({ columns: { minutes: batch.columns.delay } }),
    });
    const end = await ok(run(stage));
    expect(read().rows).toEqual([{ minutes: 1 }, { minutes: 2 }]);
    expect(end.bytes.memory.written).toBe(0);
  });

  it('writes other rows than it reads', async () => {
    await flights([1, 2], [3]);
    const stage = defineStage({
      output: { n: 'int32' },
      keep: 'none',
      block: (batch) => ({ rows: 1, columns: { n: Int32Array.of(batch.rows) } }),
    });
    await ok(run(stage));
    expect(read().rows).toEqual([{ n: 2 }, { n: 1 }]);
  });

  it.each([
    ['a wrong type', () => ({ columns: { late: new Int16Array(2) } }), /out\.late must give uint8, but gave Int16Array of 2/],
    ['wrong rows', () => ({ columns: { late: new Uint8Array(3) } }), /out\.late must give 2 rows, but gave 3 rows/],
    ['a missing column', () => ({ columns: {} }), /out\.late must give uint8, but gave nothing/],
    ['a stray column', () => ({ columns: { late: new Uint8Array(2), more: new Uint8Array(2) } }), /but gave a column more/],
    ['nulls', () => ({ columns: { late: column.uint8.from([1, null]) } }), /uint8 without nulls, but gave 1 nulls/],
    ['nothing at all', () => undefined, /must give an object with columns for block 0, but gave undefined/],
    [
      'other rows with kept columns',
      () => ({ rows: 5, columns: { late: new Uint8Array(5) } }),
      /2 rows, as the input columns that it keeps, but gave 5 rows/,
    ],
    [
      'a row that is not there',
      () => ({ select: Uint32Array.of(2), columns: { late: new Uint8Array(1) } }),
      /row numbers below 2/,
    ],
  ])('refuses %s, naming stage, column, what was expected and what came', async (_, block, message) => {
    await flights([1, 2]);
    const end = await run(defineStage({ output: { late: 'uint8' }, block: block as never }));
    expect(end).toMatchObject({
      outcome: 'failed',
      error: { code: 'PDL_STAGE_OUTPUT', message: expect.stringMatching(message), retry: 'never' },
    });
    expect(read().record?.sealed ?? false).toBe(false);
  });

  it('refuses an input column that is missing, of another type, or with nulls where none were declared', async () => {
    await flights([0]);
    const needs = (input: ColumnSpecs) => run(defineStage({ input, block: (batch) => (void Object.values(batch.columns), {}) }));
    expect((await needs({ nothing: 'int8' })).error).toMatchObject({
      code: 'PDL_STAGE_COLUMNS',
      message: expect.stringContaining('needs the column nothing (int8); its input has delay int16, origin dictionary'),
    });
    expect((await needs({ delay: 'int32' })).error?.message).toContain(
      'needs the column delay as int32; its input has it as int16',
    );
    expect((await needs({ origin: 'dictionary' })).error).toMatchObject({
      message: expect.stringContaining('1 nulls in block 0'),
      hint: expect.stringContaining('nullable: true'),
    });
  });

  it('refuses a parameter that it was promised and not given', async () => {
    await flights([1]);
    expect((await run(late, { parameters: { limit: 'x' } })).error).toMatchObject({
      code: 'PDL_PARAMETER_INVALID',
      message: expect.stringContaining('limit as a number; it is "x"'),
    });
  });

  it('tells what the stage threw, with block and stack', async () => {
    await flights([1], [2]);
    const end = await run(
      defineStage({
        block(batch) {
          if (batch.index === 1) throw new RangeError('too far');
          return {};
        },
      }),
    );
    expect(end.error).toMatchObject({
      code: 'PDL_STAGE_FAILED',
      message: 'stage out failed in block 1: too far',
      retry: 'later',
      logTail: expect.stringContaining('RangeError: too far'),
    });
    expect(scratch.progress(shardId, 'out')?.consumed).toBe(1);
  });
});

describe('resuming', () => {
  it('goes on behind the last committed block, and does nothing at all when the stream is whole', async () => {
    await flights([1], [2], [3]);
    const seen: number[] = [];
    let failAt = 2;
    const stage = defineStage({
      block(batch) {
        if (batch.index === failAt) throw new Error('power');
        seen.push(batch.index);
        return {};
      },
    });
    expect((await run(stage)).outcome).toBe('failed');
    failAt = -1;
    await ok(run(stage));
    expect((await ok(run(stage))).blocks).toBe(0);
    expect(seen).toEqual([0, 1, 2]);
    expect(read().rows.map((row) => row['delay'])).toEqual([1, 2, 3]);
  });

  it('begins anew under another lineage', async () => {
    await flights([1], [2]);
    await run(defineStage({ block: (batch) => (batch.index === 1 ? Promise.reject(new Error('x')) : {}) }));
    const end = await ok(run(defineStage({ block: () => ({}) }), { lineage: lineage('out', 'other') }));
    expect(end.blocks).toBe(2);
    expect(read().blocks).toHaveLength(2);
  });
});

describe('the row form', () => {
  it('computes, drops rows, and leaves null what was not set', async () => {
    await flights([5, 0, 20], [30]);
    const stage = defineStage({
      input: { delay: 'int16', origin: { type: 'dictionary', nullable: true } },
      output: {
        code: 'utf8',
        half: { type: 'float32', nullable: true },
        big: 'int64',
        at: 'timestamp[ms]',
        late: 'bool',
        group: 'dictionary',
      },
      keep: ['delay'],
      row(row, out) {
        out.code = `${row.origin ?? 'none'}!`;
        out.big = BigInt(row.delay) * 10_000_000_000n;
        out.at = row.delay * 1000;
        out.late = row.delay > 15;
        out.group = row.delay > 15 ? 'late' : 'early';
        if (row.delay > 10) out.half = row.delay / 2;
        return row.delay !== 0;
      },
    });
    await ok(run(stage));
    expect(read().rows).toEqual([
      { delay: 5, code: 'A2!', half: null, big: 50_000_000_000n, at: 5000, late: false, group: 'early' },
      { delay: 20, code: 'A2!', half: 10, big: 200_000_000_000n, at: 20_000, late: true, group: 'late' },
      { delay: 30, code: 'A0!', half: 15, big: 300_000_000_000n, at: 30_000, late: true, group: 'late' },
    ]);
  });

  it.each([
    ['a value that does not fit', 300, /out\.n must give int8, but gave 300 in row 1/],
    ['a fraction', 1.5, /out\.n must give int8, but gave 1.5 in row 1/],
    ['a string', 'x', /out\.n must give int8, but gave a string in row 1/],
    ['null', null, /int8 without nulls, but gave null in row 1/],
  ])('refuses %s', async (_, value, message) => {
    await flights([1, 2]);
    const stage = defineStage({
      input: { delay: 'int16' },
      output: { n: 'int8' },
      row: (row, out) => void (out.n = row.delay === 1 ? 1 : (value as number)),
    });
    expect((await run(stage)).error).toMatchObject({ code: 'PDL_STAGE_OUTPUT', message: expect.stringMatching(message) });
  });

  it('refuses a kept row without a value', async () => {
    await flights([1, 2]);
    const stage = defineStage({
      input: { delay: 'int16' },
      output: { n: 'int8', m: 'int8' },
      row: (row, out) => ((out.n = 1), row.delay === 1 ? void (out.m = 1) : undefined),
    });
    expect((await run(stage)).error?.message).toMatch(
      /out\.m must give a value for every row that is kept, but gave none for row 1/,
    );
  });

  it('sees all columns where it declares none', async () => {
    await flights([7]);
    await ok(
      run(defineStage({ output: { all: 'utf8' }, keep: 'none', row: (row, out) => void (out.all = JSON.stringify(row)) })),
    );
    expect(read().rows).toEqual([{ all: '{"delay":7,"origin":"A1"}' }]);
  });
});

const mean = defineStage({
  input: { delay: 'int16' },
  output: { sum: 'float64', rows: 'int32' },
  aggregate: {
    start: () => ({ sum: 0, rows: 0, seen: new Map<string, number>() }),
    add(state, batch) {
      for (const delay of batch.columns.delay.values) state.sum += delay / 3;
      state.rows += batch.rows;
      state.seen.set(`block ${batch.index}`, batch.rows);
    },
    merge: (a, b) => ({ sum: a.sum + b.sum, rows: a.rows + b.rows, seen: new Map([...a.seen, ...b.seen]) }),
    finish: (state) => ({ sum: Float64Array.of(state.sum), rows: Int32Array.of(state.seen.size * 1000 + state.rows) }),
  },
});

describe('the aggregate form', () => {
  it('reduces all blocks into few rows', async () => {
    await flights([1, 2], [4], [8]);
    const end = await ok(run(mean));
    expect(read().rows).toEqual([{ sum: 1 / 3 + 2 / 3 + 4 / 3 + 8 / 3, rows: 3004 }]);
    expect(end).toMatchObject({ blocks: 3, rows: 1 });
  });

  it('goes on from the state that was saved with its progress', async () => {
    await flights([1, 2], [4], [8], [16]);
    const seen: number[] = [];
    let failAt = 2;
    const { aggregate } = mean.functions;
    const stage: DefinedStage = {
      ...mean,
      functions: {
        aggregate: {
          ...aggregate!,
          add(state, batch, ctx) {
            if (batch.index === failAt) throw new Error('power');
            seen.push(batch.index);
            return aggregate!.add(state, batch, ctx);
          },
        },
      },
    };
    let clock = 0;
    const nowMs = () => clock++ * 1000;
    expect((await run(stage, { nowMs: () => 0 })).outcome).toBe('failed');
    failAt = -1;
    await ok(run(stage, { nowMs }));
    expect(seen).toEqual([0, 1, 2, 3]);
    await ok(run(mean, { stream: 'whole' }));
    expect(read().rows).toEqual(read('whole').rows);
  });

  it('begins anew after a failure when its state is too large to save', async () => {
    await flights([1], [2]);
    let fail = true;
    const seen: number[] = [];
    const stage = defineStage({
      output: { n: 'int32' },
      aggregate: {
        start: () => ({ filler: new Uint8Array(2 * 1024 * 1024) }),
        add(_, batch) {
          seen.push(batch.index);
          if (fail && batch.index === 1) throw new Error('power');
        },
        merge: (a) => a,
        finish: () => ({ n: Int32Array.of(seen.length) }),
      },
    });
    await run(stage);
    expect(scratch.progress(shardId, 'out')).toBeUndefined();
    fail = false;
    await ok(run(stage));
    expect(seen).toEqual([0, 1, 0, 1]);
  });
});

describe('bytes and files', () => {
  async function bytes(stream: string, chunks: string[]): Promise<void> {
    const runOf = { runId: 'load', epoch: 1 };
    await scratch.beginRun(shardId, stream, runOf);
    const writer = await scratch.openWriter({ shardId, stream, kind: 'bytes', schema: [], lineage: lineage(stream), run: runOf });
    for (const chunk of chunks) await writer.appendBytes(Buffer.from(chunk));
    await writer.seal();
    await writer.close();
  }

  it('maps chunks to chunks', async () => {
    await bytes('input', ['ab', 'c']);
    await ok(run(defineStage({ bytes: (chunk) => Buffer.from(Buffer.from(chunk).toString().toUpperCase()) })));
    const reader = scratch.openReader(shardId);
    expect(scratch.blocks(shardId, 'out').map((block) => Buffer.from(reader.payload(block)).toString())).toEqual(['AB', 'C']);
    reader.close();
  });

  it('gives a files stage all of its inputs, and takes what it returns and what it writes', async () => {
    await flights([1], [2]);
    await bytes('raw', ['x', 'yz']);
    const stage = defineStage({
      async files(inputs, ctx) {
        await ctx.writeFile('raw.txt', Buffer.from(inputs.stream('raw').read()).toString());
        await ctx.writeFile('raw.txt', '!');
        const rows = inputs.stream('input').toRows();
        return { 'pages/report.json': JSON.stringify(rows) };
      },
    });
    const end = await ok(run(stage, { inputs: ['input', 'raw'] }));
    const reader = scratch.openReader(shardId);
    const files = new Map<string, string>();
    for (const block of scratch.blocks(shardId, 'out'))
      files.set(block.file!, (files.get(block.file!) ?? '') + Buffer.from(reader.payload(block)).toString());
    reader.close();
    expect(Object.fromEntries(files)).toEqual({
      'raw.txt': 'xyz!',
      'pages/report.json': '[{"delay":1,"origin":"A1"},{"delay":2,"origin":"A2"}]',
    });
    expect(end.blocks).toBe(4);
  });

  it('begins a report anew that was half written', async () => {
    await flights([1]);
    let fail = true;
    const stage = defineStage({
      async files(_, ctx) {
        await ctx.writeFile('a.txt', 'one');
        if (fail) throw new Error('power');
      },
    });
    expect((await run(stage)).error).toMatchObject({ code: 'PDL_STAGE_FAILED' });
    fail = false;
    await ok(run(stage));
    expect(scratch.blocks(shardId, 'out')).toHaveLength(1);
  });

  it.each(['../a', '/a', 'a//b', '.', ''])('refuses the file name %j', async (name) => {
    await flights([1]);
    expect((await run(defineStage({ files: () => ({ [name]: 'x' }) }))).error).toMatchObject({ code: 'PDL_STAGE_OUTPUT' });
  });
});

describe('a run', () => {
  it('ends within a block when it is cancelled, and keeps what is committed', async () => {
    await flights([1], [2], [3]);
    const abort = new AbortController();
    const stage = defineStage({
      block(batch) {
        if (batch.index === 1) abort.abort(new Error('enough'));
        return {};
      },
    });
    const end = await run(stage, { signal: abort.signal });
    expect(end.outcome).toBe('cancelled');
    expect(scratch.progress(shardId, 'out')?.consumed).toBe(1);
  });

  it('does not wait for a stage that never answers', async () => {
    await flights([1]);
    const abort = new AbortController();
    const ended = run(
      defineStage({
        block: () => {
          queueMicrotask(() => abort.abort(new Error('enough')));
          return new Promise<never>(() => undefined);
        },
      }),
      { signal: abort.signal },
    );
    expect((await ended).outcome).toBe('cancelled');
  });

  it.each<[RoomAnswer, string]>([
    ['ssd', 'committed'],
    ['none', 'failed'],
  ])('asks for room when the scratch is full; told %s, it is %s', async (answer, outcome) => {
    await flights([1]);
    const asked: number[] = [];
    const big = defineStage({
      output: { filler: 'utf8' },
      keep: 'none',
      block: () => ({ rows: 1, columns: { filler: ['x'.repeat(80 * 1024 * 1024)] } }),
    });
    const end = await run(big, { events: { room: (bytes) => (asked.push(bytes), Promise.resolve(answer)) } });
    expect(end.outcome).toBe(outcome);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toBeGreaterThan(80 * 1024 * 1024);
    if (answer === 'none') expect(end.error?.code).toBe('PDL_SCRATCH_FULL');
    else expect(end.bytes.ssd.written).toBeGreaterThan(80 * 1024 * 1024);
  });

  it('is refused when another run has taken its place', async () => {
    await flights([1]);
    const stage = defineStage({
      async block() {
        await scratch.beginRun(shardId, 'out', { runId: 'later', epoch: 2 });
        return {};
      },
    });
    expect((await run(stage)).error).toMatchObject({ code: 'PDL_RUN_FENCED' });
    expect(scratch.blocks(shardId, 'out')).toHaveLength(0);
  });

  it('reports progress and what it read and wrote', async () => {
    await flights([1], [2]);
    const told: number[][] = [];
    await ok(run(late, { parameters: { limit: 1 }, events: { progress: (...counts) => told.push(counts) } }));
    expect(told).toEqual([
      [1, 2, 1],
      [2, 2, 2],
    ]);
  });
});
