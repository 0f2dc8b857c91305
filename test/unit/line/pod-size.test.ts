import { describe, expect, it } from 'vitest';
import { idleSlotBytes, sizePod, sizeSlots, type SizedPipeline } from '../../../runtime/line/pod-size.js';

const gib = 2 ** 30;
interface Sized {
  name: string;
  after?: string[];
  memory?: string;
  cpu?: number;
  bound?: 'cpu' | 'io';
}
const pipeline = (stages: Sized[], spec: Partial<SizedPipeline['spec']> = {}): SizedPipeline => ({
  stages: stages.map(({ name, after = ['input'], memory, cpu, bound = 'cpu' }) => ({
    name,
    after,
    bound,
    resources: { memory, cpu },
  })),
  spec: { residents: 1, streaming: 'off', ...spec },
});
const chain = ['a', 'b', 'c', 'd'].map((name, index, all) => ({
  name,
  after: [all[index - 1] ?? 'input'],
  memory: '4Gi',
  cpu: 1,
}));

describe('the size of a pod', () => {
  it('is that of one stage where each waits for the one before it: a line fits where all stages together do not', () => {
    const size = sizePod(pipeline(chain), 2, 4);
    expect(size.peak).toEqual({ memoryBytes: 4 * gib, cpu: 1 });
    expect(size.sum).toEqual({ memoryBytes: 16 * gib, cpu: 4 });
    expect(size.atOnce).toHaveLength(1);
    const node = 8 * gib;
    expect(size.slots.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)).toBeLessThan(node);
    expect(size.sum.memoryBytes).toBeGreaterThan(node);
  });

  it('is that of the branches which run side by side', () => {
    const diamond = [
      { name: 'top', memory: '5Gi' },
      { name: 'left', after: ['top'], memory: '3Gi' },
      { name: 'right', after: ['top'], memory: '4Gi' },
      { name: 'bottom', after: ['left', 'right'], memory: '1Gi' },
    ];
    const size = sizePod(pipeline(diamond), 3, 4);
    expect(size.atOnce).toEqual(['right', 'left']);
    expect(size.peak.memoryBytes).toBe(7 * gib);
    expect(size.slots.map(({ memoryBytes }) => memoryBytes)).toEqual([4 * gib, 3 * gib, idleSlotBytes]);
    expect(size.slotLimitBytes).toBe(5 * gib);
  });

  it('is bounded by cores for stages that keep one busy, and by slots for all', () => {
    const wide = Array.from({ length: 6 }, (_, index) => ({
      name: `s${String(index)}`,
      memory: '1Gi',
      bound: index < 4 ? ('cpu' as const) : ('io' as const),
    }));
    expect(sizePod(pipeline(wide), 6, 2).peak.memoryBytes).toBe(4 * gib);
    expect(sizePod(pipeline(wide), 3, 8).peak.memoryBytes).toBe(3 * gib);
  });

  it('counts a stage beside the one that it follows where it may begin before that one has ended', () => {
    expect(sizePod(pipeline(chain, { streaming: 'auto' }), 2, 4).peak.memoryBytes).toBe(8 * gib);
  });

  it('counts the greatest stage in every slot where a line has several shards', () => {
    const stages = [
      { name: 'big', memory: '4Gi' },
      { name: 'small', after: ['big'], memory: '1Gi' },
    ];
    expect(sizePod(pipeline(stages, { residents: 'auto' }), 3, 2).atOnce).toEqual(['big', 'big']);
    const io = [{ name: 'big', memory: '4Gi', bound: 'io' as const }];
    expect(sizePod(pipeline(io, { residents: 4 }), 3, 1).peak.memoryBytes).toBe(12 * gib);
  });

  it('never asks for less than a set of stages that may run at once, whatever the graph', () => {
    // A graph with more sets than can be looked at: the bound that slots allow is taken.
    const many = Array.from({ length: 200 }, (_, index) => ({
      name: `s${String(index)}`,
      memory: `${String(1024 + index)}Mi`,
      bound: 'io' as const,
    }));
    const size = sizePod(pipeline(many), 40, 1);
    const greatest = many.slice(-40).reduce((sum, _, index) => sum + (1024 + 199 - index) * 2 ** 20, 0);
    expect(size.peak.memoryBytes).toBe(greatest);
  });

  it('takes a stage that does not say for half a GiB', () => {
    expect(sizePod(pipeline([{ name: 'a' }]), 1, 1).peak).toEqual({ memoryBytes: gib / 2, cpu: 0 });
  });
});

describe('the size of slots by the stages that they hold', () => {
  const growing = [
    { name: 'first', memory: '1Gi', cpu: 1 },
    { name: 'second', after: ['first'], memory: '3Gi', cpu: 2 },
    { name: 'third', after: ['second'], memory: '2Gi' },
  ];
  const memoryOf = (...held: (string | undefined)[]): number[] =>
    sizeSlots(pipeline(growing), held, 4).map(({ memoryBytes }) => memoryBytes);

  it('is that of the greatest that may run at once: a stage that is warmed beside another one is idle', () => {
    expect(memoryOf('first', undefined)).toEqual([gib, idleSlotBytes]);
    expect(memoryOf('first', 'second')).toEqual([idleSlotBytes, 3 * gib]);
    expect(memoryOf('third', 'second')).toEqual([idleSlotBytes, 3 * gib]);
    expect(memoryOf('third', 'nobody')).toEqual([2 * gib, idleSlotBytes]);
    expect(sizeSlots(pipeline(growing), ['first', 'second'], 4).map(({ cpu }) => cpu)).toEqual([1, 1]);
  });

  it('is never more in all than the pod was made for', () => {
    for (const spec of [{}, { streaming: 'auto' as const }, { residents: 4 }]) {
      const of = pipeline(growing, spec);
      const whole = sizePod(of, 2, 4).slots.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
      const names = [undefined, ...growing.map(({ name }) => name)];
      for (const one of names)
        for (const other of names) {
          const sum = sizeSlots(of, [one, other], 4).reduce((bytes, { memoryBytes }) => bytes + memoryBytes, 0);
          expect(sum).toBeLessThanOrEqual(whole);
        }
    }
  });

  it('counts a stage as often as slots hold it, where a line has several shards', () => {
    expect(sizeSlots(pipeline(growing, { residents: 4 }), ['second', 'second'], 4).map(({ memoryBytes }) => memoryBytes)).toEqual(
      [3 * gib, 3 * gib],
    );
    expect(sizeSlots(pipeline(growing, { residents: 4 }), ['second', 'second'], 1).map(({ memoryBytes }) => memoryBytes)).toEqual(
      [3 * gib, idleSlotBytes],
    );
  });
});
