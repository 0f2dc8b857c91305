/**
 * All metrics of a coordinator, in one place: prefix `podline_`, base units, labels from bounded sets only (pipelines,
 * stages, media, states; never shards or lines).
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { addBytes, noBytes, type BytesByMedium, type Medium } from '../contracts/block.js';
import { shardStates } from '../contracts/shard.js';
import type { CoordinatorGauges, CoordinatorMetrics } from '../contracts/telemetry.js';

export interface Metrics extends CoordinatorMetrics {
  /** In the text format of Prometheus. */
  text(): Promise<string>;
  /** Lets go of the process's own metrics. */
  close(): void;
}

/** From a hand-over of microseconds to a stage of hours. */
const secondsBuckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const handoverBuckets = [0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1];

export function createMetrics(): Metrics {
  const registers = [new Registry()];
  const [registry] = registers;
  if (registry === undefined) throw new Error('unreachable');
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name: `podline_${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> =>
    new Gauge({ name: `podline_${name}`, help, labelNames, registers });
  const histogram = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    buckets = secondsBuckets,
  ): Histogram<L> => new Histogram({ name: `podline_${name}`, help, labelNames, buckets, registers });

  const events = counter('events_total', 'Events by type.', ['pipeline', 'type']);
  const shards = gauge('shards', 'Shards by state.', ['pipeline', 'state']);
  const ended = counter('shards_ended_total', 'Shards that ended, by how.', ['pipeline', 'state']);
  const retries = counter('shard_retries_total', 'Leases that ended with the shard back in the queue.', ['pipeline', 'counted']);
  const waited = histogram('shard_wait_seconds', 'From submission to completion, what was spent waiting.', ['pipeline']);
  const ran = histogram('shard_run_seconds', 'From submission to completion, what was spent on lines.', ['pipeline']);
  const stageRuns = counter('stage_runs_total', 'Runs of stages for shards that completed.', ['pipeline', 'stage', 'outcome']);
  const stageSeconds = histogram('stage_run_seconds', 'From start to committed, per shard.', ['pipeline', 'stage']);
  const stageRows = counter('stage_rows_total', 'Rows that stages wrote.', ['pipeline', 'stage']);
  const stageFailures = counter('stage_failures_total', 'Runs of stages that failed.', ['pipeline', 'stage']);
  const swaps = histogram('swap_seconds', 'From asking for a stage to its shim being ready.', ['pipeline', 'stage']);
  const handovers = histogram(
    'handover_seconds',
    'From the moment a stage could begin to the moment its code was told to.',
    ['pipeline', 'stage'],
    handoverBuckets,
  );
  const bytes = counter('bytes_total', 'Bytes moved for shards that completed, by medium.', ['pipeline', 'medium', 'direction']);
  const stageBytes = counter('stage_bytes_total', 'Bytes moved by stages, by medium.', [
    'pipeline',
    'stage',
    'medium',
    'direction',
  ]);
  const sourceReads = counter('source_reads_total', 'Reads of sources into memory.', ['pipeline']);
  const checkpoints = counter('checkpoints_total', 'Checkpoints written.', ['pipeline', 'place']);
  const lines = gauge('lines', 'Lines that are not silent.', ['pipeline']);
  const scratchUsed = gauge('scratch_used_bytes', 'Bytes in the scratches of all lines.', ['pipeline']);
  const scratchSize = gauge('scratch_size_bytes', 'Bound of the scratches of all lines.', ['pipeline']);
  const waiters = gauge('lease_waiters', 'Lines that wait for work.', []);
  collectDefaultMetrics({ register: registry, prefix: 'podline_' });

  let source: (() => Promise<CoordinatorGauges>) | undefined;
  const eachMedium = (
    amounts: BytesByMedium,
    add: (medium: Medium, direction: 'read' | 'written', amount: number) => void,
  ): void => {
    for (const [medium, { read, written }] of Object.entries(amounts) as [Medium, BytesByMedium[Medium]][]) {
      if (read > 0) add(medium, 'read', read);
      if (written > 0) add(medium, 'written', written);
    }
  };

  return {
    event: ({ type, pipeline, data }) => {
      events.inc({ pipeline, type });
      if (type === 'shard.completed' || type === 'shard.failed' || type === 'shard.cancelled')
        ended.inc({ pipeline, state: type.slice('shard.'.length) });
      if (type === 'shard.retried') retries.inc({ pipeline, counted: String(data['counted'] === true) });
      if (type === 'stage.failed' && typeof data['stage'] === 'string') stageFailures.inc({ pipeline, stage: data['stage'] });
    },
    completed: (pipeline, { report }, { waitedMs, ranMs }) => {
      waited.observe({ pipeline }, waitedMs / 1000);
      ran.observe({ pipeline }, ranMs / 1000);
      sourceReads.inc({ pipeline }, report.load.sourceReads);
      checkpoints.inc({ pipeline, place: 'ssd' }, report.checkpoints.ssd);
      checkpoints.inc({ pipeline, place: 'volume' }, report.checkpoints.major);
      eachMedium(addBytes(noBytes(), report.bytes), (medium, direction, amount) => {
        bytes.inc({ pipeline, medium, direction }, amount);
      });
      for (const { stage, outcome, runs, rows, workMs, swapMs, handoverMs, bytes: moved } of report.stages) {
        stageRuns.inc({ pipeline, stage, outcome }, Math.max(1, runs));
        if (outcome !== 'ran') continue;
        stageSeconds.observe({ pipeline, stage }, workMs / 1000);
        stageRows.inc({ pipeline, stage }, rows);
        handovers.observe({ pipeline, stage }, handoverMs / 1000);
        if (swapMs > 0) swaps.observe({ pipeline, stage }, swapMs / 1000);
        eachMedium(moved, (medium, direction, amount) => {
          stageBytes.inc({ pipeline, stage, medium, direction }, amount);
        });
      }
    },
    observe: (from) => {
      source = from;
    },
    text: async () => {
      const now = await source?.();
      if (now !== undefined) {
        waiters.set(now.leaseWaiters);
        for (const { pipeline, counts, ...line } of now.pipelines) {
          for (const state of shardStates) shards.set({ pipeline, state }, counts[state]);
          lines.set({ pipeline }, line.lines);
          scratchUsed.set({ pipeline }, line.scratchUsedBytes);
          scratchSize.set({ pipeline }, line.scratchSizeBytes);
        }
      }
      return registry.metrics();
    },
    close: () => {
      registry.clear();
    },
  };
}
