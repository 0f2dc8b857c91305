/**
 * All metrics of a coordinator: what each is called, counts, and is told apart by. `docs/metrics.md` is made from it; dashboard and alerts
 * (`manifests/components/monitoring`) name no others.
 *
 * Names begin with `podline_` and end in their base unit; counters end in `_total`. A task is a pipeline: `pipeline` is the label by which
 * kinds of tasks are told apart. Labels are from bounded sets: pipelines and stages by `BoundedNames`, never shards or lines.
 */
export interface MetricEntry {
  kind: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
  /** Upper ends, of a histogram. */
  buckets?: readonly number[];
}

/** From a hand-over of microseconds to a stage of hours. */
const seconds = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const handoverSeconds = [0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1];
const requestSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export const metricCatalogue = {
  podline_events_total: { kind: 'counter', help: 'Events by type.', labels: ['pipeline', 'type'] },
  podline_shards: { kind: 'gauge', help: 'Shards by state.', labels: ['pipeline', 'state'] },
  podline_shards_submitted_total: { kind: 'counter', help: 'Shards that were accepted.', labels: ['pipeline'] },
  podline_shards_ended_total: { kind: 'counter', help: 'Shards that ended, by how.', labels: ['pipeline', 'state'] },
  podline_shard_retries_total: {
    kind: 'counter',
    help: 'Leases that ended with the shard back in the queue; `counted`: as an attempt of the shard.',
    labels: ['pipeline', 'counted'],
  },
  podline_shard_wait_seconds: {
    kind: 'histogram',
    help: 'From submission to completion, what was spent waiting.',
    labels: ['pipeline'],
    buckets: seconds,
  },
  podline_shard_run_seconds: {
    kind: 'histogram',
    help: 'From submission to completion, what was spent on lines.',
    labels: ['pipeline'],
    buckets: seconds,
  },
  podline_stage_runs_total: {
    kind: 'counter',
    help: 'Runs of stages for shards that completed.',
    labels: ['pipeline', 'stage', 'outcome'],
  },
  podline_stage_run_seconds: {
    kind: 'histogram',
    help: 'From start to committed, per shard.',
    labels: ['pipeline', 'stage'],
    buckets: seconds,
  },
  podline_stage_rows_total: { kind: 'counter', help: 'Rows that stages wrote.', labels: ['pipeline', 'stage'] },
  podline_stage_failures_total: { kind: 'counter', help: 'Runs of stages that failed.', labels: ['pipeline', 'stage'] },
  podline_swap_seconds: {
    kind: 'histogram',
    help: 'From asking for a stage to its shim being ready.',
    labels: ['pipeline', 'stage'],
    buckets: seconds,
  },
  podline_handover_seconds: {
    kind: 'histogram',
    help: 'From the moment a stage could begin to the moment its code was told to.',
    labels: ['pipeline', 'stage'],
    buckets: handoverSeconds,
  },
  podline_bytes_total: {
    kind: 'counter',
    help: 'Bytes moved for shards that completed, by medium.',
    labels: ['pipeline', 'medium', 'direction'],
  },
  podline_stage_bytes_total: {
    kind: 'counter',
    help: 'Bytes moved by stages, by medium.',
    labels: ['pipeline', 'stage', 'medium', 'direction'],
  },
  podline_source_reads_total: { kind: 'counter', help: 'Reads of sources into memory.', labels: ['pipeline'] },
  podline_checkpoints_total: { kind: 'counter', help: 'Checkpoints written.', labels: ['pipeline', 'place'] },
  podline_lines: { kind: 'gauge', help: 'Lines that are not silent.', labels: ['pipeline'] },
  podline_lines_max: {
    kind: 'gauge',
    help: 'W_max: the most lines that the quotas allow; absent where nobody scales them.',
    labels: ['pipeline'],
  },
  podline_scratch_used_bytes: { kind: 'gauge', help: 'Bytes in the scratches of all lines.', labels: ['pipeline'] },
  podline_scratch_size_bytes: { kind: 'gauge', help: 'Bound of the scratches of all lines.', labels: ['pipeline'] },
  podline_lease_waiters: { kind: 'gauge', help: 'Lines that wait for work.', labels: [] },
  podline_leader: { kind: 'gauge', help: '1 where this coordinator leads, 0 where it stands by.', labels: [] },
  podline_connector_running: {
    kind: 'gauge',
    help: '1 while a connector runs or rests because the coordinator asks for it, 0 while its broker or folder is away.',
    labels: ['connector', 'kind'],
  },
  podline_connector_behind_events: {
    kind: 'gauge',
    help: 'Events that a connector has not looked at yet.',
    labels: ['connector', 'kind'],
  },
  podline_connector_requests_total: {
    kind: 'counter',
    help: 'Messages that a connector took, by what became of them: `taken`, `duplicate`, `refused`.',
    labels: ['connector', 'kind', 'outcome'],
  },
  podline_connector_completions_total: {
    kind: 'counter',
    help: 'Completions that a connector published.',
    labels: ['connector', 'kind'],
  },
  podline_api_request_seconds: {
    kind: 'histogram',
    help: 'From the head of a request to the end of its answer, by route and class of status. Long polls and streams last on purpose.',
    labels: ['route', 'status'],
    buckets: requestSeconds,
  },
} as const satisfies Record<string, MetricEntry>;

export type MetricName = keyof typeof metricCatalogue;
export type LabelOf<N extends MetricName> = (typeof metricCatalogue)[N]['labels'][number];

/** Of the process itself, by the client library, under names that begin so. */
export const processMetricsPrefix = 'podline_';
