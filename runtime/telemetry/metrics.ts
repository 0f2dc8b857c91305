/**
 * Keeps the numbers of the catalogue for one coordinator.
 *
 * Invariants
 *  1. Every metric is in `catalogue.ts`, with the labels that it has there.
 *  2. A pipeline that was deleted leaves no label behind.
 *  3. Counters of a pipeline are there, with 0, from the first scrape that knows it.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics, type Metric } from 'prom-client';
import { addBytes, noBytes, type BytesByMedium, type Medium } from '../contracts/block.js';
import type { ConnectorView } from '../contracts/connectors.js';
import { eventTypes } from '../contracts/events.js';
import { shardStates } from '../contracts/shard.js';
import type { ApiAnswer, CoordinatorGauges, CoordinatorMetrics } from '../contracts/telemetry.js';
import { BoundedNames, otherName } from './bounded-names.js';
import { metricCatalogue, processMetricsPrefix, type LabelOf, type MetricEntry, type MetricName } from './catalogue.js';

export interface Metrics extends CoordinatorMetrics {
  /** Of the API, each request once. */
  answered(answer: ApiAnswer): void;
  /** In the text format of Prometheus. */
  text(): Promise<string>;
  /** Lets go of the process's own metrics. */
  close(): void;
}

const pipelinesMax = 256;
/** How often the event loop is asked whether it is late. Each look wakes the process: at prom-client's 10 ms they are most of what an idle one costs. */
const lagLookMs = 100;
const endStates = ['completed', 'failed', 'cancelled'] as const;
/** Of all pipelines together. */
const stagesMax = 4_096;

export function createMetrics(): Metrics {
  const registry = new Registry();
  const made = new Map<MetricName, Metric>();
  const entryOf = <N extends MetricName>(
    name: N,
  ): MetricEntry & { name: N; labelNames: readonly LabelOf<N>[]; registers: Registry[] } => {
    const entry: MetricEntry = metricCatalogue[name];
    return { ...entry, name, labelNames: entry.labels as readonly LabelOf<N>[], registers: [registry] };
  };
  const counter = <N extends MetricName>(name: N): Counter<LabelOf<N>> => kept(name, new Counter(entryOf(name)));
  const gauge = <N extends MetricName>(name: N): Gauge<LabelOf<N>> => kept(name, new Gauge(entryOf(name)));
  const histogram = <N extends MetricName>(name: N): Histogram<LabelOf<N>> => {
    const { buckets = [], ...entry } = entryOf(name);
    return kept(name, new Histogram({ ...entry, buckets: [...buckets] }));
  };
  const kept = <M extends Metric>(name: MetricName, metric: M): M => {
    made.set(name, metric);
    return metric;
  };

  const events = counter('podline_events_total');
  const submitted = counter('podline_shards_submitted_total');
  const ended = counter('podline_shards_ended_total');
  const retries = counter('podline_shard_retries_total');
  const waited = histogram('podline_shard_wait_seconds');
  const ran = histogram('podline_shard_run_seconds');
  const stageRuns = counter('podline_stage_runs_total');
  const stageSeconds = histogram('podline_stage_run_seconds');
  const stageRows = counter('podline_stage_rows_total');
  const stageFailures = counter('podline_stage_failures_total');
  const swaps = histogram('podline_swap_seconds');
  const handovers = histogram('podline_handover_seconds');
  const bytes = counter('podline_bytes_total');
  const stageBytes = counter('podline_stage_bytes_total');
  const sourceReads = counter('podline_source_reads_total');
  const checkpoints = counter('podline_checkpoints_total');
  const requests = histogram('podline_api_request_seconds');
  collectDefaultMetrics({ register: registry, prefix: processMetricsPrefix, eventLoopMonitoringPrecision: lagLookMs });

  const names = new BoundedNames(pipelinesMax);
  const stageNames = new BoundedNames(stagesMax);
  const stageLabels = (pipeline: string, stage: string): { pipeline: string; stage: string } => {
    const key = `${pipeline}/${stage}`;
    return { pipeline, stage: stageNames.label(key) === key ? stage : otherName };
  };
  /** Whoever looks for an increase sees none from nothing to something: what is counted is there before it happens. */
  const beginAtZero = (pipeline: string): void => {
    submitted.inc({ pipeline }, 0);
    for (const type of eventTypes) events.inc({ pipeline, type }, 0);
    for (const state of endStates) ended.inc({ pipeline, state }, 0);
    for (const counted of ['true', 'false']) retries.inc({ pipeline, counted }, 0);
  };
  const gauges = new Gauges(gauge, counter, (name) => names.label(name));
  let source: (() => Promise<CoordinatorGauges>) | undefined;

  return {
    event: ({ type, pipeline: name, data }) => {
      if (type === 'pipeline.deleted') {
        names.forget(name);
        void forget([...made.values()], name);
        return;
      }
      const pipeline = names.label(name);
      events.inc({ pipeline, type });
      if (type === 'shard.submitted') submitted.inc({ pipeline });
      if (type === 'shard.completed' || type === 'shard.failed' || type === 'shard.cancelled')
        ended.inc({ pipeline, state: type.slice('shard.'.length) });
      if (type === 'shard.retried') retries.inc({ pipeline, counted: String(data['counted'] === true) });
      if (type === 'stage.failed' && typeof data['stage'] === 'string') stageFailures.inc(stageLabels(pipeline, data['stage']));
    },
    completed: (name, { report }, { waitedMs, ranMs }) => {
      const pipeline = names.label(name);
      waited.observe({ pipeline }, waitedMs / 1000);
      ran.observe({ pipeline }, ranMs / 1000);
      sourceReads.inc({ pipeline }, report.load.sourceReads);
      checkpoints.inc({ pipeline, place: 'ssd' }, report.checkpoints.ssd);
      checkpoints.inc({ pipeline, place: 'volume' }, report.checkpoints.major);
      eachMedium(addBytes(noBytes(), report.bytes), (medium, direction, amount) => {
        bytes.inc({ pipeline, medium, direction }, amount);
      });
      for (const { stage, outcome, runs, rows, workMs, swapMs, handoverMs, bytes: moved } of report.stages) {
        const labels = stageLabels(pipeline, stage);
        stageRuns.inc({ ...labels, outcome }, Math.max(1, runs));
        if (outcome !== 'ran') continue;
        stageSeconds.observe(labels, workMs / 1000);
        stageRows.inc(labels, rows);
        handovers.observe(labels, handoverMs / 1000);
        if (swapMs > 0) swaps.observe(labels, swapMs / 1000);
        eachMedium(moved, (medium, direction, amount) => {
          stageBytes.inc({ ...labels, medium, direction }, amount);
        });
      }
    },
    answered: ({ route, status, ms }) => {
      requests.observe({ route, status: `${String(Math.floor(status / 100))}xx` }, ms / 1000);
    },
    observe: (from) => {
      source = from;
    },
    text: async () => {
      const now = await source?.();
      if (now !== undefined) gauges.show(now);
      for (const { pipeline } of now?.pipelines ?? []) beginAtZero(names.label(pipeline));
      return registry.metrics();
    },
    close: () => {
      registry.clear();
    },
  };
}

/** Numbers of the moment: what is not there any more is not shown any more. */
class Gauges {
  readonly #shards;
  readonly #lines;
  readonly #linesMax;
  readonly #scratchUsed;
  readonly #scratchSize;
  readonly #waiters;
  readonly #leader;
  readonly #connectors;
  readonly #behind;
  readonly #requests;
  readonly #completions;

  constructor(
    gauge: <N extends MetricName>(name: N) => Gauge<LabelOf<N>>,
    counter: <N extends MetricName>(name: N) => Counter<LabelOf<N>>,
    private readonly label: (pipeline: string) => string,
  ) {
    this.#shards = gauge('podline_shards');
    this.#lines = gauge('podline_lines');
    this.#linesMax = gauge('podline_lines_max');
    this.#scratchUsed = gauge('podline_scratch_used_bytes');
    this.#scratchSize = gauge('podline_scratch_size_bytes');
    this.#waiters = gauge('podline_lease_waiters');
    this.#leader = gauge('podline_leader');
    this.#connectors = gauge('podline_connector_running');
    this.#behind = gauge('podline_connector_behind_events');
    this.#requests = counter('podline_connector_requests_total');
    this.#completions = counter('podline_connector_completions_total');
  }

  show({ leads, leaseWaiters, pipelines, connectors }: CoordinatorGauges): void {
    for (const metric of [this.#shards, this.#lines, this.#linesMax, this.#scratchUsed, this.#scratchSize]) metric.reset();
    this.#leader.set(leads ? 1 : 0);
    this.#waiters.set(leaseWaiters);
    for (const { pipeline: name, counts, ...now } of pipelines) {
      const pipeline = this.label(name);
      // Those that share a label are shown as one.
      for (const state of shardStates) this.#shards.inc({ pipeline, state }, counts[state]);
      this.#lines.inc({ pipeline }, now.lines);
      if (now.linesMax !== undefined) this.#linesMax.inc({ pipeline }, now.linesMax);
      this.#scratchUsed.inc({ pipeline }, now.scratchUsedBytes);
      this.#scratchSize.inc({ pipeline }, now.scratchSizeBytes);
    }
    for (const metric of [this.#connectors, this.#behind, this.#requests, this.#completions]) metric.reset();
    for (const view of connectors) this.#showConnector(view);
  }

  /** Connectors count themselves, from when they were opened. */
  #showConnector({ name: connector, kind, state, behind, taken, duplicates, refused, published }: ConnectorView): void {
    const labels = { connector, kind };
    this.#connectors.set(labels, state === 'running' || state === 'paused' ? 1 : 0);
    if (behind !== undefined) this.#behind.set(labels, behind);
    this.#requests.inc({ ...labels, outcome: 'taken' }, taken);
    this.#requests.inc({ ...labels, outcome: 'duplicate' }, duplicates);
    this.#requests.inc({ ...labels, outcome: 'refused' }, refused);
    this.#completions.inc(labels, published);
  }
}

async function forget(metrics: readonly Metric[], pipeline: string): Promise<void> {
  for (const metric of metrics) {
    const { values } = await metric.get();
    for (const { labels } of values) {
      if (labels.pipeline !== pipeline) continue;
      const { le: _bucket, ...own } = labels;
      metric.remove(own);
    }
  }
}

function eachMedium(amounts: BytesByMedium, add: (medium: Medium, direction: 'read' | 'written', amount: number) => void): void {
  for (const [medium, { read, written }] of Object.entries(amounts) as [Medium, BytesByMedium[Medium]][]) {
    if (read > 0) add(medium, 'read', read);
    if (written > 0) add(medium, 'written', written);
  }
}
