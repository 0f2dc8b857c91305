import { describe, expect, it } from 'vitest';
import { barsOf } from '../../../benchmarks/bars.js';
import { picturesOf } from '../../../benchmarks/pictures.js';
import { markdownOf, rowsOf, table } from '../../../benchmarks/report.js';
import type { BenchResults, Sample } from '../../../benchmarks/results.js';
import { noBytes } from '../../../runtime/contracts/block.js';

const sample = (runner: string, wallMs: number, cpuMs: number, hash = 'same'): Sample => ({
  runner,
  round: 0,
  wallMs,
  cpuMs,
  peakRssBytes: 1,
  peakMemoryBytes: 1,
  bytes: noBytes(),
  stages: [
    { stage: 'a', workMs: 1, handoverMs: 2, swapMs: 3 },
    { stage: 'b', workMs: 1, handoverMs: 2 },
  ],
  hash,
});

const results = (samples: Sample[], runners: BenchResults['runners']): BenchResults => ({
  format: 1,
  at: '2026-01-01T00:00:00.000Z',
  machine: {
    cpu: 'a processor',
    cores: 2,
    memoryBytes: 2 ** 34,
    os: 'Linux',
    node: 'v20',
    podline: '0',
    loadBefore: [0],
    loadAfter: [0],
  },
  options: { repeats: 1, rows: 1000, seed: 1, smallShards: 0, smallRows: 0, quick: false },
  tookMs: 1,
  limits: [{ memcpy: 2 ** 30, tmpfsWrite: 2 ** 30, tmpfsRead: 2 ** 30, diskWriteSync: 2 ** 30 }],
  runners,
  stages: ['a', 'b'],
  reference: { large: 'same', small: [], cold: 'same' },
  samples,
  small: [],
  cold: [],
});

const floor = { name: 'one-process', title: 'floor' };
const line = { name: 'podline', title: 'Podline' };

describe('rowsOf', () => {
  it('counts what is beyond the floor once for each stage', () => {
    const rows = rowsOf(results([sample('one-process', 100, 80), sample('podline', 140, 180)], [floor, line]));
    expect(rows.find(({ name }) => name === 'podline')).toMatchObject({ addedWallMs: 20, addedCpuMs: 50, isVoid: false });
    expect(rows.find(({ name }) => name === 'one-process')).toMatchObject({ addedWallMs: 0, addedCpuMs: 0 });
  });

  it('takes medians, and puts the fastest first', () => {
    const samples = [sample('one-process', 500, 1), ...[10, 1000, 20].map((wallMs) => sample('podline', wallMs, 1))];
    const rows = rowsOf(results(samples, [floor, line]));
    expect(rows.map(({ name, wallMs }) => [name, wallMs.median])).toEqual([
      ['podline', 20],
      ['one-process', 500],
    ]);
  });

  it('voids a runner whose result differed once', () => {
    const rows = rowsOf(
      results([sample('one-process', 1, 1), sample('podline', 1, 1), sample('podline', 1, 1, 'other')], [floor, line]),
    );
    expect(rows.find(({ name }) => name === 'podline')?.isVoid).toBe(true);
  });
});

describe('markdownOf', () => {
  it('shows no figure of a void runner in the comparison', () => {
    const text = markdownOf(results([sample('one-process', 1, 1), sample('podline', 7777, 1, 'other')], [floor, line]));
    expect(text).toContain('| Podline | void | void | void | void | void | **differs** |');
    expect(text).not.toContain('7,777');
  });

  it('names what was not measured, and why', () => {
    const text = markdownOf(
      results(
        [sample('one-process', 1, 1)],
        [floor, { name: 'redis', title: 'Redis', missing: 'redis-server is not installed' }],
      ),
    );
    expect(text).toContain('Not measured: Redis: redis-server is not installed');
  });

  it('gives each row of a table as many cells as its head', () => {
    const cells = table(['a', 'b'], [['1', '2']])
      .split('\n')
      .map((row) => row.split('|').length);
    expect(new Set(cells).size).toBe(1);
  });
});

describe('barsOf', () => {
  it('draws bars in proportion, and nothing for what is below zero or no number', () => {
    const svg = barsOf(
      't',
      'n',
      [
        { label: 'half', value: 5 },
        { label: 'whole', value: 10 },
        { label: 'minus', value: -3 },
        { label: 'none', value: Number.NaN },
      ],
      String,
    );
    const widths = [...svg.matchAll(/<rect x="\d+" y="\d+" width="([\d.]+)"/g)].map((found) => Number(found[1]));
    expect(widths).toHaveLength(4);
    expect(widths[0]).toBe((widths[1] ?? 0) / 2);
    expect(widths.slice(2)).toEqual([0, 0]);
  });

  it('escapes what would be markup', () => {
    expect(barsOf('a < b & c', '', [], String)).toContain('a &lt; b &amp; c');
  });

  it('has no bar of a void runner in any picture', () => {
    const pictures = picturesOf(results([sample('one-process', 1, 1), sample('podline', 1, 1, 'other')], [floor, line]));
    for (const svg of Object.values(pictures)) expect(svg).not.toContain('Podline');
  });
});
