import { describe, expect, it } from 'vitest';
import { breakEvenOf } from '../../../benchmarks/break-even.js';
import { point } from './fixtures.js';

const sizes = [1, 10, 100, 1000];
const costs = (runner: string, cost: (size: number) => number) => sizes.map((size) => point(runner, size, cost(size)));
const flat = costs('podline', () => 50);

describe('breakEvenOf', () => {
  it('finds where the lines cross, between two sizes', () => {
    const found = breakEvenOf(
      flat,
      costs('http', (size) => size),
    );
    expect(found).toMatchObject({ at: expect.closeTo(50, 6) as unknown });
  });

  it('says that Podline takes less everywhere, or nowhere', () => {
    expect(
      breakEvenOf(
        flat,
        costs('http', () => 60),
      ),
    ).toBe('below');
    expect(
      breakEvenOf(
        flat,
        costs('http', () => 40),
      ),
    ).toBe('never');
  });

  it('takes the last crossing where a small size was won by chance', () => {
    const others = [60, 40, 40, 100].map((wallMs, index) => point('http', sizes[index]!, wallMs));
    const found = breakEvenOf(flat, others);
    expect(typeof found === 'object' && found.at > 100 && found.at < 1000).toBe(true);
  });

  it('has no answer without a common size, nor from wrong results', () => {
    expect(breakEvenOf(flat, [point('http', 7, 1)])).toBeUndefined();
    expect(breakEvenOf(flat, [point('http', 10, 1, { isVoid: true })])).toBeUndefined();
  });
});
