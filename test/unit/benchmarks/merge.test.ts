import { describe, expect, it } from 'vitest';
import { mergeResults } from '../../../benchmarks/merge.js';
import { comparison, partRun, results, sample } from './fixtures.js';

const order = ['pass', 'xor', 'small'];
const early = partRun({ at: 'early', tookMs: 10, limits: [] });
const late = partRun({ at: 'late', tookMs: 5 });

describe('mergeResults', () => {
  it('takes whole parts from the new run and keeps the others, in their order', () => {
    const kept = results({
      comparisons: [comparison('pass', [sample('http', { wallMs: 1 })]), comparison('xor', [sample('http', { wallMs: 2 })])],
      parts: { pass: early, xor: early },
      broken: [
        { part: 'pass', message: 'it broke then' },
        { part: 'xor', message: 'a peer broke' },
      ],
    });
    const fresh = results({ comparisons: [comparison('pass', [sample('podline', { wallMs: 3 })])], parts: { pass: late } });
    const merged = mergeResults(kept, fresh, order);
    expect(merged.comparisons.map(({ name, samples }) => [name, samples.map(({ wallMs }) => wallMs)])).toEqual([
      ['pass', [3]],
      ['xor', [2]],
    ]);
    expect(merged.parts).toEqual({ pass: late, xor: early });
    expect(merged.broken).toEqual([{ part: 'xor', message: 'a peer broke' }]);
    expect([merged.tookMs, merged.limits]).toEqual([15, late.limits]);
  });

  it('drops what a part showed before where it ran again and showed nothing', () => {
    const small = { shardBytes: 1024, stages: 5, runners: [], samples: [] };
    const broken = [{ part: 'small', message: 'it broke' }];
    const fresh = results({ parts: { small: late }, broken });
    expect(mergeResults(results({ small, parts: { small: early } }), fresh, order)).not.toHaveProperty('small');
    expect(mergeResults(results({ small, parts: { small: early } }), results({ parts: {} }), order).small).toBe(small);
  });

  it('keeps how growth ran, where it did not run again', () => {
    const options = { ...results().options, full: true };
    const kept = results({ options, parts: { growth: early } });
    expect(mergeResults(kept, results({ parts: { pass: late } }), order).options.full).toBe(true);
    expect(mergeResults(kept, results({ parts: { growth: late } }), order).options.full).toBe(false);
  });

  it('keeps every kind of part that did not run', () => {
    const names = ['small', 'growth', 'columns', 'load', 'threads', 'slowdown', 'pipelining', 'first', 'journal', 'checkpoints'];
    const kept = results(Object.fromEntries(names.map((name) => [name, { of: name }])));
    expect(mergeResults(kept, results({ parts: { pass: late } }), order)).toMatchObject(
      Object.fromEntries(names.map((name) => [name, { of: name }])),
    );
  });

  it('refuses parts of another machine, another Node, other sizes, or a record of another format', () => {
    const { machine, options } = results();
    const merge = (kept: object) => () => mergeResults({ ...results(), ...kept }, results(), order);
    expect(merge({ machine: { ...machine, node: 'v18' } })).toThrow('Node v18, and this run v20: record all of it anew');
    expect(merge({ machine: { ...machine, cores: 64 } })).toThrow('cores 64');
    expect(merge({ options: { ...options, scale: 0.5 } })).toThrow('scale 0.5');
    expect(merge({ format: 2, parts: undefined })).toThrow('format 2');
    expect(merge({})).not.toThrow();
  });
});
