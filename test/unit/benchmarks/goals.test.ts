import { describe, expect, it } from 'vitest';
import { goalsOf, type Goal } from '../../../benchmarks/goals.js';
import type { BenchResults } from '../../../benchmarks/results.js';
import { comparison, point, results, sample } from './fixtures.js';

const goal = (found: BenchResults, words: string): Goal => {
  const goals = goalsOf(found).filter(({ figure }) => figure.includes(words));
  expect(goals).toHaveLength(1);
  return goals[0]!;
};

const pass = (httpMs: number, podlineMs: number): BenchResults =>
  results({
    comparisons: [
      comparison(
        'pass',
        [sample('http', { spanMs: httpMs }), sample('podline', { spanMs: podlineMs })],
        [{ name: 'redis', missing: 'redis-server is not installed' }],
      ),
    ],
  });

describe('goalsOf', () => {
  it('says of every figure that it was not measured, where nothing was', () => {
    const goals = goalsOf(results());
    expect(goals.length).toBeGreaterThan(20);
    expect(goals.every(({ holds }) => holds === undefined)).toBe(true);
  });

  it('holds at the figure itself, and not below', () => {
    expect(goal(pass(500, 10), 'HTTP stream ÷ Podline').holds).toBe(true);
    expect(goal(pass(499, 10), 'HTTP stream ÷ Podline').holds).toBe(false);
  });

  it('names the peer that was missing, and why', () => {
    expect(goal(pass(500, 10), 'Redis ÷ Podline')).toMatchObject({
      holds: undefined,
      reached: 'title of redis: redis-server is not installed',
    });
  });

  it('holds nothing against a wrong result', () => {
    const wrong = results({
      comparisons: [comparison('pass', [sample('http', { spanMs: 500, hash: 'other' }), sample('podline', { spanMs: 1 })])],
    });
    expect(goal(wrong, 'HTTP stream ÷ Podline')).toMatchObject({
      holds: undefined,
      reached: 'title of http: its result was another',
    });
  });

  it('takes the worst size for hand-overs, and all sizes for growth', () => {
    const points = [0.1, 0.15, 0.3].map((handover, index) =>
      point('podline-steps', 2 ** (20 + index), 1, { handoverMs: Array.from({ length: 100 }, () => handover) }),
    );
    const found = results({ growth: { points, left: [] } });
    expect(goal(found, 'hand-over to a warm slot')).toMatchObject({
      holds: false,
      reached: '0.30 ms / 0.30 ms (300 hand-overs at 3 sizes)',
    });
    expect(goal(found, 'as the shard grows')).toMatchObject({
      holds: undefined,
      reached: 'not measured over 4,096× (--full does): 3.00 over 4× (1 MiB – 4 MiB)',
    });
    points.push(point('podline-steps', 2 ** 32, 1, { handoverMs: [0.1, 0.5] }));
    expect(goal(found, 'as the shard grows')).toMatchObject({ holds: false, reached: '3.00 over 4,096× (1 MiB – 4 GiB)' });
  });

  it('names the sizes that have too few hand-overs for a 99th percentile', () => {
    const many = point('podline-steps', 2 ** 20, 1, { handoverMs: Array.from({ length: 100 }, () => 0.1) });
    const few = point('podline-steps', 2 ** 30, 1, { handoverMs: [0.1, 0.1, 50] });
    expect(goal(results({ growth: { points: [many, few], left: [] } }), 'hand-over to a warm slot').reached).toBe(
      '0.10 ms / 0.10 ms (103 hand-overs at 2 sizes; p99 without sizes that have fewer than 100: 1 GiB: 3)',
    );
    expect(goal(results({ growth: { points: [few], left: [] } }), 'hand-over to a warm slot').reached).toContain(
      'p99 of fewer than 100 a size',
    );
  });

  it('lets one block for each slot lie beside the live columns', () => {
    const columns = {
      rows: 1000,
      columnBytes: 1000,
      writtenBytes: 1050,
      scratchPeakBytes: 1700,
      streamingPeakBytes: 0,
      liveBytes: 1000,
      slots: 6,
      blockBytes: 100,
    };
    expect(goal(results({ columns }), 'peak scratch').holds).toBe(true);
    expect(goal(results({ columns: { ...columns, scratchPeakBytes: 1701 } }), 'peak scratch').holds).toBe(false);
    expect(goal(results({ columns }), 'adding one column').holds).toBe(true);
  });

  it('measures two threads against what two bare ones reach', () => {
    const threads = { oneMs: [180], twoMs: [100], bare: [{ oneMs: 200, twoMs: 100 }] };
    expect(goal(results({ threads }), 'two threads')).toMatchObject({
      holds: true,
      reached: '90 % (1.80× of 2.00×; Podline 180 → 100 ms, bare 200 → 100 ms)',
    });
  });
});
