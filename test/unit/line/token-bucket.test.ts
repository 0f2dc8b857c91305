import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fullBucket, takePlace } from '../../../runtime/line/token-bucket.js';

const rate = { perSecond: 10, burst: 3 };

/** When the places fall due that are asked for at these times. */
function due(times: readonly number[], of = rate): number[] {
  let bucket = fullBucket(of, times[0] ?? 0);
  return times.map((nowMs) => {
    const taken = takePlace(bucket, of, nowMs);
    bucket = taken.bucket;
    return nowMs + taken.waitMs;
  });
}

describe('places', () => {
  it('are free as far as a rest has saved them up, and due one after another beyond that', () => {
    expect(due([0, 0, 0, 0, 0, 0])).toEqual([0, 0, 0, 100, 200, 300]);
  });

  it('are saved up by a rest, and no more than the burst', () => {
    expect(due([0, 0, 0, 60_000, 60_000, 60_000, 60_000]).slice(3)).toEqual([60_000, 60_000, 60_000, 60_100]);
  });

  it('are not given by a clock that goes back', () => {
    expect(due([1_000, 1_000, 1_000, 0])).toEqual([1_000, 1_000, 1_000, 100]);
  });

  it('fall due in the order in which they are asked for, never more of them than burst and rate allow', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 50 }), (waits, burst, perSecond) => {
        let nowMs = 0;
        const times = due(
          waits.map((gap) => (nowMs += gap)),
          { burst, perSecond },
        );
        for (const [first, from] of times.entries()) {
          for (const [offset, to] of times.slice(first).entries()) {
            expect(to).toBeGreaterThanOrEqual(from);
            expect(offset + 1).toBeLessThanOrEqual(burst + ((to - from) * perSecond) / 1_000 + 1e-6);
          }
        }
      }),
    );
  });
});
