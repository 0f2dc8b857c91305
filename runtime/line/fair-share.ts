/**
 * Lines for everybody who wants some, out of quotas that they share: weighted max-min fairness by dominant resource. Pure.
 *
 * One line at a time goes to whoever has the smallest share for its weight and still wants one that fits. A share is the part of
 * the scarcest resource that the claimant's lines take. What the shares leave is dealt as headroom in the same way, so that a
 * ceiling that is handed to an autoscaler lets it grow before anybody decides again.
 *
 * Invariants
 *  1. All ceilings together fit into every pool, exactly.
 *  2. Nobody who wants more is left without a line that would fit into what is left over.
 *  3. `lines` ≤ `wants`, `lines` ≤ `ceiling` ≤ `linesMax`.
 *  4. The order of the claimants does not matter: ties go to the greater weight, then by name.
 */
import type { Amount, Amounts } from '../contracts/capacity.js';

/** A quota that several share, without what others use. */
export interface Pool {
  name: string;
  free: Amounts;
  /** Only one pipeline's: it bounds, and says nothing about who has more than others. */
  own?: boolean | undefined;
}

export interface Claimant {
  name: string;
  /** Greater than 0. */
  weight: number;
  perLine: Amounts;
  wants: number;
  /** It has so many, and would rather not lose them: it gets them before anybody gets headroom. */
  keeps?: number | undefined;
  /** W_max of this claimant alone. */
  linesMax: number;
}

export interface Share {
  /** What it may have now. */
  lines: number;
  /** With its part of what nobody wants: the most that it may grow to on its own. */
  ceiling: number;
}

export function shareLines(claimants: readonly Claimant[], pools: readonly Pool[]): Map<string, Share> {
  const left = pools.map((pool) => new Map(Object.entries(pool.free)));
  const shares = new Map(claimants.map(({ name }) => [name, { lines: 0, ceiling: 0 }]));
  deal(claimants, pools, left, shares, ({ wants, linesMax }) => Math.min(wants, linesMax));
  for (const share of shares.values()) share.lines = share.ceiling;
  deal(claimants, pools, left, shares, ({ keeps = 0, linesMax }) => Math.min(keeps, linesMax));
  deal(claimants, pools, left, shares, ({ linesMax }) => linesMax);
  return shares;
}

interface Candidate {
  claimant: Claimant;
  share: Share;
  /** The part of a pool's scarcest resource that one line takes, for its weight. Orders only; what fits is counted exactly. */
  each: number;
  most: number;
}

/** Raises the ceilings, one line at a time, as long as anything fits. */
function deal(
  claimants: readonly Claimant[],
  pools: readonly Pool[],
  left: readonly Map<string, Amount>[],
  shares: ReadonlyMap<string, Share>,
  mostOf: (claimant: Claimant) => number,
): void {
  const hungry = new Set(
    claimants.flatMap((claimant): Candidate[] => {
      const share = shares.get(claimant.name);
      const each = (dominant(claimant, pools, false) || dominant(claimant, pools, true)) / claimant.weight;
      return share === undefined ? [] : [{ claimant, share, each, most: mostOf(claimant) }];
    }),
  );
  for (;;) {
    const next = first(hungry);
    if (next === undefined) return;
    const { claimant, share, each, most } = next;
    if (share.ceiling >= most || !fits(claimant.perLine, left)) {
      hungry.delete(next);
      continue;
    }
    // Whoever shares no resource with the others takes nothing from them.
    share.ceiling += each === 0 ? most - share.ceiling : 1;
    if (each > 0) take(claimant.perLine, left);
  }
}

function first(hungry: ReadonlySet<Candidate>): Candidate | undefined {
  let best: Candidate | undefined;
  for (const candidate of hungry) if (best === undefined || isBefore(candidate, best)) best = candidate;
  return best;
}

function isBefore(one: Candidate, other: Candidate): boolean {
  const [a, b] = [one.share.ceiling * one.each, other.share.ceiling * other.each];
  if (a !== b) return a < b;
  if (one.claimant.weight !== other.claimant.weight) return one.claimant.weight > other.claimant.weight;
  return one.claimant.name < other.claimant.name;
}

function dominant(claimant: Claimant, pools: readonly Pool[], own: boolean): number {
  let most = 0;
  for (const { free } of pools.filter((pool) => (pool.own ?? false) === own))
    for (const [resource, amount] of Object.entries(free)) {
      const each = claimant.perLine[resource] ?? 0n;
      if (each > 0n) most = Math.max(most, amount > 0n ? Number(each) / Number(amount) : Infinity);
    }
  return most;
}

const fits = (perLine: Amounts, left: readonly Map<string, Amount>[]): boolean =>
  left.every((pool) =>
    [...pool].every(([resource, amount]) => (perLine[resource] ?? 0n) === 0n || (perLine[resource] ?? 0n) <= amount),
  );

function take(perLine: Amounts, left: readonly Map<string, Amount>[]): void {
  for (const pool of left) for (const [resource, amount] of pool) pool.set(resource, amount - (perLine[resource] ?? 0n));
}
