/** The desks of a coordinator, put together: each does a part of its work, and none knows the coordinator. */
import { noTracing, type CoordinatorMetrics } from '../contracts/telemetry.js';
import type { Moment } from '../journal/journal.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { FlowDesk } from './flow-desk.js';
import { LineDesk } from './line-desk.js';
import type { CoordinatorLimits, CoordinatorOptions } from './options.js';
import { PipelineDesk } from './pipeline-desk.js';
import { Pipelines } from './pipelines.js';
import { SubmissionDesk } from './submission-desk.js';

export interface DeskParts extends Omit<CoordinatorOptions, 'limits'> {
  limits: CoordinatorLimits;
  clock: Clock;
  logger: Logger;
  metrics: CoordinatorMetrics;
  isLeading: () => boolean;
  /** Of a write. */
  now: () => Moment;
  /** Something may be due earlier than was planned. */
  arm: (atMs: number) => void;
}

export interface Desks {
  pipelines: Pipelines;
  lineDesk: LineDesk;
  flow: FlowDesk;
  pipelineDesk: PipelineDesk;
  submissions: SubmissionDesk;
}

export function openDesks(parts: DeskParts): Desks {
  const { journal, clock, driver, limits, allowed, callbacks, arm } = parts;
  const pipelines = new Pipelines(journal, parts.isLeading);
  const lineDesk = new LineDesk({
    ...parts,
    driver,
    bounds: limits,
    allowed,
    pipeline: (name) => pipelines.get(name),
  });
  const flow = new FlowDesk({ ...parts, pendingShardsMax: limits.pendingShardsMax, desk: lineDesk });
  const pipelineDesk = new PipelineDesk({ ...parts, pipelines, desk: lineDesk, flow, driver });
  const submissions = new SubmissionDesk({
    ...parts,
    flow,
    tracing: parts.tracing ?? noTracing,
    allowed,
    callbacks,
    onWork: (pipeline, pendingMs) => {
      if (pendingMs !== undefined) arm(clock.nowMs() + pendingMs);
      void lineDesk.waiters.wake(pipeline);
    },
  });
  return { pipelines, lineDesk, flow, pipelineDesk, submissions };
}
