import { describe, expect, it } from 'vitest';
import { barsOf } from '../../../benchmarks/bars.js';
import { linesOf } from '../../../benchmarks/lines.js';
import { picturesOf } from '../../../benchmarks/pictures.js';
import { aSmall, comparison, point, results, sample } from './fixtures.js';

const options = { title: 't', note: 'n', textOf: String };
const widths = (svg: string): number[] =>
  [...svg.matchAll(/<rect x="\d+" y="\d+" width="([\d.]+)"/g)].map((found) => Number(found[1]));

describe('barsOf', () => {
  it('draws bars in proportion, and nothing for what is below zero or no number', () => {
    const bars = [5, 10, -3, Number.NaN].map((value, index) => ({ label: String(index), value }));
    const drawn = widths(barsOf(options, bars));
    expect(drawn).toHaveLength(4);
    expect(drawn[0]).toBe((drawn[1] ?? 0) / 2);
    expect(drawn.slice(2)).toEqual([0, 0]);
  });

  it('draws equal steps for equal factors when it is logarithmic', () => {
    const [one, ten, hundred] = widths(
      barsOf(
        { ...options, logarithmic: true },
        [1, 10, 100].map((value) => ({ label: String(value), value })),
      ),
    );
    expect((hundred ?? 0) - (ten ?? 0)).toBeCloseTo((ten ?? 0) - (one ?? 0), 6);
    expect(hundred).toBeGreaterThan(ten ?? Number.POSITIVE_INFINITY);
  });

  it('escapes what would be markup', () => {
    expect(barsOf({ ...options, title: 'a < b & c' }, [])).toContain('a &lt; b &amp; c');
  });
});

describe('linesOf', () => {
  it('keeps the names at the ends of lines apart', () => {
    const lines = ['a', 'b', 'c'].map((label) => ({
      label,
      points: [
        { x: 1, y: 1 },
        { x: 10, y: 5 },
      ],
    }));
    const svg = linesOf({ title: 't', note: 'n', xLabel: 'x', yLabel: 'y', xText: String, yText: String }, lines);
    const heights = [...svg.matchAll(/y="([\d.]+)" fill="#[\da-f]+">[abc]</g)].map((found) => Number(found[1]));
    expect(heights).toHaveLength(3);
    expect(Math.min(heights[1]! - heights[0]!, heights[2]! - heights[1]!)).toBeGreaterThanOrEqual(15);
  });
});

describe('picturesOf', () => {
  it('draws small shards as bars, with the spread of all rounds', () => {
    const pictures = picturesOf(results({ small: aSmall }));
    expect(Object.keys(pictures)).toEqual(['small.svg', 'small-cpu.svg']);
    expect(widths(pictures['small.svg'] ?? '')).toHaveLength(1);
    expect(pictures['small.svg']).toContain('title of podline');
    expect(pictures['small.svg']).toContain('2.50 ms');
  });

  it('has no bar and no line of a void runner', () => {
    const pictures = picturesOf(
      results({
        comparisons: [comparison('orders', [sample('http'), sample('podline', { hash: 'other' })])],
        growth: { points: [point('http', 1, 1), point('podline', 1, 1, { isVoid: true })], left: [] },
      }),
    );
    expect(Object.keys(pictures)).toEqual(['orders.svg', 'orders-cpu.svg', 'growth-bytes.svg']);
    for (const svg of Object.values(pictures)) expect(svg).not.toContain('title of podline');
  });
});
