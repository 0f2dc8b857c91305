/** Runs whose inputs still grow while they work: in this thread, on a real scratch, with a leader that the test plays. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { column, defineStage, type DefinedStage } from '../../../runtime/index.js';
import type { Scratch, StreamWriter } from '../../../runtime/scratch/types.js';
import { RunNews } from '../../../runtime/stages/news.js';
import type { RunEnd } from '../../../runtime/stages/runner.js';
import { benchLineage as lineage, StageBench, type BenchRun } from '../../support/stage-bench.js';

let bench: StageBench;
let scratch: Scratch;
let shardId: string;
beforeEach(async () => {
  bench = await StageBench.start();
  ({ scratch, shardId } = bench);
});
afterEach(async () => {
  await bench.close();
});

/** A stage that still works, block by block, as the test says. */
class Leader {
  private constructor(
    readonly stream: string,
    private readonly writer: StreamWriter,
    private readonly name: string,
  ) {}

  static async begin(stream: string, version = 'v', name = 'n'): Promise<Leader> {
    const run = { runId: `${stream}-${version}`, epoch: 1 };
    await scratch.beginRun(shardId, stream, run);
    const schema = [{ name, type: 'int32' as const, nullable: false }];
    return new Leader(
      stream,
      await scratch.openWriter({ shardId, stream, kind: 'table', schema, lineage: lineage(stream, version), run }),
      name,
    );
  }

  async commits(...blocks: number[][]): Promise<void> {
    for (const values of blocks)
      await this.writer.appendTable(values.length, [{ name: this.name, data: column.int32.from(values).toData() }]);
    follower?.news.take('inputGrew');
  }

  async ends(): Promise<void> {
    await this.writer.seal();
    await this.writer.close();
    follower?.news.take('inputGrew');
  }
}

interface Follower {
  end: Promise<RunEnd>;
  news: RunNews;
  abort: AbortController;
  /** Settles when so many blocks are committed. */
  reaches(blocks: number): Promise<void>;
}
let follower: Follower | undefined;
beforeEach(() => (follower = undefined));

function follow(defined: DefinedStage, inputs: string[], options: Partial<BenchRun> = {}): Follower {
  const abort = new AbortController();
  const news = new RunNews();
  const waiting: { blocks: number; resolve: () => void }[] = [];
  let reached = 0;
  const progress = (blocks: number): void => {
    reached = blocks;
    for (const each of waiting) if (each.blocks <= reached) each.resolve();
  };
  const end = bench.run(defined, { inputs, growing: inputs, news, signal: abort.signal, events: { progress }, ...options });
  const reaches = (blocks: number): Promise<void> =>
    reached >= blocks ? Promise.resolve() : new Promise((resolve) => waiting.push({ blocks, resolve }));
  return (follower = { end, news, abort, reaches });
}

const read = (name: string): unknown[] => bench.read(name);

const twice = defineStage({
  input: { n: 'int32' },
  output: { twice: 'int32' },
  block: (batch) => ({ columns: { twice: Int32Array.from(batch.columns.n.values, (n) => 2 * n) } }),
});

describe('a run that follows another', () => {
  it('works on blocks as they are committed, and ends when no more are to come', async () => {
    const leader = await Leader.begin('a');
    await leader.commits([1, 2]);
    const run = follow(twice, ['a']);
    await run.reaches(1);
    expect(read('twice')).toEqual([2, 4]);
    expect(scratch.stream(shardId, 'out')?.sealed).toBe(false);
    await leader.commits([3], [4]);
    await run.reaches(3);
    await leader.ends();
    expect(await run.end).toMatchObject({ outcome: 'committed', blocks: 3, rows: 4 });
    expect(read('twice')).toEqual([2, 4, 6, 8]);
    expect(scratch.stream(shardId, 'out')?.sealed).toBe(true);
  });

  it('begins before its leader has committed anything', async () => {
    const run = follow(twice, ['a']);
    const leader = await Leader.begin('a');
    await leader.commits([5]);
    await run.reaches(1);
    await leader.ends();
    expect((await run.end).outcome).toBe('committed');
    expect(read('twice')).toEqual([10]);
  });

  it('ends without a word when its leader was done before it looked', async () => {
    const leader = await Leader.begin('a');
    await leader.commits([1]);
    await leader.ends();
    expect(await follow(twice, ['a']).end).toMatchObject({ outcome: 'committed', blocks: 1 });
  });

  it('does not read what was left by a maker of another lineage', async () => {
    const old = await Leader.begin('a', 'old');
    await old.commits([7], [8]);
    const run = follow(twice, ['a']);
    const leader = await Leader.begin('a');
    await leader.commits([1]);
    await run.reaches(1);
    await leader.ends();
    expect(await run.end).toMatchObject({ outcome: 'committed', blocks: 1 });
    expect(read('twice')).toEqual([2]);
  });

  it('is not disturbed by a leader that is run again and goes on', async () => {
    const first = await Leader.begin('a');
    await first.commits([1]);
    const run = follow(twice, ['a']);
    await run.reaches(1);
    const again = await Leader.begin('a');
    await again.commits([2]);
    await run.reaches(2);
    await again.ends();
    expect((await run.end).outcome).toBe('committed');
    expect(read('twice')).toEqual([2, 4]);
  });

  it('fails when blocks that it has read are gone', async () => {
    const leader = await Leader.begin('a');
    await leader.commits([1], [2]);
    const run = follow(twice, ['a']);
    await run.reaches(2);
    await scratch.dropStream(shardId, 'a');
    run.news.take('inputGrew');
    expect(await run.end).toMatchObject({
      outcome: 'failed',
      error: { code: 'PDL_INTERNAL', message: expect.stringContaining('lost blocks') },
    });
  });

  it('counts waiting apart from work', async () => {
    const leader = await Leader.begin('a');
    await leader.commits([1]);
    let clock = 0;
    const run = follow(twice, ['a'], { nowMs: () => clock });
    await run.reaches(1);
    // One turn on: it has asked for more by then, and waits.
    await new Promise((resolve) => setImmediate(resolve));
    clock = 1000;
    await leader.commits([2]);
    await run.reaches(2);
    await leader.ends();
    expect(await run.end).toMatchObject({ outcome: 'committed', waitedMs: 1000, workMs: 0 });
  });

  it('is cancelled while it waits', async () => {
    const leader = await Leader.begin('a');
    await leader.commits([1]);
    const run = follow(twice, ['a']);
    await run.reaches(1);
    run.abort.abort(new Error('enough'));
    expect((await run.end).outcome).toBe('cancelled');
    expect(scratch.progress(shardId, 'out')?.consumed).toBe(1);
  });

  it('aggregates what comes', async () => {
    const sum = defineStage({
      input: { n: 'int32' },
      output: { sum: 'float64' },
      aggregate: {
        start: () => ({ sum: 0 }),
        add(state, batch) {
          for (const n of batch.columns.n.values) state.sum += n;
        },
        merge: (a, b) => ({ sum: a.sum + b.sum }),
        finish: (state) => ({ sum: Float64Array.of(state.sum) }),
      },
    });
    const leader = await Leader.begin('a');
    await leader.commits([1, 2]);
    const run = follow(sum, ['a']);
    await run.reaches(1);
    await leader.commits([3]);
    await leader.ends();
    expect(await run.end).toMatchObject({ outcome: 'committed', blocks: 2, rows: 1 });
    expect(read('sum')).toEqual([6]);
  });
});

describe('several inputs that grow', () => {
  const sums = defineStage({
    input: { n: 'int32', m: 'int32' },
    output: { sum: 'int32' },
    block: ({ columns: { n, m } }) => ({ columns: { sum: Int32Array.from(n.values, (value, row) => value + m.at(row)) } }),
  });

  it('are zipped as far as both have come', async () => {
    const a = await Leader.begin('a');
    const b = await Leader.begin('b', 'v', 'm');
    await a.commits([1], [2], [3]);
    await b.commits([10]);
    const run = follow(sums, ['a', 'b']);
    await run.reaches(1);
    await a.ends();
    await b.commits([20]);
    await run.reaches(2);
    expect(read('sum')).toEqual([11, 22]);
    await b.commits([30]);
    await b.ends();
    expect(await run.end).toMatchObject({ outcome: 'committed', blocks: 3 });
    expect(read('sum')).toEqual([11, 22, 33]);
  });

  it('fail as soon as it is seen that one has fewer blocks than the other', async () => {
    const a = await Leader.begin('a');
    const b = await Leader.begin('b', 'v', 'm');
    await a.commits([1]);
    await b.commits([10], [20]);
    const run = follow(sums, ['a', 'b']);
    await run.reaches(1);
    await a.ends();
    expect((await run.end).error).toMatchObject({
      code: 'PDL_STAGE_COLUMNS',
      message: expect.stringContaining('a has 1 blocks, b has 2'),
    });
  });

  it('are put one after another only where those in front are whole', async () => {
    const a = await Leader.begin('a');
    const b = await Leader.begin('b');
    await a.commits([1]);
    await b.commits([10], [20]);
    const run = follow(twice, ['a', 'b'], { combine: 'concat' });
    await run.reaches(1);
    await a.commits([2]);
    await run.reaches(2);
    expect(read('twice')).toEqual([2, 4]);
    await a.ends();
    await run.reaches(4);
    await b.commits([30]);
    await b.ends();
    expect(await run.end).toMatchObject({ outcome: 'committed', blocks: 5 });
    expect(read('twice')).toEqual([2, 4, 20, 40, 60]);
  });

  it('may be one that grows and one that is whole', async () => {
    const a = await Leader.begin('a');
    const b = await Leader.begin('b', 'v', 'm');
    await b.commits([10], [20]);
    await b.ends();
    await a.commits([1]);
    const run = follow(sums, ['a', 'b'], { growing: ['a'] });
    await run.reaches(1);
    await a.commits([2]);
    await a.ends();
    expect((await run.end).outcome).toBe('committed');
    expect(read('sum')).toEqual([11, 22]);
  });
});
