import { describe, expect, it } from 'vitest';
import { table } from '../../../benchmarks/format.js';
import { markdownOf, recordOf } from '../../../benchmarks/report.js';
import { aSmall, comparison, partRun, point, results, sample } from './fixtures.js';

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

  it('tells the first run of a process with and without a rehearsal, the first call apart from the rest', () => {
    const runs = (startMs: number, workMs: number) =>
      [1, 2, 3].map((times) => ({ startMs: startMs * times, workMs: workMs * times }));
    const first = { blocks: 4, blockBytes: 65_536, atOnce: runs(4, 14), rehearsed: runs(1, 3) };
    const text = markdownOf(results({ first }));
    expect(text).toContain('4 blocks of 64 KiB, measured 3 times each');
    expect(text).toContain('| started as soon as it was ready | 8.00 (4.00–12.0) | 20.0 (10.0–30.0) |');
    expect(text).toContain('| after it had rehearsed | 2.00 (1.00–3.00) | 4.00 (2.00–6.00) |');
  });

  it('says of each part at which commit it ran, or that it was not recorded', () => {
    const commit = { id: '0123456789abcdef', isDirty: true };
    const text = markdownOf(results({ parts: { load: partRun({ commit }), xor: partRun() } }));
    expect(text).toMatch(/\| load \| [^|]* \| 0123456789ab, changed \|/);
    expect(text).toMatch(/\| xor \| [^|]* \| not recorded \|/);
  });

  it('says how often small shards and points of growth were measured, with their spread, and who is not in growth', () => {
    const points = [point('podline', 2 ** 20, 50, { wallMs: [40, 50, 70] }), point('http', 2 ** 20, 20)];
    const text = markdownOf(
      results({
        small: aSmall,
        growth: { points, left: [] },
        comparisons: [comparison('pass', [sample('podline'), sample('redis')])],
      }),
    );
    expect(text).toContain('Each runner: 2 times, 2 shards one after another');
    expect(text).toContain('| 2.50 (1.00–4.00) |');
    expect(text).toContain('memory 0.50 / 0.00');
    expect(text).toContain('50.0 (40.0–70.0) ×3');
    expect(text).toContain('- title of redis: they take no part in (f)');
  });

  it('names the command that makes such a record', () => {
    const points = [point('podline', 2 ** 32, 1)];
    expect(recordOf(results({ growth: { points, left: [] } }), [], ['pass.svg'])).toContain('--record --full`');
    const text = recordOf(results(), [], ['pass.svg']);
    expect(text).toContain('Recorded with `npm run bench -- --record`');
    expect(text).toContain('![pass.svg](pictures/pass.svg)');
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
