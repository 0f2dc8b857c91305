import { describe, expect, it } from 'vitest';
import { table } from '../../../benchmarks/format.js';
import { markdownOf } from '../../../benchmarks/report.js';
import { comparison, point, results, sample } from './fixtures.js';

describe('markdownOf', () => {
  it('shows no figure of a void runner', () => {
    const text = markdownOf(
      results({ comparisons: [comparison('pass', [sample('http'), sample('podline', { wallMs: 7777, hash: 'other' })])] }),
    );
    expect(text).toContain('| title of podline | void | void | void | void | void | **differs** |');
    expect(text).not.toContain('7,777');
  });

  it('names who was not measured: missing, failed, or not made for it', () => {
    const notes = [
      { name: 'redis', missing: 'redis-server is not installed' },
      { name: 'grpc', failed: 'it broke\nbadly' },
      { name: 'pipes', doesNot: 'a pipe has one end' },
    ];
    const text = markdownOf(results({ comparisons: [comparison('pass', [sample('podline')], notes)] }));
    expect(text).toContain('- **title of redis** is not here: redis-server is not installed');
    expect(text).toContain('- **title of grpc** failed: it broke badly');
    expect(text).toContain('- title of pipes: a pipe has one end');
  });

  it('says what broke, that a run was short, and that shards were small', () => {
    const text = markdownOf(
      results({
        broken: [{ part: 'growth', message: 'no room' }],
        options: { repeats: 3, seed: 1, record: false, full: false, scale: 0.1 },
      }),
    );
    expect(text).toContain('**growth broke:** no room');
    expect(text).toContain('A short run: 3 repeats');
    expect(text).toContain('0.1 times their real size');
  });

  it('tells from which size of shard on Podline takes less', () => {
    const points = [1, 100].flatMap((mib) => [point('podline', mib * 2 ** 20, 50), point('http', mib * 2 ** 20, mib * 5)]);
    expect(markdownOf(results({ growth: { points, left: [] } }))).toContain('- against title of http: from 10 MiB on');
  });

  it('joins the notes at its end', () => {
    expect(markdownOf(results(), ['## Why\n\nIt is slow.\n'])).toContain('## Why\n\nIt is slow.');
  });
});

describe('table', () => {
  it('gives each row as many cells as its head, whatever stands in them', () => {
    const cells = table(['a', 'b'], [['1 | 2', 'x\ny']])
      .split('\n')
      .map((row) => row.replaceAll('\\|', '').split('|').length);
    expect(cells).toEqual([4, 4, 4]);
  });
});
