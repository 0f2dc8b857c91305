import { describe, expect, it } from 'vitest';
import { descendants, parseStat } from '../../../benchmarks/measure.js';

describe('parseStat', () => {
  it('sums own and children’s time, whatever the process is called', () => {
    const line = '42 (node) 1 (x)) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 11 0 5000 1000 200';
    expect(parseStat(line)).toEqual({ pid: 42, parent: 7, ticks: 110 });
  });
});

describe('descendants', () => {
  const stat = (pid: number, parent: number) => ({ pid, parent, ticks: 1 });

  it('finds everything below the roots, at any depth, and nothing else', () => {
    const all = [stat(5, 3), stat(1, 0), stat(2, 1), stat(3, 2), stat(4, 0)];
    expect(descendants(all, [2]).map(({ pid }) => pid)).toEqual([2, 3, 5]);
  });

  it('counts a root that lies below another root once', () => {
    const all = [stat(1, 0), stat(2, 1), stat(3, 2)];
    expect(
      descendants(all, [1, 2])
        .map(({ pid }) => pid)
        .sort(),
    ).toEqual([1, 2, 3]);
  });
});
