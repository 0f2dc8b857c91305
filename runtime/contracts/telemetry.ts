/** What parts that count things call; `telemetry/metrics.ts` is the one that keeps the numbers. */
import type { ConnectorView } from './connectors.js';
import type { Complete } from './line-api.js';
import type { PodlineEvent } from './events.js';
import type { ShardState } from './shard.js';
import type { TraceContext } from './trace.js';

export type ShardCounts = Record<ShardState, number>;

export interface CoordinatorMetrics {
  /** Each event once, after it is durable. */
  event(event: PodlineEvent): void;
  /** The report of a shard that was completed, once. */
  completed(pipeline: string, complete: Complete, timing: { waitedMs: number; ranMs: number }): void;
  /** Where numbers of the moment come from; asked at each scrape. */
  observe(source: () => Promise<CoordinatorGauges>): void;
}

export interface CoordinatorGauges {
  leads: boolean;
  /** Of the leader; a standby has none. */
  pipelines: PipelineGauges[];
  connectors: ConnectorView[];
  leaseWaiters: number;
}

export interface PipelineGauges {
  pipeline: string;
  counts: ShardCounts;
  lines: number;
  /** W_max, where somebody scales them. */
  linesMax?: number | undefined;
  scratchUsedBytes: number;
  scratchSizeBytes: number;
}

/** One request of the API, when it has been answered. */
export interface ApiAnswer {
  /** As the document writes it, `other` where there is none. */
  route: string;
  status: number;
  ms: number;
}

const nothing = (): void => undefined;
export const noMetrics: CoordinatorMetrics = { event: nothing, completed: nothing, observe: nothing };

/** What a span can be of: the stations of a shard. */
export type SpanName = 'request' | 'lease' | 'load' | 'stage' | 'deliver';
export type SpanFields = Record<string, string | number | boolean | undefined>;

/** A stretch of a shard's way. Whoever begins it ends it; what is begun and never ended is not told. */
export interface Span {
  /** What those under it are begun with; undefined where nobody traces. */
  readonly trace: TraceContext | undefined;
  /** `error`: why it did not do what it was for. The first call counts. */
  end(fields?: SpanFields, error?: { code: string; message: string }): void;
}

/** Where spans go; `telemetry/tracing.ts` is the one that hands them on. */
export interface Tracing {
  /** Fields are named `podline.<name>`. Never throws. */
  begin(name: SpanName, parent: TraceContext | undefined, fields: SpanFields): Span;
}

/** Carries the context on as it came. */
export const noTracing: Tracing = { begin: (_name, parent) => ({ trace: parent, end: nothing }) };
