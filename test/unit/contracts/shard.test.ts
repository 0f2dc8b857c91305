import { describe, expect, it } from 'vitest';
import { addBytes, alignUp, noBytes } from '../../../runtime/contracts/block.js';
import { env } from '../../../runtime/contracts/env.js';
import { submissionSchema } from '../../../runtime/contracts/shard.js';

const source = { uri: '/data/a.csv', format: 'csv' };

describe('a submission', () => {
  it('has defaults for what may be left out', () => {
    expect(submissionSchema.parse({ key: 'a', source })).toEqual({ key: 'a', source, parameters: {}, priority: 5 });
  });

  it('may carry its data', () => {
    expect(submissionSchema.parse({ key: 'a', source: { inline: [{ x: 1 }], format: 'ndjson' } }).source).toEqual({
      inline: [{ x: 1 }],
      format: 'ndjson',
    });
  });

  it.each([
    ['no key', { source }],
    ['an empty key', { key: '', source }],
    ['a key that is too long', { key: 'k'.repeat(513), source }],
    ['no source', { key: 'a' }],
    ['a format that is none', { key: 'a', source: { uri: '/a', format: 'xls' } }],
    ['a negative range', { key: 'a', source: { ...source, rows: [-1, 5] } }],
    ['a parameter that is a list', { key: 'a', source, parameters: { p: [1] } }],
    ['a priority out of range', { key: 'a', source, priority: 10 }],
    ['a field that is not known', { key: 'a', source, resultdir: '/x' }],
  ])('with %s is refused', (_, submission) => {
    expect(submissionSchema.safeParse(submission).success).toBe(false);
  });
});

it('bytes are added up medium by medium', () => {
  const sum = addBytes(noBytes(), { ...noBytes(), ssd: { read: 1, written: 2 } });
  expect(addBytes(sum, sum)).toMatchObject({ ssd: { read: 2, written: 4 }, memory: { read: 0, written: 0 } });
});

it('buffers start at multiples of 64', () => {
  expect([0, 1, 64, 65].map((bytes) => alignUp(bytes))).toEqual([0, 64, 64, 128]);
});

it('no two meanings share the name of an environment variable', () => {
  const names = Object.values(env);
  expect(new Set(names).size).toBe(names.length);
  expect(names.every((name) => /^PODLINE_[A-Z_]+$/.test(name))).toBe(true);
});
