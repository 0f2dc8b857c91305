import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GroupSpec } from '../../../runtime/contracts/flow-spec.js';
import { fitsPattern, groupNames, groupOf, takenName, workloadName } from '../../../runtime/line/groups.js';

const group = (name: string, match?: GroupSpec['match']): GroupSpec => ({ name, match, weight: 1 });

describe('the group of a shard', () => {
  const groups = [
    group('large', { key: 'large/*' }),
    group('deep', { key: '*.csv', parameters: { deep: true } }),
    group('asked'),
  ];

  it('is the first whose match fits as a whole', () => {
    expect(groupOf(groups, { key: 'large/a.csv', parameters: { deep: true } })).toBe('large');
    expect(groupOf(groups, { key: 'a.csv', parameters: { deep: true } })).toBe('deep');
  });

  it('is `default` where none fits, also where only a part does', () => {
    expect(groupOf(groups, { key: 'a.csv', parameters: { deep: 'true' } })).toBe('default');
    expect(groupOf(groups, { key: 'a.txt', parameters: { deep: true } })).toBe('default');
    expect(groupOf([], { key: 'a', parameters: {} })).toBe('default');
  });

  it('is always among the names, `default` once', () => {
    expect(groupNames(groups)).toEqual(['large', 'deep', 'asked', 'default']);
    expect(groupNames([group('default'), group('a')])).toEqual(['default', 'a']);
  });

  it('names its lines, and those of `default` like the pipeline', () => {
    expect([workloadName('flights', 'default'), workloadName('flights', 'large')]).toEqual(['flights', 'flights-large']);
  });
});

describe('a pattern', () => {
  it('fits what a regular expression of the same meaning fits', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
    const texts = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 });
    fc.assert(
      fc.property(letters, texts, (pattern, text) => {
        const expression = new RegExp(`^${pattern.replaceAll(/\*+/g, '.*')}$`);
        expect(fitsPattern(pattern, text)).toBe(expression.test(text));
      }),
    );
  });

  it('is decided at once where a regular expression would try for ever', () => {
    expect(fitsPattern(`${'a*'.repeat(200)}b`, 'a'.repeat(512))).toBe(false);
  });
});

describe('names of lines', () => {
  const pipeline = (name: string, ...groups: string[]) => ({ name, groups: groups.map((own) => group(own)) });

  it('may not be those of another pipeline, whichever of the two has the group', () => {
    const taken = { name: 'flights-large', group: 'large', by: 'flights-large' };
    expect(takenName(pipeline('flights', 'small', 'large'), [pipeline('flights-large')])).toEqual(taken);
    expect(takenName(pipeline('flights-large'), [pipeline('flights', 'large')])).toEqual({
      ...taken,
      group: 'default',
      by: 'flights',
    });
    expect(takenName(pipeline('a', 'b-c'), [pipeline('a-b', 'c')])).toEqual({ name: 'a-b-c', group: 'b-c', by: 'a-b' });
  });

  it('are its own beside those of its former form, and of another namespace', () => {
    expect(takenName(pipeline('flights', 'large'), [pipeline('flights', 'large'), pipeline('flights-small')])).toBeUndefined();
    expect(
      takenName(pipeline('flights.north', 'large'), [pipeline('flights-large'), pipeline('flights-large.south')]),
    ).toBeUndefined();
    expect(takenName(pipeline('flights.north', 'large'), [pipeline('flights-large.north')])?.name).toBe('flights-large.north');
  });
});
