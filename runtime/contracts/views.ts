/** What the API shows besides shards and events: pipelines, lines, explanations. */
import { z } from 'zod';
import { pipelineSpecSchema, type Pipeline } from './manifest.js';
import { name } from './texts.js';
import { shardSchema, shardStates, wireErrorSchema, type ShardState } from './shard.js';
import { heartbeatSchema, shardProgressSchema, slotViewSchema } from './line-api.js';

const count = z.int().nonnegative();
export const countsSchema = z.object({ pending: count, running: count, completed: count, failed: count, cancelled: count });
export type Counts = z.infer<typeof countsSchema>;

/** A resolved pipeline on the wire; the revision of a PUT is ignored, the coordinator counts it. */
export const pipelineOnWireSchema = z
  .object({
    name,
    revision: z.int().nonnegative().default(0),
    spec: pipelineSpecSchema,
    stages: z.array(z.looseObject({ name: z.string(), after: z.array(z.string()).min(1), version: z.string() })).min(1),
    baseDir: z.string(),
  })
  .transform((pipeline) => pipeline as unknown as Pipeline);

/** How a pipeline's work flows at present: its lines under the quota, and the pace of its submitters. */
export const flowViewSchema = z.object({
  linesMax: count.describe('W_max: the most lines that the quotas allow.'),
  because: z.string().describe('The arithmetic behind it, in words.'),
  groups: z.array(
    z.object({
      group: z.string(),
      queued: count.describe('Shards that may be leased at once.'),
      running: count,
      lines: count.describe('There, or on their way.'),
      draining: count.describe('Of those: take nothing new.'),
      wanted: count,
      ceiling: count.describe('The most that it may have beside the other groups and pipelines.'),
      why: z.string(),
    }),
  ),
});
export type FlowView = z.infer<typeof flowViewSchema>;

export const paceViewSchema = z.object({
  batch: count.describe('Shards that a batch of submissions should have.'),
  pause: z.enum(['none', 'load', 'full']).describe('load: wait if you can wait elsewhere. full: submissions are refused.'),
  retryAfterS: z.number().optional().describe('While paused: when to come back.'),
  why: z.string(),
});
export type PaceView = z.infer<typeof paceViewSchema>;

export const pipelineViewSchema = z.object({
  name: z.string(),
  revision: z.int(),
  paused: z.boolean(),
  counts: countsSchema,
  lines: count,
  flow: flowViewSchema.optional().describe('Absent where nobody scales its lines.'),
  pace: paceViewSchema.optional(),
  appliedAt: z.string(),
  /** A `Pipeline`, resolved; absent in lists. */
  pipeline: z.custom<Pipeline>().optional(),
});
export type PipelineView = z.infer<typeof pipelineViewSchema>;

/** What went with a pipeline that was deleted. */
export const removedPipelineSchema = z.object({
  cancelled: count.describe('Shards that waited or ran.'),
  removed: count.describe('All of its shards, with results and reports; files of results stay.'),
});
export type RemovedPipeline = z.infer<typeof removedPipelineSchema>;

export const lineViewSchema = z.object({
  line: z.string().describe('Stable name: it answers with the shards it holds.'),
  pipeline: z.string(),
  group: z.string().describe('Only shards of this group are leased to it.'),
  instance: z.string(),
  node: z.string(),
  state: z.enum(['active', 'draining', 'silent']).describe('silent: it has said nothing for longer than a lease lasts.'),
  silentMs: z.number().describe('Since it was last heard.'),
  revision: z.int().describe('Of the pipeline that it works by.'),
  slots: z.array(slotViewSchema),
  shards: z.array(
    z.object({
      shardId: z.string(),
      epoch: z.int(),
      phase: shardProgressSchema.shape.phase.optional(),
      stagesDone: z.array(z.string()),
      running: shardProgressSchema.shape.running,
      checkpoints: shardProgressSchema.shape.checkpoints,
    }),
  ),
  scratch: heartbeatSchema.shape.scratch.optional(),
  usage: heartbeatSchema.shape.usage,
  waiting: z.string().optional(),
});
export type LineView = z.infer<typeof lineViewSchema>;

export const explanationSchema = z.object({
  shardId: z.string(),
  state: z.enum(shardStates),
  /** Sentences, the most important one first. */
  because: z.array(z.string()).min(1),
  /** What may be done about it, when there is something. */
  advice: z.string().optional(),
});
export type Explanation = z.infer<typeof explanationSchema>;

export const shardPageSchema = z.object({
  /** Without their reports: get a shard to see its report. */
  shards: z.array(shardSchema),
  /** Hand it in to get the page after this one; absent on the last. */
  next: z.string().optional(),
});
export type ShardPage = z.infer<typeof shardPageSchema>;

export interface ListRequest {
  state?: ShardState | undefined;
  /** `next` of the page before. */
  cursor?: string | undefined;
  /** Shards of a page, at most `limits.listPageMax`. */
  max?: number | undefined;
  keyPrefix?: string | undefined;
  /** Of their last error. */
  code?: string | undefined;
  /** That holds them, or held them last. */
  line?: string | undefined;
  /** ISO 8601; `To` is exclusive. */
  submittedFrom?: string | undefined;
  submittedTo?: string | undefined;
}

export interface EventQuery {
  /** Only events with ids above; without it, only those from now on. */
  after?: number | undefined;
  pipeline?: string | undefined;
  shardId?: string | undefined;
  /** Ends the stream. */
  signal?: AbortSignal | undefined;
}

/** An error over HTTP: problem+json (RFC 9457), and what a PodlineError is made of. */
export const problemSchema = wireErrorSchema.extend({
  type: z.string().describe('Names the error; its page is in docs/errors.md.'),
  title: z.string(),
  status: z.int(),
  detail: z.string().describe('The same as `message`.'),
});
