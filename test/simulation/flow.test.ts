import { describe, expect, it } from 'vitest';
import type { Quota } from '../../runtime/contracts/capacity.js';
import { parseAmounts } from '../../runtime/line/quantity.js';
import type { ScalingRules } from '../../runtime/line/scaling.js';
import { FlowWorld, type SimulatedPipeline } from './flow.js';
import { ensure } from './invariants.js';

const rules: ScalingRules = {
  minLines: 0,
  maxLines: 16_384,
  shardsPerLine: 4,
  stabilizationMs: 20_000,
  downShare: 0.5,
  downEveryMs: 5_000,
};
const pipelines: SimulatedPipeline[] = [
  { name: 'small', weight: 1, perLine: parseAmounts({ cpu: '500m', memory: '1Gi' }), rules, stages: 3 },
  { name: 'large', weight: 2, perLine: parseAmounts({ cpu: '1500m', memory: '3.5Gi' }), rules, stages: 6 },
];
const quotaOf = (cpu: number, memoryGi: number, othersGi = 0): Quota => ({
  name: 'ResourceQuota team',
  hard: parseAmounts({ cpu, memory: `${String(memoryGi)}Gi` }),
  usedByOthers: parseAmounts({ memory: `${String(othersGi)}Gi` }),
});
const quotaChanges = 200;

describe('lines under a quota that changes', () => {
  it.each([1, 2, 3])(`are never above it, and all work ends: ${String(quotaChanges)} changes, seed %i`, (seed) => {
    const world = new FlowWorld(seed, pipelines, quotaOf(8, 16));
    const { clock, random } = world;
    for (const { coordinator, pipeline } of world.sites)
      for (let at = 0; at < 400; at += 1)
        clock.at(random.int(0, 240_000), () => {
          coordinator.submit(`${pipeline.name}-${String(at)}`);
        });
    let changes = 0;
    for (let at = 0; at < quotaChanges; at += 1)
      clock.at(random.int(0, 300_000), () => {
        changes += 1;
        world.changeQuota(random.chance(0.1) ? quotaOf(0, 0) : quotaOf(random.int(1, 24), random.int(1, 60), random.int(0, 20)));
      });
    clock.at(300_001, () => {
      world.changeQuota(quotaOf(8, 16));
    });
    clock.run(() => clock.nowMs > 300_001 && world.unended === 0, 2_000_000);
    for (const { coordinator } of world.sites)
      for (const shard of coordinator.shards.values())
        ensure(shard.state === 'completed' && shard.completions.length === 1, `${shard.id} is ${shard.state}`);
    expect(changes).toBe(quotaChanges);
    expect([...world.sites].map(({ coordinator }) => coordinator.shards.size)).toEqual([400, 400]);
    expect(world.drained).toBeGreaterThan(50);
    expect(world.linesMost).toBeGreaterThan(10);
  });

  it('rise at once with a burst, fall gradually behind it, and to zero in the end', () => {
    const world = new FlowWorld(7, pipelines, quotaOf(64, 128));
    const small = world.sites[0];
    if (small === undefined) throw new Error('no pipeline');
    const history: { atMs: number; lines: number }[] = [];
    const note = (): void => {
      history.push({ atMs: world.clock.nowMs, lines: small.workers.filter(({ draining }) => !draining).length });
      world.clock.after(1_000, note);
    };
    note();
    world.clock.at(10_000, () => {
      for (let at = 0; at < 200; at += 1) small.coordinator.submit(`burst-${String(at)}`);
    });
    world.clock.run(() => world.clock.nowMs > 20_000 && history.at(-1)?.lines === 0, 1_000_000);
    const peak = Math.max(...history.map(({ lines }) => lines));
    expect(peak).toBe(50);
    expect(history.find(({ lines }) => lines === peak)?.atMs).toBeLessThanOrEqual(12_000);
    const falls = history.filter(({ lines }, at) => lines < (history[at - 1]?.lines ?? 0));
    expect(falls.length).toBeGreaterThanOrEqual(4);
    falls.slice(1).forEach(({ atMs }, at) => {
      expect(atMs - (falls[at]?.atMs ?? 0)).toBeGreaterThanOrEqual(rules.downEveryMs);
    });
    expect(world.unended).toBe(0);
  });

  it('share it by weight while both pipelines want more', () => {
    const world = new FlowWorld(8, pipelines, quotaOf(1_000, 70));
    for (const { coordinator, pipeline } of world.sites)
      for (let at = 0; at < 1_000; at += 1) coordinator.submit(`${pipeline.name}-${String(at)}`);
    world.clock.run(() => world.clock.nowMs > 1_000, 100_000);
    const gib = world.sites.map(({ workers, pipeline }) => (workers.length * Number(pipeline.perLine['memory'])) / 2 ** 30 / 1e9);
    expect(gib[0]).toBeGreaterThan(21);
    expect(gib[0]).toBeLessThan(25);
    expect((gib[1] ?? 0) / (gib[0] ?? 1)).toBeGreaterThan(1.8);
    expect((gib[0] ?? 0) + (gib[1] ?? 0)).toBeGreaterThan(66);
  });
});
