/** Numbers of the moment, for metrics: asked at each scrape. */
import type { CoordinatorGauges } from '../contracts/telemetry.js';
import type { LineView } from '../contracts/views.js';
import type { Journal } from '../journal/journal.js';
import type { LineDesk } from './line-desk.js';

export async function gaugesOf(pipelines: readonly string[], journal: Journal, desk: LineDesk): Promise<CoordinatorGauges> {
  const views = await Promise.all(
    pipelines.map(async (pipeline) => {
      const lines = desk.viewsOf(pipeline);
      const sum = (of: (line: LineView) => number | undefined): number =>
        lines.reduce((total, line) => total + (of(line) ?? 0), 0);
      return {
        pipeline,
        counts: await journal.counts(pipeline),
        lines: lines.filter((line) => line.state !== 'silent').length,
        scratchUsedBytes: sum((line) => line.scratch?.usedBytes),
        scratchSizeBytes: sum((line) => line.scratch?.sizeBytesMax),
      };
    }),
  );
  return { pipelines: views, leaseWaiters: desk.waiters.size };
}
