/** What a line's agent and the coordinator say to each other over HTTP: under `/v1/lines/{line}/…`. */
import { z } from 'zod';
import { allowedSchema } from './access.js';
import { shardReportSchema, shardResultSchema, shardSourceSchema, wireErrorSchema } from './shard.js';
import { traceSchema } from './trace.js';

const shardAtEpoch = z.object({ shardId: z.string(), epoch: z.int() });
export type ShardAtEpoch = z.infer<typeof shardAtEpoch>;

/** POST …/hello: an agent introduces its line, once per start. */
export const lineHelloSchema = z.object({
  pipeline: z.string(),
  /** A random id of the agent's process, behind the pod's uid where there is one. Steps and runs are named by it. */
  instance: z.string(),
  node: z.string(),
  slots: z.int().positive(),
  /** Without it, the line is of the group `default`. */
  group: z.string().min(1).max(63).optional(),
  /** Shards whose streams are in the scratch: they come back to this line first. */
  residents: z.array(shardAtEpoch),
});
export type LineHello = z.infer<typeof lineHelloSchema>;
export const lineWelcomeSchema = z.object({
  /** A `Pipeline`, resolved. */
  pipeline: z.unknown(),
  leaseTtlMs: z.number(),
  heartbeatMs: z.number(),
  /** Where sources may be read from and results written to; everywhere without it. The line sees to it once more. */
  allowed: allowedSchema.optional(),
});

/** POST …/leases: long poll; answers at once when there is work, else when there is, or after `waitMs` with none. */
export const leaseRequestSchema = z.object({
  max: z.int().min(1).max(256),
  waitMs: z.int().min(0).max(60_000),
  residents: z.array(z.string()).max(1024),
  held: z
    .array(shardAtEpoch)
    .max(1024)
    .optional()
    .describe(
      'Leases that have arrived at the line. What else it was given, in an answer that was lost, goes back to the queue first.',
    ),
  instance: z.string().optional().describe('Of the agent that asks; the client fills it in.'),
});
export const leaseSchema = z.object({
  shardId: z.string(),
  key: z.string(),
  epoch: z.int(),
  /** Failures so far. */
  attempts: z.int(),
  source: shardSourceSchema,
  parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  resultDir: z.string(),
  resumeFrom: z.string().optional(),
  trace: traceSchema.optional(),
});
export type Lease = z.infer<typeof leaseSchema>;
export const leaseAnswerSchema = z.object({
  leases: z.array(leaseSchema),
  queued: z.int().describe('Shards of the pipeline that wait.'),
  /** A newer revision of the pipeline, if there is one: what is leased here is worked on by it. */
  pipeline: z.unknown().optional(),
});

/** POST …/heartbeat: renews the leases and carries what there is to see. */
export const shardProgressSchema = shardAtEpoch.extend({
  phase: z.enum(['queued', 'loading', 'stages', 'delivering', 'ending']),
  stagesDone: z.array(z.string()),
  running: z.array(z.object({ stage: z.string(), slot: z.int(), blocks: z.int(), blocksTotal: z.int(), rows: z.number() })),
  /** What was written of it to which place, or not yet, and why. */
  checkpoints: z.array(z.string()).optional(),
});
export type ShardProgress = z.infer<typeof shardProgressSchema>;
export const slotViewSchema = z.object({
  slot: z.int(),
  stage: z.string().optional(),
  phase: z.enum(['empty', 'swapping', 'idle', 'running', 'lost']),
  swaps: z.int(),
  busyMs: z.number().optional().describe('Time with a run in it, since the agent was started.'),
});
export type SlotView = z.infer<typeof slotViewSchema>;
export const heartbeatSchema = z.object({
  instance: z.string(),
  /** Of the pipeline that it works by; without it, the one last sent counts as taken. */
  revision: z.int().optional(),
  shards: z.array(shardProgressSchema),
  slots: z.array(slotViewSchema),
  scratch: z.object({
    usedBytes: z.number(),
    sizeBytesMax: z.number(),
    spilledBytes: z.number(),
    reads: z.enum(['mmap', 'pread']),
  }),
  /** What its processes use: cores on average since the last heartbeat, and bytes of memory, the scratch included. */
  usage: z
    .object({ cpu: z.number().min(0).max(1_000_000), memoryBytes: z.number().min(0).max(Number.MAX_SAFE_INTEGER) })
    .optional(),
  /** Why the line is not working, in words, when it is not. */
  waiting: z.string().optional(),
  /** Things that happened since the last heartbeat, oldest first. */
  events: z
    .array(z.object({ type: z.string(), shardId: z.string().optional(), data: z.record(z.string(), z.unknown()) }))
    .max(1000),
});
export type Heartbeat = z.infer<typeof heartbeatSchema>;
export const heartbeatAnswerSchema = z.object({
  /** Leases that this line no longer has: stop and free them. */
  lost: z.array(z.string()),
  /** A newer revision of the pipeline, if there is one. */
  pipeline: z.unknown().optional(),
  /** Finish or checkpoint what is there and take nothing new. */
  drain: z.boolean(),
  paused: z.boolean(),
  /** Swaps that the driver took and could not carry out; told again with each heartbeat until the slot is given another step. */
  failedSwaps: z.array(z.object({ slot: z.int().nonnegative(), step: z.string(), error: wireErrorSchema })).default([]),
});

/** POST …/complete and …/fail: under the lease's epoch; a late one is answered with PDL_LEASE_LOST. */
export const completeSchema = shardAtEpoch.extend({ result: shardResultSchema, report: shardReportSchema });
export type Complete = z.infer<typeof completeSchema>;
export const completeRequestSchema = completeSchema.extend({
  next: leaseRequestSchema
    .omit({ waitMs: true })
    .optional()
    .describe('Leases that the line wants besides, of what waits now: both in one call, which makes them durable together.'),
});
/** `leases` and `queued` only where `next` was asked for. Without them, though it was: ask for leases by themselves. */
export const completeAnswerSchema = leaseAnswerSchema.partial();
export const failSchema = shardAtEpoch.extend({
  error: wireErrorSchema,
  stage: z.string().optional(),
  /** false: the line gives the shard back through no fault of the shard (drained); no attempt is counted. */
  counts: z.boolean(),
});
export type Fail = z.infer<typeof failSchema>;

/** POST …/swaps: put a stage into a slot. Answered when the driver has accepted it; done when the shim says hello. */
export const swapRequestSchema = z.object({ slot: z.int().nonnegative(), stage: z.string(), step: z.string() });
export type SwapRequest = z.infer<typeof swapRequestSchema>;
