/**
 * A record that is made in parts: what a run measured takes the place of what was recorded of the same parts, and the rest stays. Pure.
 *
 * Invariants
 *  1. Every comparison is within one run: a part is taken whole or not at all, with the limits of the machine that were measured beside it.
 *  2. Parts of one record are of one machine, one Node and one size of shards; another makes a record of its own. `--full` is about one
 *     part alone, growth, which shows by its sizes how it ran.
 *  3. Of each part the record says when it ran, and how busy the machine was.
 */
import type { BenchResults } from './results.js';

type Single = { [K in keyof BenchResults]-?: undefined extends BenchResults[K] ? K : never }[keyof BenchResults];
/** What a part of that name alone shows: each of them, or this does not compile. */
const shown: Record<Single, true> = {
  ...{ small: true, growth: true, columns: true, load: true, threads: true },
  ...{ slowdown: true, pipelining: true, journal: true, checkpoints: true, first: true },
};
const single = Object.keys(shown) as Single[];

/** `kept` with the parts of `fresh`; comparisons in the order of `order`. Throws where the two do not go together. */
export function mergeResults(kept: BenchResults, fresh: BenchResults, order: readonly string[]): BenchResults {
  const fault = differenceOf(kept, fresh);
  if (fault !== undefined) throw new Error(`the record that is there has ${fault}: record all of it anew, without --only`);
  const ran = new Set(Object.keys(fresh.parts));
  const comparisons = [...kept.comparisons.filter(({ name }) => !ran.has(name)), ...fresh.comparisons];
  const parts = { ...kept.parts, ...fresh.parts };
  const { only: _, ...options } = fresh.options;
  // It is about growth alone: whose points are shown says how it ran.
  const { full } = (ran.has('growth') ? fresh : kept).options;
  return {
    ...fresh,
    options: { ...options, full },
    parts,
    tookMs: Object.values(parts).reduce((sum, { tookMs }) => sum + tookMs, 0),
    limits: Object.values(parts).flatMap(({ limits }) => limits),
    comparisons: comparisons.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)),
    ...Object.fromEntries(single.flatMap((name) => (ran.has(name) || kept[name] === undefined ? [] : [[name, kept[name]]]))),
    broken: [...kept.broken.filter(({ part }) => !ran.has(part)), ...fresh.broken],
  };
}

function differenceOf(kept: BenchResults, fresh: BenchResults): string | undefined {
  const what = ({ machine, options, format }: BenchResults): Record<string, string | number | boolean> => ({
    format,
    processor: machine.cpu,
    cores: machine.cores,
    memory: machine.memoryBytes,
    system: machine.os,
    Node: machine.node,
    scale: options.scale,
  });
  const now = what(fresh);
  const before = Object.entries(what(kept)).find(([name, value]) => now[name] !== value);
  return before === undefined ? undefined : `${before[0]} ${String(before[1])}, and this run ${String(now[before[0]])}`;
}
