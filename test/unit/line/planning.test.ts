import { describe, expect, it } from 'vitest';
import { planResidents, planSlots, residentsOf, slotsMax, slotsOf } from '../../../runtime/line/concurrency.js';
import { explainLine, explainShard, whyWaiting } from '../../../runtime/line/explain.js';
import {
  needOfShard,
  nextReadOf,
  nothingObserved,
  observeNeed,
  planSpill,
  type SpillableStream,
} from '../../../runtime/line/memory.js';
import { chainOf, diamondOf, pipelineOf, stage } from '../../simulation/pipelines.js';
import { errorOf, Heart } from '../../support/heart.js';

describe('slots, where the manifest leaves them open', () => {
  const mix = (cpu: number, io: number): { bound: 'cpu' | 'io' }[] => [
    ...Array.from({ length: cpu }, () => ({ bound: 'cpu' as const })),
    ...Array.from({ length: io }, () => ({ bound: 'io' as const })),
  ];

  it.each([
    // cores, cpu-bound, io-bound → at work, slots
    [1, 1, 0, 1, 1],
    [2, 6, 0, 2, 3],
    [2, 12, 0, 2, 3],
    [4, 2, 0, 2, 2],
    [2, 2, 4, 6, 6],
    [2, 0, 40, 16, 17],
    [16, 10, 10, 20, 20],
    [16, 64, 64, 80, 81],
    [64, 100, 400, 128, 128],
  ])('%d cores, %d cpu-bound and %d io-bound stages: %d at work in %d slots', (cores, cpu, io, working, slots) => {
    expect(planSlots(mix(cpu, io), cores)).toEqual({ working, slots });
  });

  it('are never more than a line may have', () => {
    expect(planSlots(mix(512, 512), 1024).slots).toBe(slotsMax);
  });

  it('follow the manifest where it says a number', () => {
    expect(slotsOf({ stages: chainOf(9), spec: { slots: 5 } }, 2)).toBe(5);
    expect(slotsOf({ stages: chainOf(9), spec: { slots: 'auto' } }, 2)).toBe(3);
    expect(residentsOf(7, 9, 2)).toBe(7);
    expect(residentsOf('auto', 9, 2)).toBe(planResidents(9, 2));
  });
});

describe('memory', () => {
  it('is assumed by format and size, and by what was seen when there is something seen', () => {
    const size = { format: 'csv' as const, sourceBytes: 100_000_000, outputsAtOnce: 4 };
    expect(needOfShard(size)).toBeGreaterThan(size.sourceBytes);
    const observed = observeNeed(nothingObserved, 50_000_000, 100_000_000);
    expect(needOfShard(size, observed)).toBe(62_500_000);
    expect(needOfShard({ format: 'parquet', outputsAtOnce: 1 }, observed)).toBe(62_500_000);
  });

  it('is made by spilling what is read last, and then what is largest, never what is in use', () => {
    const stream = (name: string, more: Partial<SpillableStream>): SpillableStream => ({
      shardId: 'a',
      stream: name,
      bytes: 10,
      sealed: true,
      inUse: false,
      nextUse: 1,
      ...more,
    });
    const streams = [
      stream('used', { inUse: true, nextUse: 9 }),
      stream('open', { sealed: false, nextUse: 9 }),
      stream('near', {}),
      stream('far', { nextUse: 3 }),
      stream('farLarge', { nextUse: 3, bytes: 30 }),
    ];
    expect(planSpill(streams, 35).map((chosen) => chosen.stream)).toEqual(['farLarge', 'far']);
    expect(planSpill(streams, 1_000).map((chosen) => chosen.stream)).toEqual(['farLarge', 'far', 'near']);
  });

  it('knows when a stream is read next', () => {
    const heart = new Heart(pipelineOf([stage('a'), stage('b', ['a']), stage('c', ['b', 'input'])]));
    heart.lease('shard');
    heart.loaded('shard');
    heart.warm();
    expect(['input', 'a', 'b', 'c'].map((stream) => nextReadOf(heart.state, 'shard', stream))).toEqual([0, 1, 2, Infinity]);
  });
});

describe('explanations', () => {
  it('say why a shard runs, waits, runs again, was skipped or restored', () => {
    const heart = new Heart(pipelineOf(chainOf(4)));
    heart.lease('a', { epoch: 2 });
    expect(explainShard(heart.state, 'a', 0)?.summary).toMatch(/restored, and the rest loaded/);
    heart.loaded('a', 's1');
    const stages = explainShard(heart.state, 'a', 0)?.stages.map((at) => at.why) ?? [];
    expect(stages[0]).toMatch(/skipped/);
    expect(stages[1]).toMatch(/restored/);
    expect(stages[2]).toMatch(/being put into it/);
    expect(stages[3]).toBe('waits for "s2"');
    heart.warm();
    heart.nowMs = 1_500;
    expect(explainShard(heart.state, 'a', 1_500)?.summary).toMatch(/It runs: s2 in slot \d for 1\.5 s\./);
    heart.fail('s2');
    expect(explainShard(heart.state, 'a', 1_500)?.summary).toMatch(
      /"s2" failed \(PDL_STAGE_FAILED\) and is tried again in 0\.1 s/,
    );
    expect(explainShard(heart.state, 'nobody', 0)).toBeUndefined();
  });

  it('say what a ready stage waits for: a core, a busy slot, a slot that cannot be filled', () => {
    const heart = new Heart(pipelineOf(diamondOf(2)), { slots: 4, cores: 1 });
    heart.lease('a');
    heart.loaded('a');
    heart.warm();
    heart.lease('b');
    heart.loaded('b');
    expect(explainShard(heart.state, 'b', 0)?.summary).toMatch(/"split" waits for its slot, which works on shard "a"/);
    heart.commit('split', 'a');
    expect(explainShard(heart.state, 'a', 0)?.stages.some((at) => at.why.includes('waits for a core'))).toBe(true);
    const other = new Heart(pipelineOf(chainOf(1)));
    other.lease('a');
    other.loaded('a');
    other.tell({
      type: 'swapFailed',
      slot: 0,
      step: (other.state.slots[0] as { step: string }).step,
      error: errorOf('PDL_SWAP_FAILED'),
    });
    expect(explainShard(other.state, 'a', 0)?.summary).toMatch(/1 swaps failed \(PDL_SWAP_FAILED\)/);
  });

  it('say why a line takes no new shards', () => {
    const heart = new Heart(pipelineOf(chainOf(4)), { residentsMax: 1 });
    heart.tell({ type: 'tick' });
    expect(explainLine(heart.state, 0)).toMatch(/It waits for work/);
    heart.lease('a');
    expect(explainLine(heart.state, 0)).toMatch(/"s0", "s1" are put into slots; 1 of at most 1 shards are here\. It is full\./);
    heart.tell({ type: 'drain' });
    expect(explainLine(heart.state, 0)).toMatch(/it is drained/);
  });

  it('say what a line that does no work waits for, and nothing while it works', () => {
    const heart = new Heart(pipelineOf(chainOf(2)));
    heart.tell({ type: 'tick' });
    expect(whyWaiting(heart.state, 0)).toBeUndefined();
    heart.lease('a');
    expect(whyWaiting(heart.state, 0)).toBe('shard "a" is loaded');
    heart.loaded('a');
    expect(whyWaiting(heart.state, 0)).toBe('stage "s0" of shard "a" waits for its slot: the stage is being put into it');
    heart.warm();
    expect(whyWaiting(heart.state, 0)).toBeUndefined();
    heart.fail('s0');
    expect(whyWaiting(heart.state, 0)).toMatch(/^stage "s0" of shard "a" failed .* tried again in 0\.1 s/);
    heart.tick(100);
    heart.commit('s0');
    heart.commit('s1');
    expect(whyWaiting(heart.state, 100)).toBe('shard "a" is delivered');
    const drained = new Heart(pipelineOf(chainOf(1)));
    drained.tell({ type: 'drain' });
    expect(whyWaiting(drained.state, 0)).toBe('it is drained and takes no new shards');
  });
});
