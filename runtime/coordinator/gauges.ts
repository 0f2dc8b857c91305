/** Numbers of the moment, for metrics: asked at each scrape. What is the leader's, a standby does not tell. */
import type { ConnectorView } from '../contracts/connectors.js';
import type { CoordinatorGauges, PipelineGauges } from '../contracts/telemetry.js';
import type { LineView } from '../contracts/views.js';
import type { Journal } from '../journal/journal.js';
import type { Desks } from './desks.js';

export async function gaugesOf(
  leads: boolean,
  journal: Journal,
  { pipelines, lineDesk, flow }: Desks,
  connectors: () => ConnectorView[],
): Promise<CoordinatorGauges> {
  if (!leads) return { leads, pipelines: [], connectors: [], leaseWaiters: 0 };
  const views = await Promise.all(
    pipelines.names.map(async (pipeline): Promise<PipelineGauges> => {
      const lines = lineDesk.viewsOf(pipeline);
      const sum = (of: (line: LineView) => number | undefined): number =>
        lines.reduce((total, line) => total + (of(line) ?? 0), 0);
      return {
        pipeline,
        counts: await journal.counts(pipeline),
        lines: lines.filter((line) => line.state !== 'silent').length,
        linesMax: flow.view(pipeline)?.linesMax,
        scratchUsedBytes: sum((line) => line.scratch?.usedBytes),
        scratchSizeBytes: sum((line) => line.scratch?.sizeBytesMax),
      };
    }),
  );
  return { leads, pipelines: views, connectors: connectors(), leaseWaiters: lineDesk.waiters.size };
}
