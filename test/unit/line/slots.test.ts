import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chainOf, diamondOf, pipelineOf, randomGraph, withForms } from '../../simulation/pipelines.js';
import { Random } from '../../simulation/random.js';
import { makeWorld, runToEnd, type WorldOptions } from '../../simulation/world.js';
import { fewestSwaps } from '../../support/fewest-swaps.js';

/** Stages take longer than swaps, so that a swap that is begun in time is done in time. */
const times = {
  swapMs: [10, 50] as [number, number],
  runMs: [100, 900] as [number, number],
  loadMs: [10, 50] as [number, number],
};

function swapsOf(options: Pick<WorldOptions, 'pipeline' | 'shards' | 'config'> & { seed?: number }): {
  swaps: number;
  runs: number;
} {
  const world = makeWorld({ seed: 1, lines: 1, times, ...options });
  runToEnd(world, 1_000_000);
  const [line] = world.lines;
  return { swaps: line?.swaps ?? 0, runs: line?.started.length ?? 0 };
}

describe('the plan of slots', () => {
  it('swaps each stage in once for one shard: chains', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 6 }),
        fc.boolean(),
        fc.integer(),
        (length, slots, streaming, seed) => {
          const stages = streaming ? withForms(new Random(seed), chainOf(length)) : chainOf(length);
          expect(swapsOf({ pipeline: pipelineOf(stages), shards: 1, config: { slots }, seed }).swaps).toBe(length);
        },
      ),
      { numRuns: 120 },
    );
  });

  it('swaps each stage in once for one shard: diamonds and other graphs, whatever the stages take', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.integer({ min: 1, max: 24 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        fc.integer(),
        (diamond, size, slots, cores, streaming, seed) => {
          const graph = diamond ? diamondOf(size) : randomGraph(new Random(seed), size);
          const stages = streaming ? withForms(new Random(seed), graph) : graph;
          expect(swapsOf({ pipeline: pipelineOf(stages), shards: 1, config: { slots, cores }, seed }).swaps).toBe(stages.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('reaches the fewest swaps that there can be when shards follow each other, and stages too', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer(),
        (length, slots, shards, seed) => {
          const sequence = Array.from({ length: shards }, () => chainOf(length).map((stage) => stage.name)).flat();
          const { swaps } = swapsOf({ pipeline: pipelineOf(chainOf(length)), shards, config: { slots, residentsMax: 1 }, seed });
          expect(swaps).toBe(fewestSwaps(sequence, slots));
        },
      ),
      { numRuns: 120 },
    );
  });

  it('pays a swap for many shards when several are resident', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 16 }),
        fc.integer({ min: 2, max: 4 }),
        fc.integer({ min: 4, max: 12 }),
        fc.boolean(),
        fc.integer(),
        (length, slots, residentsMax, streaming, seed) => {
          fc.pre(length > slots);
          const { swaps, runs } = swapsOf({
            pipeline: pipelineOf(streaming ? withForms(new Random(seed), chainOf(length)) : chainOf(length)),
            shards: 24,
            config: { slots, residentsMax },
            seed,
          });
          expect(runs).toBe(24 * length);
          expect(swaps).toBeLessThan(runs / 2);
        },
      ),
      { numRuns: 60 },
    );
  });
});
