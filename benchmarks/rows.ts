/** Samples of a comparison as one row for each runner. Pure. */
import type { BytesByMedium } from '../runtime/contracts/block.js';
import type { ComparisonResult, Sample } from './results.js';
import { spreadOf, type Spread } from './statistics.js';

export interface RunnerRow {
  name: string;
  title: string;
  /** One of its results was not the reference: it shows no figures. */
  isVoid: boolean;
  samples: Sample[];
  wallMs: Spread;
  cpuMs: Spread;
  spanMs?: Spread | undefined;
  peakRssBytes: Spread;
  peakMemoryBytes: Spread;
  bytes: BytesByMedium;
}

/** One row for each runner that has samples, the fastest first, by wall time. */
export function rowsOf({ runners, samples, reference }: ComparisonResult): RunnerRow[] {
  const rows = runners.flatMap(({ name, title }): RunnerRow[] => {
    const own = samples.filter(({ runner }) => runner === name);
    const [first] = own;
    if (first === undefined) return [];
    const spread = (value: (sample: Sample) => number): Spread => spreadOf(own.map(value));
    const spans = own.flatMap(({ spanMs }) => (spanMs === undefined ? [] : [spanMs]));
    return [
      {
        name,
        title,
        isVoid: own.some(({ hash }) => hash !== reference),
        samples: own,
        wallMs: spread((sample) => sample.wallMs),
        cpuMs: spread((sample) => sample.cpuMs),
        ...(spans.length === own.length ? { spanMs: spreadOf(spans) } : {}),
        peakRssBytes: spread((sample) => sample.peakRssBytes),
        peakMemoryBytes: spread((sample) => sample.peakMemoryBytes),
        bytes: first.bytes,
      },
    ];
  });
  return rows.sort((a, b) => a.wallMs.median - b.wallMs.median);
}

export type Metric = 'spanMs' | 'wallMs' | 'cpuMs';

/** How many times as much the other takes: medians, and the extremes of the rounds in which both were measured. */
export function ratioOf(
  other: RunnerRow | undefined,
  own: RunnerRow | undefined,
  metric: Metric,
): (Omit<Spread, 'values'> & { other: string }) | undefined {
  const [above, below] = [other?.[metric], own?.[metric]];
  if (other === undefined || own === undefined || above === undefined || below === undefined) return undefined;
  if (other.isVoid || own.isVoid || below.median === 0) return undefined;
  const rounds = own.samples.flatMap((sample) => {
    const beside = other.samples.find(({ round }) => round === sample.round);
    const [a, b] = [beside?.[metric], sample[metric]];
    return a === undefined || b === undefined || b === 0 ? [] : [a / b];
  });
  return {
    median: above.median / below.median,
    min: Math.min(...rounds),
    max: Math.max(...rounds),
    other: other.title,
  };
}

/** The fastest of those whose name fits. */
export const fastest = (rows: readonly RunnerRow[], name: RegExp, metric: Metric): RunnerRow | undefined =>
  rows
    .filter((row) => name.test(row.name) && !row.isVoid && row[metric] !== undefined)
    .sort((a, b) => (a[metric]?.median ?? 0) - (b[metric]?.median ?? 0))[0];
