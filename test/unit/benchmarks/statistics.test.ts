import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { quantile, randomOf, shuffled, spreadOf } from '../../../benchmarks/statistics.js';

describe('quantile', () => {
  it('is the middle value of an odd number, the mean of the middle two of an even one', () => {
    expect(quantile([9, 1, 5], 0.5)).toBe(5);
    expect(quantile([4, 1, 2, 3], 0.5)).toBe(2.5);
  });

  it('is NaN of nothing', () => {
    expect(quantile([], 0.5)).toBeNaN();
  });

  it('interpolates between neighbours', () => {
    expect(quantile([0, 10], 0.99)).toBeCloseTo(9.9);
  });

  it('lies between the smallest and the largest, and leaves the list as it was', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, share) => {
          const before = [...values];
          const found = quantile(values, share);
          expect(found).toBeGreaterThanOrEqual(Math.min(...values));
          expect(found).toBeLessThanOrEqual(Math.max(...values));
          expect(values).toEqual(before);
        },
      ),
    );
  });
});

describe('spreadOf', () => {
  it('keeps every value in the order of measurement', () => {
    expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, values: [3, 1, 2] });
  });
});

describe('the order of measurements', () => {
  it('is the same for the same seed, and another for another', () => {
    const list = Array.from({ length: 20 }, (_, index) => index);
    expect(shuffled(list, randomOf(1))).toEqual(shuffled(list, randomOf(1)));
    expect(shuffled(list, randomOf(1))).not.toEqual(shuffled(list, randomOf(2)));
  });

  it('holds every runner once', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer()), fc.integer(), (list, seed) => {
        const drawn = shuffled(list, randomOf(seed));
        expect([...drawn].sort((a, b) => a - b)).toEqual([...list].sort((a, b) => a - b));
      }),
    );
  });

  it('puts each runner first now and then', () => {
    const random = randomOf(7);
    const firsts = new Set(Array.from({ length: 200 }, () => shuffled(['a', 'b', 'c', 'd'], random)[0]));
    expect(firsts.size).toBe(4);
  });
});
