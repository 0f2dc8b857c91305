import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shareLines, type Claimant, type Pool } from '../../../runtime/line/fair-share.js';
import { parseAmounts } from '../../../runtime/line/quantity.js';

const claimant = (name: string, more: Partial<Claimant> = {}): Claimant => ({
  name,
  weight: 1,
  perLine: parseAmounts({ cpu: 1 }),
  wants: 100,
  linesMax: 100,
  ...more,
});
const pool = (free: Record<string, string | number>): Pool => ({ name: 'team', free: parseAmounts(free) });
const linesOf = (claimants: readonly Claimant[], pools: readonly Pool[]): Record<string, number> =>
  Object.fromEntries([...shareLines(claimants, pools)].map(([name, { lines }]) => [name, lines]));

describe('pipelines that share a quota', () => {
  it('get equal shares while all want more', () => {
    expect(linesOf([claimant('a'), claimant('b'), claimant('c')], [pool({ cpu: 9 })])).toEqual({ a: 3, b: 3, c: 3 });
  });

  it('get shares by weight', () => {
    expect(linesOf([claimant('a', { weight: 3 }), claimant('b')], [pool({ cpu: 8 })])).toEqual({ a: 6, b: 2 });
  });

  it('leave to others what they do not want, and no more', () => {
    expect(linesOf([claimant('a', { wants: 1 }), claimant('b'), claimant('c')], [pool({ cpu: 9 })])).toEqual({
      a: 1,
      b: 4,
      c: 4,
    });
  });

  it('get a first line each before anybody gets a second, whatever the weights', () => {
    expect(linesOf([claimant('a', { weight: 1000 }), claimant('b'), claimant('c')], [pool({ cpu: 3 })])).toEqual({
      a: 1,
      b: 1,
      c: 1,
    });
  });

  it('are weighed by the resource that each needs most of', () => {
    const cpu = claimant('cpu', { perLine: parseAmounts({ cpu: 1, memory: '4Gi' }) });
    const memory = claimant('memory', { perLine: parseAmounts({ cpu: 3, memory: '1Gi' }) });
    // The example of the paper on dominant resource fairness (Ghodsi et al., NSDI 2011): 9 cores, 18 GB.
    expect(linesOf([cpu, memory], [pool({ cpu: 9, memory: '18Gi' })])).toEqual({ cpu: 3, memory: 2 });
  });

  it('hand what nobody wants to autoscalers as ceilings, together never more than the quota', () => {
    const shares = shareLines([claimant('a', { wants: 2 }), claimant('b', { wants: 0 })], [pool({ cpu: 10 })]);
    expect([...shares.values()]).toEqual([
      { lines: 2, ceiling: 5 },
      { lines: 0, ceiling: 5 },
    ]);
  });

  it('are bounded by nothing but themselves where nothing is shared', () => {
    expect([...shareLines([claimant('a', { wants: 3, linesMax: 16_384 })], []).values()]).toEqual([
      { lines: 3, ceiling: 16_384 },
    ]);
    expect(linesOf([claimant('a', { perLine: parseAmounts({ gpu: 1 }), wants: 7 })], [pool({ cpu: 1 })])).toEqual({ a: 7 });
  });

  const resources = fc.constantFrom('cpu', 'memory', 'gpu');
  const free = fc.dictionary(resources, fc.bigInt({ min: -20n, max: 300n }));
  const claimants = fc.uniqueArray(
    fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      weight: fc.integer({ min: 1, max: 5 }),
      perLine: fc.dictionary(resources, fc.bigInt({ min: 0n, max: 40n })),
      wants: fc.integer({ min: 0, max: 30 }),
      linesMax: fc.integer({ min: 0, max: 30 }),
    }),
    { selector: ({ name }) => name, minLength: 1 },
  );
  const used = (all: readonly Claimant[], lines: (name: string) => number, resource: string): bigint =>
    all.reduce((sum, { name, perLine }) => sum + (perLine[resource] ?? 0n) * BigInt(lines(name)), 0n);

  it('never take more than there is together, nor more than each may or wants', () => {
    fc.assert(
      fc.property(claimants, fc.array(free, { maxLength: 2 }), (all, frees) => {
        const shares = shareLines(
          all,
          frees.map((amounts) => ({ name: 'p', free: amounts })),
        );
        for (const amounts of frees)
          for (const [resource, amount] of Object.entries(amounts))
            expect(used(all, (name) => shares.get(name)?.ceiling ?? 0, resource) <= (amount > 0n ? amount : 0n)).toBe(true);
        for (const { name, wants, linesMax } of all) {
          const { lines = -1, ceiling = -1 } = shares.get(name) ?? {};
          expect(lines).toBeLessThanOrEqual(Math.min(wants, linesMax, ceiling));
          expect(ceiling).toBeLessThanOrEqual(linesMax);
        }
      }),
    );
  });

  it('leave nobody hungry beside a line that would fit', () => {
    fc.assert(
      fc.property(claimants, free, (all, amounts) => {
        const shares = shareLines(all, [{ name: 'p', free: amounts }]);
        const lines = (name: string): number => shares.get(name)?.lines ?? 0;
        for (const { name, wants, linesMax, perLine } of all) {
          if (lines(name) >= Math.min(wants, linesMax)) continue;
          const fits = Object.entries(amounts).every(
            ([resource, amount]) =>
              (perLine[resource] ?? 0n) === 0n || used(all, lines, resource) + (perLine[resource] ?? 0n) <= amount,
          );
          expect(fits).toBe(false);
        }
      }),
    );
  });

  it('of one size: nobody could get a line more without one going from somebody who has no greater share', () => {
    fc.assert(
      fc.property(claimants, fc.integer({ min: 0, max: 60 }), (some, lines) => {
        const all = some.map((one) => ({ ...one, perLine: { cpu: 1n } }));
        const shares = shareLines(all, [{ name: 'p', free: { cpu: BigInt(lines) } }]);
        const has = (name: string): number => shares.get(name)?.lines ?? 0;
        const wanted = all.reduce((sum, one) => sum + Math.min(one.wants, one.linesMax), 0);
        expect(all.reduce((sum, { name }) => sum + has(name), 0)).toBe(Math.min(lines, wanted));
        for (const poor of all) {
          if (has(poor.name) >= Math.min(poor.wants, poor.linesMax)) continue;
          for (const rich of all)
            expect((has(rich.name) - 1) / rich.weight).toBeLessThanOrEqual(has(poor.name) / poor.weight + 1e-9);
        }
      }),
    );
  });

  it('get the same in whatever order they are asked', () => {
    fc.assert(
      fc.property(claimants, free, (all, amounts) => {
        const pools = [{ name: 'p', free: amounts }];
        expect(linesOf(all.toReversed(), pools)).toEqual(linesOf(all, pools));
      }),
    );
  });
});
