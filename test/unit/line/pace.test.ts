import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  holdMaxMs,
  initialPace,
  loadMarks,
  planHold,
  planPace,
  retryAfterMaxS,
  type PaceInput,
  type PaceRules,
  type PaceState,
} from '../../../runtime/line/pace.js';
import { halfLifeMs, initialThroughput, observeThroughput } from '../../../runtime/line/throughput.js';

const rules: PaceRules = { batchMin: 10, batchMax: 1_000, shallow: 100, deep: 1_000, full: 2_000 };
const input = (queued: number, more: Partial<PaceInput> = {}): PaceInput => ({ queued, drainPerSecond: 50, ...more });

describe('the pace of submitters', () => {
  it('rises while the queue is shallow, up to the cap', () => {
    let state: PaceState = initialPace(rules);
    const batches = Array.from({ length: 6 }, () => (state = planPace(state, input(0), rules)).batch);
    expect(batches).toEqual([200, 400, 800, 1_000, 1_000, 1_000]);
  });

  it('falls when the queue is deep, stays between, and rises again', () => {
    let state: PaceState = { batch: 800, pause: 'none' };
    const at = (queued: number): number => (state = planPace(state, input(queued), rules)).batch;
    expect([at(1_000), at(1_500), at(500), at(500), at(99), at(99)]).toEqual([400, 200, 200, 200, 400, 800]);
  });

  it('falls when cpu or memory nears the quota, and pauses at it', () => {
    const state: PaceState = { batch: 800, pause: 'none' };
    expect(planPace(state, input(500, { cpu: 0.86 }), rules)).toMatchObject({ batch: 400, pause: 'none' });
    expect(planPace(state, input(500, { memory: 0.86 }), rules).why).toBe(
      'batches of 400, halved from 800: memory at 86 % of the quota is above 85 %',
    );
    expect(planPace(state, input(500, { memory: 0.96 }), rules)).toMatchObject({ pause: 'load', retryAfterS: 1 });
  });

  it('pauses when the queue is full, until it is below deep, and tells when to come back by the rate at which shards end', () => {
    const full = planPace({ batch: 100, pause: 'none' }, input(2_000), rules);
    expect(full).toMatchObject({ pause: 'full', batch: 10, retryAfterS: 21 });
    expect(full.why).toBe(
      'paused: 2000 waiting shards fill the queue of 2000; 1001 shards over at 50.0 a second, come back in 21 s',
    );
    const later = planPace(full, input(1_500), rules);
    expect(later).toMatchObject({ pause: 'full', retryAfterS: 11 });
    expect(planPace(later, input(999), rules)).toMatchObject({ pause: 'none' });
  });

  it('goes on while lines work at full load and nothing piles up', () => {
    expect(planPace({ batch: 80, pause: 'load' }, input(99, { cpu: 1 }), rules)).toMatchObject({ batch: 80, pause: 'none' });
  });

  it('holds a stream back for a load only, to the time to come back, and never for longer than the bound in all', () => {
    expect(planHold({ pause: 'none' }, 0)).toBe(0);
    expect(planHold({ pause: 'full', retryAfterS: 9 }, 0)).toBe(0);
    expect(planHold({ pause: 'load', retryAfterS: 2 }, 0)).toBe(2_000);
    expect(planHold({ pause: 'load', retryAfterS: 60 }, 0)).toBe(holdMaxMs);
    expect(planHold({ pause: 'load', retryAfterS: 2 }, holdMaxMs - 500)).toBe(500);
    expect(planHold({ pause: 'load', retryAfterS: 2 }, holdMaxMs)).toBe(0);
  });

  it('asks for the longest wait while nothing ends', () => {
    expect(planPace(initialPace(rules), input(5_000, { drainPerSecond: 0 }), rules).retryAfterS).toBe(retryAfterMaxS);
  });

  const looks = fc.array(
    fc.record({
      queued: fc.integer({ min: 0, max: 3_000 }),
      cpu: fc.double({ min: 0, max: 1.2, noNaN: true }),
      memory: fc.double({ min: 0, max: 1.2, noNaN: true }),
      drainPerSecond: fc.double({ min: 0, max: 1_000, noNaN: true }),
    }),
    { minLength: 1, maxLength: 50 },
  );

  it('keeps within its bounds, pauses at every upper mark and goes on only below every lower one', () => {
    fc.assert(
      fc.property(looks, (all) => {
        let before: PaceState = initialPace(rules);
        for (const look of all) {
          const pace = planPace(before, look, rules);
          const load = Math.max(look.cpu, look.memory);
          expect(pace.batch).toBeGreaterThanOrEqual(rules.batchMin);
          expect(pace.batch).toBeLessThanOrEqual(rules.batchMax);
          const enough = look.queued >= rules.shallow;
          if (look.queued >= rules.full) expect(pace.pause).toBe('full');
          if (pace.pause === 'full')
            expect(look.queued).toBeGreaterThanOrEqual(before.pause === 'full' ? rules.deep : rules.full);
          if (enough && load >= loadMarks.pause) expect(pace.pause).not.toBe('none');
          if (pace.pause !== 'none' && before.pause === 'none')
            expect(look.queued >= rules.full || (enough && load >= loadMarks.pause)).toBe(true);
          if (pace.pause === 'none' && before.pause !== 'none') expect(!enough || load < loadMarks.resume).toBe(true);
          if (pace.batch > before.batch) expect([enough, load < loadMarks.resume]).toEqual([false, true]);
          expect(pace.retryAfterS === undefined).toBe(pace.pause === 'none');
          before = pace;
        }
      }),
    );
  });

  it('does not change while the measures lie between the marks', () => {
    const between = fc.record({
      queued: fc.integer({ min: 100, max: 999 }),
      cpu: fc.double({ min: 0, max: 0.849, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 10, max: 1_000 }), fc.array(between), (batch, all) => {
        let state: PaceState = { batch, pause: 'none' };
        for (const { queued, cpu } of all) state = planPace(state, input(queued, { cpu }), rules);
        expect(state).toMatchObject({ batch, pause: 'none' });
      }),
    );
  });

  it('never asks a longer wait of a shallower queue', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2_000, max: 50_000 }), fc.integer({ min: 0, max: 10_000 }), (queued, more) => {
        const wait = (depth: number): number => planPace(initialPace(rules), input(depth), rules).retryAfterS ?? 0;
        expect(wait(queued)).toBeLessThanOrEqual(wait(queued + more));
      }),
    );
  });
});

describe('the rate at which shards end', () => {
  it('nears what is measured, half the way in each half-life', () => {
    let rate = observeThroughput(initialThroughput(100, 0), 100 + 15 * 40, halfLifeMs);
    expect(rate.perSecond).toBeCloseTo(20);
    rate = observeThroughput(rate, rate.ended + 15 * 40, 2 * halfLifeMs);
    expect(rate.perSecond).toBeCloseTo(30);
  });

  it('counts shards that were retried as none', () => {
    expect(observeThroughput(initialThroughput(100, 0), 50, 1_000).perSecond).toBe(0);
  });
});
