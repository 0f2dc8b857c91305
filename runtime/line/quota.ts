/**
 * How many lines of a pipeline the quotas allow: W_max = ⌊min over resources (Q − what others use) / R_line⌋, over every quota
 * that applies, with the arithmetic in words. Pure.
 *
 * Invariants
 *  1. `linesMax` lines fit into every quota beside what others use, exactly; one more does not, unless `maxLines` said stop.
 *  2. More quota, less use by others or smaller lines never allow fewer lines.
 */
import type { Amount, Amounts, Quota } from '../contracts/capacity.js';
import { limits } from '../contracts/limits.js';
import { formatAmount } from './quantity.js';

export interface LinesMaxInput {
  /** R_line: what one line takes. */
  perLine: Amounts;
  quotas: readonly Quota[];
  /** `scaling.maxLines`. */
  maxLines?: number | undefined;
  /** Why not even one line could be there, whatever the quotas say. */
  refusals?: readonly string[] | undefined;
}

/** One quotient of the minimum. */
export interface QuotaTerm {
  quota: string;
  resource: string;
  hard: Amount;
  usedByOthers: Amount;
  perLine: Amount;
  lines: number;
}

export interface LinesMax {
  linesMax: number;
  /** Half a sentence that goes on after "W_max is 3": `because memory quota 8Gi - 2Gi used by others over 2Gi a line`. */
  because: string;
  /** Every quotient, the smallest first. */
  terms: QuotaTerm[];
}

export function planLinesMax({ perLine, quotas, maxLines, refusals = [] }: LinesMaxInput): LinesMax {
  const terms = quotas.flatMap((quota) => termsOf(quota, perLine)).sort((a, b) => a.lines - b.lines);
  const [refusal] = refusals;
  if (refusal !== undefined) return { linesMax: 0, because: `because ${refusal}`, terms };
  const [tightest] = terms;
  const bound = Math.min(maxLines ?? limits.linesMax, limits.linesMax);
  if (tightest !== undefined && tightest.lines < bound)
    return { linesMax: tightest.lines, because: `because ${describeTerm(tightest)}`, terms };
  const because = maxLines === undefined ? 'because no quota bounds it' : `because \`scaling.maxLines\` is ${String(maxLines)}`;
  return { linesMax: bound, because, terms };
}

function termsOf(quota: Quota, perLine: Amounts): QuotaTerm[] {
  return Object.entries(quota.hard).flatMap(([resource, hard]): QuotaTerm[] => {
    const each = perLine[resource] ?? 0n;
    if (each <= 0n) return [];
    const usedByOthers = quota.usedByOthers[resource] ?? 0n;
    return [{ quota: quota.name, resource, hard, usedByOthers, perLine: each, lines: fitting(hard - usedByOthers, each) }];
  });
}

/** How many of `each` there is room for. */
export function fitting(free: Amount, each: Amount): number {
  if (free < each) return 0;
  const whole = free / each;
  return whole > BigInt(limits.linesMax) ? limits.linesMax : Number(whole);
}

/** `memory quota 8Gi - 2Gi used by others over 2Gi a line (ResourceQuota team-a)`. */
export function describeTerm({ quota, resource, hard, usedByOthers, perLine }: QuotaTerm): string {
  const used = usedByOthers === 0n ? '' : ` - ${formatAmount(resource, usedByOthers)} used by others`;
  const each = formatAmount(resource, perLine);
  return `${resource} quota ${formatAmount(resource, hard)}${used} over ${each} a line (${quota})`;
}
