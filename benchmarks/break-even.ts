/** From which size of shard on Podline takes less time than another. Pure. */
import type { GrowthPoint } from './results.js';
import { quantile } from './statistics.js';

/**
 * Where the two costs cross, between two measured sizes, on logarithmic axes. `below`: Podline takes less at every size measured; `never`:
 * at none of the largest.
 */
export type BreakEven = { at: number } | 'below' | 'never';

export function breakEvenOf(own: readonly GrowthPoint[], other: readonly GrowthPoint[]): BreakEven | undefined {
  const pairs = own
    .flatMap((point) => {
      const beside = other.find(({ size, stages }) => size === point.size && stages === point.stages);
      if (beside === undefined || beside.isVoid || point.isVoid) return [];
      return [{ size: point.size, lead: Math.log(quantile(beside.wallMs, 0.5) / quantile(point.wallMs, 0.5)) }];
    })
    .sort((a, b) => a.size - b.size);
  const last = pairs.at(-1);
  if (last === undefined) return undefined;
  if (last.lead < 0) return 'never';
  // From the largest down: below the last crossing it may win by chance.
  const loses = pairs.findLastIndex(({ lead }) => lead < 0);
  const [before, after] = [pairs[loses], pairs[loses + 1]];
  if (before === undefined || after === undefined) return 'below';
  const share = -before.lead / (after.lead - before.lead);
  return { at: Math.exp(Math.log(before.size) + share * (Math.log(after.size) - Math.log(before.size))) };
}
