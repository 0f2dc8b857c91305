/** The bytes form: what is written, what is only referred to, and what is made in place. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defineStage } from '../../../runtime/index.js';
import { StageBench } from '../../support/stage-bench.js';

let bench: StageBench;
beforeEach(async () => {
  bench = await StageBench.start();
});
afterEach(async () => {
  await bench.close();
});

describe('the bytes form', () => {
  it('writes nothing for a chunk that is returned as it is, or for a part of it', async () => {
    await bench.bytes('input', ['head body', 'head more']);
    const end = await bench.run(defineStage({ bytes: (chunk) => (chunk[5] === 98 ? chunk : chunk.subarray(5)) }));
    expect(end).toMatchObject({ outcome: 'committed', bytes: { memory: { written: 0 } } });
    expect(bench.texts()).toEqual(['head body', 'more']);
    const { scratch, shardId } = bench;
    expect(scratch.block(shardId, 'out', 0)?.payload).toEqual(scratch.block(shardId, 'input', 0)?.payload);
  });

  it('keeps what it refers to when the stream that it came from is dropped', async () => {
    await bench.bytes('input', ['one', 'two']);
    await bench.run(defineStage({ bytes: (chunk) => chunk }));
    await bench.scratch.dropStream(bench.shardId, 'input');
    expect(bench.texts()).toEqual(['one', 'two']);
  });

  it('writes a copy of a chunk as what it is, another array', async () => {
    await bench.bytes('input', ['one', 'two']);
    const end = await bench.run(defineStage({ bytes: (chunk) => Uint8Array.from(chunk) }));
    expect(bench.texts()).toEqual(['one', 'two']);
    expect(end.bytes.memory.written).toBe(6);
  });

  it('gives room in the scratch, in which the result may be made', async () => {
    await bench.bytes('input', ['ab', 'c', '']);
    const stage = defineStage({
      bytes(chunk, ctx) {
        const out = ctx.allocate(2 * chunk.length);
        out.set(chunk);
        out.set(chunk, chunk.length);
        return out;
      },
    });
    expect(await bench.run(stage)).toMatchObject({ outcome: 'committed', blocks: 3 });
    expect(bench.texts()).toEqual(['abab', 'cc', '']);
    await bench.scratch.verifyStream(bench.shardId, 'out');
  });

  it('refuses what is no Uint8Array', async () => {
    await bench.bytes('input', ['ab']);
    const end = await bench.run(defineStage({ bytes: (() => 'text') as never }));
    expect(end.error).toMatchObject({ code: 'PDL_STAGE_OUTPUT', message: expect.stringContaining('a Uint8Array for block 0') });
  });
});
