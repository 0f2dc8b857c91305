/** What the reconciler asks of the coordinator, and nothing more: `Coordinator` fits it as it is. */
import type { Wanted } from '../contracts/capacity.js';
import type { PodlineEvent } from '../contracts/events.js';
import type { Pipeline, PipelineSpec } from '../contracts/manifest.js';
import type { Shard, ShardSource, Submission, SubmitAnswer } from '../contracts/shard.js';
import type { EventQuery, LineView, ListRequest, PipelineView, ShardPage } from '../contracts/views.js';

export interface Desk {
  applyPipeline(pipeline: Pipeline): Promise<PipelineView>;
  pipeline(name: string): Promise<PipelineView>;
  /** With its shards and lines. Throws PDL_PIPELINE_UNKNOWN. */
  deletePipeline(name: string, options: { cancel: boolean }): Promise<unknown>;
  submit(name: string, submissions: readonly Submission[]): Promise<SubmitAnswer[]>;
  get(shardId: string): Promise<Shard>;
  list(name: string, request: ListRequest): Promise<ShardPage>;
  resumeFrom(shardId: string, stage: string): Promise<unknown>;
  startLines(name: string, lines: Wanted): Promise<unknown>;
  leaveLines(name: string): void;
  lines(): Promise<LineView[]>;
  events(query: EventQuery): AsyncIterable<PodlineEvent>;
  lastEventId(): Promise<number>;
}

/** Splits the input of a pipeline into shards, as `sources/split` does. */
export type SplitInput = (
  input: PipelineSpec['input'],
  options: { baseDir: string; signal?: AbortSignal },
) => AsyncIterable<{ key: string; source: ShardSource }>;
