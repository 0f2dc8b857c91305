import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  initialScaling,
  pickDrains,
  planScale,
  wantedLines,
  windowParts,
  type Drainable,
  type ScalingRules,
  type ScalingState,
} from '../../../runtime/line/scaling.js';

const rules = (more: Partial<ScalingRules> = {}): ScalingRules => ({
  minLines: 0,
  maxLines: 100,
  shardsPerLine: 10,
  stabilizationMs: 300_000,
  downShare: 0.5,
  downEveryMs: 30_000,
  ...more,
});
const none = { queued: 0, running: 0 };

describe('the number of lines', () => {
  it('rises at once with a burst', () => {
    const plan = planScale(initialScaling(1, rules(), 0), { queued: 400, running: 8 }, 100, rules(), 1_000);
    expect(plan.lines).toBe(41);
    expect(plan.why).toBe('41 lines: 400 waiting and 8 running shards over 10 a line want 41');
  });

  it('stays after the burst for as long as it is told, then falls in steps, to zero', () => {
    let state = planScale(initialScaling(1, rules(), 0), { queued: 400, running: 0 }, 100, rules(), 0).state;
    const falls: [atS: number, lines: number][] = [];
    for (let atS = 10; atS <= 900; atS += 10) {
      const { state: next, lines } = planScale(state, none, 100, rules(), atS * 1_000);
      if (lines !== state.lines) falls.push([atS, lines]);
      state = next;
    }
    expect(falls[0]?.[0]).toBeGreaterThanOrEqual(300);
    expect(falls.map(([, lines]) => lines)).toEqual([20, 10, 5, 3, 2, 1, 0]);
    falls.slice(1).forEach(([atS], index) => {
      expect(atS - (falls[index]?.[0] ?? 0)).toBeGreaterThanOrEqual(30);
    });
  });

  it('obeys a ceiling that falls at once, and says so', () => {
    const up = planScale(initialScaling(0, rules(), 0), { queued: 90, running: 0 }, 100, rules(), 0);
    const { lines, why } = planScale(up.state, { queued: 90, running: 0 }, 4, rules(), 1);
    expect(lines).toBe(4);
    expect(why).toBe('4 lines: W_max fell to 4, the lines above it are drained');
  });

  it('is bounded by W_max, with a word', () => {
    expect(planScale(initialScaling(1, rules(), 0), { queued: 90, running: 0 }, 3, rules(), 0).why).toMatch(/; W_max is 3$/);
  });

  it('does not fall below `minLines`, and not to zero while a shard runs', () => {
    expect(wantedLines(none, rules({ minLines: 2 }))).toBe(2);
    expect(wantedLines({ queued: 0, running: 1 }, rules())).toBe(1);
  });

  const step = fc.record({
    ms: fc.integer({ min: 1, max: 60_000 }),
    queued: fc.integer({ min: 0, max: 500 }),
    running: fc.integer({ min: 0, max: 50 }),
    ceiling: fc.integer({ min: 0, max: 60 }),
  });
  const ruleSets = fc.record({
    minLines: fc.integer({ min: 0, max: 3 }),
    maxLines: fc.integer({ min: 3, max: 50 }),
    shardsPerLine: fc.integer({ min: 1, max: 20 }),
    stabilizationMs: fc.integer({ min: 0, max: 300_000 }),
    downShare: fc.double({ min: 0.01, max: 1, noNaN: true }),
    downEveryMs: fc.integer({ min: 0, max: 60_000 }),
  });

  it('is never above the ceiling, and never below what the least allows', () => {
    fc.assert(
      fc.property(ruleSets, fc.array(step, { minLength: 1, maxLength: 60 }), (given, steps) => {
        let state: ScalingState = initialScaling(1, given, 0);
        let nowMs = 0;
        for (const { ms, queued, running, ceiling } of steps) {
          nowMs += ms;
          const { state: next, lines } = planScale(state, { queued, running }, ceiling, given, nowMs);
          expect(lines).toBeLessThanOrEqual(Math.min(ceiling, given.maxLines));
          expect(lines).toBeGreaterThanOrEqual(Math.min(given.minLines, ceiling));
          if (lines === 0 && ceiling > 0) expect([given.minLines, queued + running]).toEqual([0, 0]);
          expect(next.wanted.length).toBeLessThanOrEqual(windowParts + 1);
          state = next;
        }
      }),
    );
  });

  it('never falls below what was wanted within the window: it does not flap', () => {
    fc.assert(
      fc.property(ruleSets, fc.array(step, { minLength: 1, maxLength: 60 }), (given, steps) => {
        let state: ScalingState = initialScaling(0, given, 0);
        const looks: { atMs: number; wants: number }[] = [];
        let nowMs = 0;
        for (const { ms, queued, running } of steps) {
          nowMs += ms;
          const before = state.lines;
          const plan = planScale(state, { queued, running }, 1_000, given, nowMs);
          looks.push({ atMs: nowMs, wants: plan.wants });
          if (plan.lines < before)
            for (const { atMs, wants } of looks)
              if (nowMs - atMs <= given.stabilizationMs) expect(plan.lines).toBeGreaterThanOrEqual(wants);
          state = plan.state;
        }
      }),
    );
  });

  it('is enough for the demand at every look, where it may be', () => {
    fc.assert(
      fc.property(ruleSets, fc.array(step, { minLength: 1, maxLength: 30 }), (given, steps) => {
        let state: ScalingState = initialScaling(0, given, 0);
        let nowMs = 0;
        for (const { ms, queued, running, ceiling } of steps) {
          nowMs += ms;
          const plan = planScale(state, { queued, running }, ceiling, given, nowMs);
          // Where the ceiling fell below, the next look makes up for it.
          if (state.lines <= ceiling) expect(plan.lines).toBeGreaterThanOrEqual(Math.min(plan.wants, ceiling));
          state = plan.state;
        }
      }),
    );
  });
});

describe('the lines that go', () => {
  const line = (name: string, more: Partial<Drainable> = {}): Drainable => ({
    line: name,
    shards: 0,
    stagesDone: 0,
    ordinal: Number(name.slice(1)),
    draining: false,
    ...more,
  });

  it('are those that go already, then idle ones, then those with the least to lose, the newest first', () => {
    const lines = [
      line('l0', { shards: 2, stagesDone: 9 }),
      line('l1', { shards: 1, stagesDone: 3 }),
      line('l2'),
      line('l3', { shards: 1, stagesDone: 1 }),
      line('l4'),
      line('l5', { shards: 4, draining: true }),
    ];
    expect(pickDrains(lines, 6)).toEqual(['l5', 'l4', 'l2', 'l3', 'l1', 'l0']);
    expect(pickDrains(lines, 2)).toEqual(['l5', 'l4']);
    expect(pickDrains(lines, -1)).toEqual([]);
  });

  it('are the last ones where a workload can lose no others', () => {
    expect(pickDrains([line('l0'), line('l1', { shards: 3 }), line('l2', { shards: 1 })], 2, true)).toEqual(['l2', 'l1']);
  });
});
