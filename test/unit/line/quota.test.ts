import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addAmounts, formatAmount, parseAmount, parseAmounts, timesAmounts } from '../../../runtime/line/quantity.js';
import type { Amounts, Quota } from '../../../runtime/contracts/capacity.js';
import { planLinesMax } from '../../../runtime/line/quota.js';

describe('a quantity', () => {
  it.each([
    ['500m', 500_000_000n],
    ['0.1', 100_000_000n],
    ['1e3', 1_000_000_000_000n],
    ['1E', 10n ** 27n],
    ['8Gi', 8n * 1024n ** 3n * 10n ** 9n],
    ['1.5Ki', 1_536n * 10n ** 9n],
    ['100n', 100n],
    ['0.00000000001', 1n],
    [3, 3_000_000_000n],
    ['-2', -2_000_000_000n],
  ])('%s is read exactly', (text, nanos) => {
    expect(parseAmount(text)).toBe(nanos);
  });

  it.each(['', '.', 'Gi', '1 Gi', '1ki', '0x10', 'NaN', '1e', '9'.repeat(65)])('`%s` is none', (text) => {
    expect(() => parseAmount(text)).toThrow(expect.objectContaining({ code: 'PDL_MANIFEST_INVALID' }) as Error);
  });

  it('is read back from what is written, whatever it is', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.constantFrom('cpu', 'memory'), (amount, resource) => {
        expect(parseAmount(formatAmount(resource, amount))).toBe(amount);
      }),
    );
  });

  it('is written as people do', () => {
    expect(['8Gi', '1536Mi', '500M'].map((text) => formatAmount('limits.memory', parseAmount(text)))).toEqual([
      '8Gi',
      '1536Mi',
      '500000000',
    ]);
    expect(['1.5', '2', '0'].map((text) => formatAmount('cpu', parseAmount(text)))).toEqual(['1500m', '2', '0']);
  });

  it('makes tenths that sum up to one', () => {
    const tenth = parseAmounts({ cpu: '0.1' });
    expect(timesAmounts(tenth, 10)).toEqual(parseAmounts({ cpu: 1 }));
    expect(addAmounts(timesAmounts(tenth, 3), parseAmounts({ cpu: '0.7', memory: 1 }))).toEqual(
      parseAmounts({ cpu: 1, memory: 1 }),
    );
  });
});

const quota = (
  hard: Record<string, string>,
  usedByOthers: Record<string, string> = {},
  name = 'ResourceQuota team-a',
): Quota => ({
  name,
  hard: parseAmounts(hard),
  usedByOthers: parseAmounts(usedByOthers),
});
const perLine = parseAmounts({ cpu: '500m', memory: '2Gi' });

describe('W_max', () => {
  it.each([
    ['memory is scarce', [quota({ cpu: '10', memory: '8Gi' }, { memory: '2Gi' })], 3],
    ['cpu is scarce', [quota({ cpu: '1.2', memory: '100Gi' })], 2],
    ['one byte is missing', [quota({ memory: String(2 * 2 ** 30 - 1) })], 0],
    ['it fits to the byte', [quota({ memory: '4Gi' })], 2],
    ['others use more than there is', [quota({ memory: '4Gi' }, { memory: '5Gi' })], 0],
    ['a line takes nothing of it', [quota({ 'nvidia.com/gpu': '0', memory: '6Gi' })], 3],
    ['two quotas apply', [quota({ memory: '20Gi' }), quota({ cpu: '2' }, { cpu: '1' }, 'the pipeline’s quota')], 2],
    ['there is none', [], 16_384],
  ])('is counted where %s', (_, quotas, lines) => {
    expect(planLinesMax({ perLine, quotas }).linesMax).toBe(lines);
  });

  it('counts extended resources', () => {
    const gpu = parseAmounts({ 'nvidia.com/gpu': 2 });
    const plan = planLinesMax({ perLine: gpu, quotas: [quota({ 'nvidia.com/gpu': '7' }, { 'nvidia.com/gpu': '1' })] });
    expect(plan).toMatchObject({
      linesMax: 3,
      because: 'because nvidia.com/gpu quota 7 - 1 used by others over 2 a line (ResourceQuota team-a)',
    });
  });

  it('says the arithmetic', () => {
    const { because, terms } = planLinesMax({ perLine, quotas: [quota({ cpu: '10', memory: '8Gi' }, { memory: '2Gi' })] });
    expect(because).toBe('because memory quota 8Gi - 2Gi used by others over 2Gi a line (ResourceQuota team-a)');
    expect(terms.map(({ resource, lines }) => [resource, lines])).toEqual([
      ['memory', 3],
      ['cpu', 20],
    ]);
  });

  it('is what the manifest says where that is less, and nothing where lines are refused', () => {
    const quotas = [quota({ memory: '8Gi' })];
    expect(planLinesMax({ perLine, quotas, maxLines: 2 })).toMatchObject({
      linesMax: 2,
      because: 'because `scaling.maxLines` is 2',
    });
    expect(planLinesMax({ perLine, quotas, maxLines: 9 }).linesMax).toBe(4);
    expect(planLinesMax({ perLine, quotas, refusals: ['LimitRange small allows 1Gi a pod'] })).toMatchObject({
      linesMax: 0,
      because: 'because LimitRange small allows 1Gi a pod',
    });
  });

  const amounts = (max: bigint): fc.Arbitrary<Amounts> =>
    fc.dictionary(fc.constantFrom('cpu', 'memory', 'gpu'), fc.bigInt({ min: 0n, max }), { minKeys: 1 });
  const quotas = fc.array(fc.record({ name: fc.constant('q'), hard: amounts(10_000n), usedByOthers: amounts(8_000n) }), {
    maxLength: 3,
  });

  it('is the most that fits: all lines fit into every quota, and one more into none or not all', () => {
    fc.assert(
      fc.property(amounts(50n), quotas, (line, all) => {
        const { linesMax } = planLinesMax({ perLine: line, quotas: all });
        const fits = (lines: number): boolean =>
          all.every(({ hard, usedByOthers }) =>
            Object.entries(hard).every(([resource, amount]) => {
              const wanted = (line[resource] ?? 0n) * BigInt(lines);
              return (line[resource] ?? 0n) === 0n || wanted + (usedByOthers[resource] ?? 0n) <= amount;
            }),
          );
        expect(linesMax === 0 || fits(linesMax)).toBe(true);
        expect(linesMax === 16_384 || !fits(linesMax + 1)).toBe(true);
      }),
    );
  });

  it('never falls when a quota grows, and never grows when others use more', () => {
    fc.assert(
      fc.property(amounts(50n), quotas, amounts(5_000n), (line, all, more) => {
        const linesMax = (changed: readonly Quota[]): number => planLinesMax({ perLine: line, quotas: changed }).linesMax;
        const now = linesMax(all);
        const within = (hard: Amounts): Amounts => Object.fromEntries(Object.keys(hard).map((name) => [name, more[name] ?? 0n]));
        expect(linesMax(all.map((one) => ({ ...one, hard: addAmounts(one.hard, within(one.hard)) })))).toBeGreaterThanOrEqual(
          now,
        );
        expect(linesMax(all.map((one) => ({ ...one, usedByOthers: addAmounts(one.usedByOthers, more) })))).toBeLessThanOrEqual(
          now,
        );
      }),
    );
  });
});
