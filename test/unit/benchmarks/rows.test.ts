import { describe, expect, it } from 'vitest';
import { fastest, ratioOf, rowsOf } from '../../../benchmarks/rows.js';
import { comparison, sample } from './fixtures.js';

describe('rowsOf', () => {
  it('takes medians, and puts the fastest first', () => {
    const slow = sample('slow', { wallMs: 500 });
    const three = [10, 1000, 20].map((wallMs) => sample('podline', { wallMs }));
    const rows = rowsOf(comparison('pass', [slow, ...three]));
    expect(rows.map(({ name, wallMs }) => [name, wallMs.median])).toEqual([
      ['podline', 20],
      ['slow', 500],
    ]);
  });

  it('voids a runner whose result differed once', () => {
    const rows = rowsOf(comparison('pass', [sample('podline'), sample('podline', { hash: 'other' }), sample('http')]));
    expect(rows.filter(({ isVoid }) => isVoid).map(({ name }) => name)).toEqual(['podline']);
  });

  it('has no span where one job told none', () => {
    const rows = rowsOf(comparison('pass', [sample('podline', { spanMs: 1 }), sample('podline')]));
    expect(rows[0]?.spanMs).toBeUndefined();
  });
});

describe('ratioOf', () => {
  const rows = rowsOf(
    comparison('pass', [
      sample('podline', { round: 0, spanMs: 10 }),
      sample('podline', { round: 1, spanMs: 20 }),
      sample('http', { round: 0, spanMs: 100 }),
      sample('http', { round: 1, spanMs: 100 }),
      sample('wrong', { round: 0, spanMs: 1, hash: 'other' }),
    ]),
  );
  const named = (name: string) => rows.find((row) => row.name === name);

  it('is that of the medians, its spread that of the rounds', () => {
    const ratio = ratioOf(named('http'), named('podline'), 'spanMs');
    expect(ratio?.median).toBeCloseTo(100 / 15);
    expect([ratio?.min, ratio?.max]).toEqual([5, 10]);
  });

  it('is not told where one side is void or was not measured', () => {
    expect(ratioOf(named('wrong'), named('podline'), 'spanMs')).toBeUndefined();
    expect(ratioOf(named('absent'), named('podline'), 'spanMs')).toBeUndefined();
  });

  it('is held against the fastest of a kind whose result is right', () => {
    expect(fastest(rows, /./, 'spanMs')?.name).toBe('podline');
    expect(fastest(rows, /^(http|wrong)/, 'spanMs')?.name).toBe('http');
  });
});
