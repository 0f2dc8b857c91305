import { describe, expect, it } from 'vitest';
import { chainOf, diamondOf, pipelineOf, randomGraph, withForms } from './pipelines.js';
import { Random } from './random.js';
import { describeWorld, makeWorld, runToEnd } from './world.js';

const seeds = Number(process.env['PODLINE_SIMULATION_SEEDS'] ?? 240);
const firstSeed = Number(process.env['PODLINE_SIMULATION_FIRST_SEED'] ?? 1);

describe('lines without faults', () => {
  it('take a chain of 12 stages through 2 slots with one swap for each stage', () => {
    const world = makeWorld({ seed: 1, pipeline: pipelineOf(chainOf(12)), lines: 1, shards: 1 });
    runToEnd(world);
    expect(world.lines[0]?.swaps).toBe(12);
  });

  it('pay fewer swaps than shards × stages when several shards are resident', () => {
    const world = makeWorld({ seed: 2, pipeline: pipelineOf(chainOf(12)), lines: 1, shards: 32, config: { residentsMax: 8 } });
    runToEnd(world);
    expect(world.lines[0]?.swaps).toBeLessThanOrEqual(12 * Math.ceil(32 / 8) + 12);
    expect(world.lines[0]?.started).toHaveLength(32 * 12);
  });

  it('take a graph of 128 stages through 4 slots', () => {
    const world = makeWorld({
      seed: 3,
      pipeline: pipelineOf(randomGraph(new Random(3), 128)),
      lines: 1,
      shards: 12,
      config: { slots: 4, residentsMax: 6 },
    });
    runToEnd(world);
    expect(world.lines[0]?.started).toHaveLength(12 * 128);
    expect(world.lines[0]?.swaps).toBeLessThan((12 * 128) / 3);
  });

  it('let the branches of a diamond overlap in time', () => {
    const world = makeWorld({
      seed: 4,
      pipeline: pipelineOf(diamondOf(2)),
      lines: 1,
      shards: 1,
      config: { slots: 3 },
      times: { runMs: [500, 1_000], swapMs: [100, 100] },
    });
    runToEnd(world);
    const [one, two] = (world.lines[0]?.started ?? []).filter((run) => run.stage.startsWith('arm'));
    expect(Math.max(one?.atMs ?? 0, two?.atMs ?? 0)).toBeLessThan(Math.min(one?.endedMs ?? 0, two?.endedMs ?? 0));
  });

  it('let a stage work on what the one before it has committed, and a third on that', () => {
    const block = { declares: { form: 'block', keep: 'all' } } as const;
    const world = makeWorld({
      seed: 6,
      pipeline: pipelineOf(chainOf(3, block)),
      lines: 1,
      shards: 1,
      config: { slots: 3, cores: 3 },
      times: { runMs: [5_000, 10_000], swapMs: [100, 100] },
    });
    runToEnd(world);
    const [first, second, third] = world.lines[0]?.started ?? [];
    expect([first?.follows, second?.follows, third?.follows]).toEqual([false, true, true]);
    expect(second?.atMs).toBeLessThan(first?.endedMs ?? 0);
    expect(third?.atMs).toBeLessThan(second?.endedMs ?? 0);
    expect(world.lines[0]?.swaps).toBe(3);
  });

  it('share 400 equal shards evenly among 4 lines, each once', () => {
    const world = makeWorld({
      seed: 5,
      pipeline: pipelineOf(chainOf(5)),
      lines: 4,
      shards: 400,
      config: { residentsMax: 8 },
      eventsMax: 400_000,
      times: { runMs: [50, 150] },
    });
    runToEnd(world, 400_000);
    for (const line of world.lines) {
      const shards = new Set(line.started.map((run) => run.shardId)).size;
      expect(shards).toBeGreaterThanOrEqual(85);
      expect(shards).toBeLessThanOrEqual(115);
    }
  });
});

describe('lines that are broken in every way', () => {
  const perTest = 40;
  for (let from = firstSeed; from < firstSeed + seeds; from += perTest) {
    const to = Math.min(from + perTest, firstSeed + seeds);
    it(`end every shard exactly once: seeds ${String(from)} to ${String(to - 1)}`, () => {
      for (let seed = from; seed < to; seed += 1) {
        const random = new Random(seed * 7919);
        const stages = random.int(1, 14);
        const graph = random.chance(0.3) ? diamondOf(random.int(1, 6)) : randomGraph(random, stages);
        const world = makeWorld({
          seed,
          pipeline: pipelineOf(random.chance(0.7) ? withForms(random, graph) : graph),
          lines: random.int(1, 4),
          shards: random.int(1, 20),
          config: {
            slots: random.int(1, 5),
            residentsMax: random.int(1, 6),
            cores: random.int(1, 3),
            scratchBytesMax: random.int(50, 700),
          },
          faults: {
            runFails: 0.05,
            runFailsForGood: random.chance(0.2) ? 0.01 : 0,
            containerDies: 0.05,
            runHangs: 0.02,
            helloLost: 0.03,
            swapFails: 0.05,
            stageUnusable: 0.03,
            endLost: 0.03,
            deliveryFails: 0.1,
            answerLost: 0.05,
          },
          trouble: { meanMs: random.int(2_000, 60_000), untilMs: random.int(10_000, 200_000) },
          revisions: random.chance(0.4) ? random.int(1, 3) : 0,
          retriesLimit: random.chance(0.3) ? 2 : 1_000,
        });
        try {
          runToEnd(world);
        } catch (error) {
          throw new Error(
            `seed ${String(seed)}: ${error instanceof Error ? error.message : String(error)}\n${describeWorld(world)}`,
            { cause: error },
          );
        }
      }
    });
  }
});
