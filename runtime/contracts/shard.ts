/** Shards as programs submit them, as the journal keeps them and as a line reports on them. */
import { z } from 'zod';
import { errorCatalogue, type ErrorCode, type WireError } from './errors.js';
import { inputFormats } from './manifest.js';
import { columnTypes, type BytesByMedium } from './block.js';
import { traceSchema } from './trace.js';

const range = z.tuple([z.int().nonnegative(), z.int().nonnegative()]);

export const shardSourceSchema = z.union([
  z.strictObject({
    uri: z.string().min(1).describe('An absolute path, or an http(s):// address.'),
    format: z.enum(inputFormats),
    rows: range.optional().describe('Rows [from, to) of the source.'),
    bytes: range.optional().describe('Bytes [from, to) of the source; whole records.'),
    header: z.array(z.string()).optional().describe('csv and ndjson with a byte range: the column names.'),
    delimiter: z.string().length(1).optional().describe('csv with a byte range: what stands between fields.'),
    types: z
      .record(z.string(), z.enum(columnTypes))
      .optional()
      .describe('csv and ndjson with a byte range: types as the head of the source suggests them, so that all parts agree.'),
    identity: z.string().optional().describe('Size and time, or ETag, when it was split; the lineage of `input` is made of it.'),
  }),
  z.strictObject({ inline: z.unknown(), format: z.enum(inputFormats) }),
]);
export type ShardSource = z.infer<typeof shardSourceSchema>;

/** Of one submission, beside the webhooks of its pipeline. */
export const callbackSchema = z
  .strictObject({
    url: z
      .string()
      .min(1)
      .max(2_048)
      .describe('Where its end is told, signed as webhooks are; within the places that webhooks may be sent to.'),
  })
  .describe('Whom to tell of its end, once it is durable.');
export type Callback = z.infer<typeof callbackSchema>;

export const submissionSchema = z
  .strictObject({
    key: z
      .string()
      .min(1)
      .max(512)
      .describe('Unique within the pipeline: the same key again is a duplicate, not a second shard.'),
    source: shardSourceSchema,
    parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
    resultDir: z.string().min(1).optional().describe('Without it, the pipeline’s `result.dir`.'),
    priority: z.int().min(0).max(9).default(5).describe('0 goes first.'),
    group: z
      .string()
      .min(1)
      .max(63)
      .optional()
      .describe(
        'The group of lines that works on it; without it, the first of the pipeline’s groups whose `match` fits, or `default`.',
      ),
    trace: traceSchema.optional(),
    callback: callbackSchema.optional(),
  })
  .describe('One unit of data to take through the pipeline.');
export type Submission = z.infer<typeof submissionSchema>;

export const shardStates = ['pending', 'running', 'completed', 'failed', 'cancelled'] as const;
export type ShardState = (typeof shardStates)[number];

export const wireErrorSchema = z.object({
  code: z.enum(Object.keys(errorCatalogue) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  place: z.string().optional(),
  hint: z.string(),
  retry: z.enum(['never', 'later']),
  logTail: z.string().optional(),
  retryAfterS: z.number().optional().describe('When to try again, in seconds.'),
}) satisfies z.ZodType<WireError>;

const bytesSchema = z.object({ read: z.number(), written: z.number() });
export const bytesByMediumSchema = z.object({
  memory: bytesSchema,
  ssd: bytesSchema,
  volume: bytesSchema,
  network: bytesSchema,
}) satisfies z.ZodType<BytesByMedium>;

/** What one stage did for one shard. Times in ms, bytes by medium. */
export const stageReportSchema = z.object({
  stage: z.string(),
  outcome: z
    .enum(['ran', 'restored', 'skipped'])
    .describe('restored: taken whole from a checkpoint or the scratch; skipped: not needed because what follows was restored.'),
  why: z.string().describe('In words: why it ran, ran again, or did not.'),
  runs: z.int().nonnegative().describe('Times it was started.'),
  blocksRun: z.int().nonnegative(),
  blocks: z.int().nonnegative(),
  rows: z.number().nonnegative(),
  bytes: bytesByMediumSchema,
  workMs: z.number().describe('From start to committed, all runs.'),
  swapMs: z.number().describe('From asking for the stage to its shim being ready; 0 when a slot held it already.'),
  handoverMs: z
    .number()
    .describe(
      'From the moment the stage could begin (its inputs were committed) to the first call of its code, whatever lies between; what a line is there to keep small.',
    ),
  wholeAfterMs: z
    .number()
    .optional()
    .describe('From the input being whole in the scratch to the output of the stage being so. Absent: not both were made here.'),
  slot: z.int(),
  executor: z.string(),
});
export type StageReport = z.infer<typeof stageReportSchema>;

export const resultFileSchema = z.object({
  name: z.string(),
  bytes: z.number(),
  sha256: z.string(),
  rows: z.number().optional(),
});
export type ResultFile = z.infer<typeof resultFileSchema>;

export const shardReportSchema = z.object({
  stages: z.array(stageReportSchema),
  load: z.object({
    outcome: z.enum(['read', 'restored']),
    rows: z.number(),
    ms: z.number(),
    sourceReads: z.int(),
    bytes: bytesByMediumSchema,
  }),
  checkpoints: z.object({
    ssd: z.int(),
    major: z.int(),
    bytes: bytesByMediumSchema,
    why: z
      .array(z.string())
      .optional()
      .describe('The last ones, and what was not written, in words with the numbers by which it was decided.'),
  }),
  resumedFrom: z.enum(['source', 'scratch', 'ssd', 'volume']),
  bytes: bytesByMediumSchema.describe('All of the above together, delivery included.'),
  swaps: z.int(),
  scratchPeakBytes: z.number(),
});
export type ShardReport = z.infer<typeof shardReportSchema>;

export const shardResultSchema = z.object({
  dir: z.string(),
  files: z.array(resultFileSchema),
  hash: z
    .string()
    .describe(
      'sha256 over names and contents of the result files, in the order of their names: over the lines `<sha256>  <name>` that sha256sum prints.',
    ),
});
export type ShardResult = z.infer<typeof shardResultSchema>;

export const shardSchema = z
  .object({
    id: z.string(),
    pipeline: z.string(),
    key: z.string(),
    state: z.enum(shardStates),
    source: shardSourceSchema,
    parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    resultDir: z.string(),
    priority: z.int(),
    group: z.string().describe('Only lines of this group work on it.'),
    epoch: z.int().describe('Counts the leases; writes under an older one are refused.'),
    attempts: z.int().describe('Leases that ended in a failure of the shard.'),
    line: z.string().optional().describe('The line that holds it, or held it last.'),
    submittedAt: z.string(),
    startedAt: z.string().optional(),
    endedAt: z.string().optional(),
    notBefore: z.string().optional().describe('While it backs off: when it may be leased again.'),
    resumeFrom: z.string().optional().describe('A stage that the next lease must run again, and what follows it.'),
    stagesDone: z.array(z.string()).describe('Last reported by the line.'),
    trace: traceSchema.optional(),
    callback: callbackSchema.optional(),
    error: wireErrorSchema.optional(),
    result: shardResultSchema.optional(),
    report: shardReportSchema.optional(),
  })
  .describe('A shard as the journal keeps it.');
export type Shard = z.infer<typeof shardSchema>;

/** The answer to one submission. */
export const submitAnswerSchema = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('accepted'), id: z.string(), key: z.string() }),
  z.object({ outcome: z.literal('duplicate'), id: z.string(), key: z.string(), message: z.string() }),
  z.object({ outcome: z.literal('rejected'), key: z.string().optional(), error: wireErrorSchema }),
]);
export type SubmitAnswer = z.infer<typeof submitAnswerSchema>;

/** What one submission is answered with over HTTP when it was taken; what is rejected is an error. */
export const submittedSchema = z.discriminatedUnion('outcome', [submitAnswerSchema.options[0], submitAnswerSchema.options[1]]);

/** A submission in simple words (C1). */
export const requestSchema = z
  .strictObject({
    task: z.string().min(1).max(63).describe('Name of the pipeline.'),
    payload: z
      .union([
        z.strictObject({ uri: z.string().min(1) }).describe('Where it lies: an absolute path, or an http(s):// address.'),
        z.string(),
        z.record(z.string(), z.unknown()),
        z.array(z.record(z.string(), z.unknown())),
      ])
      .describe('What is to be worked on: an object or an array of them, which is a table; a text; or `{ "uri": … }`.'),
    resultDir: z.string().min(1).optional().describe('Where the result goes; without it, the pipeline’s `result.dir`.'),
    key: submissionSchema.shape.key
      .optional()
      .describe('By which request and completion are tied. Without one, the digest of the request.'),
    parameters: submissionSchema.shape.parameters,
    priority: submissionSchema.shape.priority,
    trace: submissionSchema.shape.trace,
    callback: submissionSchema.shape.callback,
  })
  .describe('A request: a task, a payload and a result directory.');
export type SimpleRequest = z.infer<typeof requestSchema>;

export const replayMax = 1_000;
export const replaySchema = z
  .strictObject({
    ids: z.array(z.string().min(1)).min(1).max(replayMax).optional().describe('These shards.'),
    code: z.string().optional().describe('Those whose error has this code.'),
    keyPrefix: z.string().min(1).optional().describe('Those whose key begins so.'),
    max: z.int().min(1).max(replayMax).default(replayMax).describe('At most so many; ask again for the rest.'),
  })
  .describe('Which dead letters to replay; all of the pipeline’s, if nothing is said.');
export const replayedSchema = z.object({
  replayed: z.array(z.string()).describe('Ids of the shards that are pending again.'),
  skipped: z.array(z.object({ id: z.string(), error: wireErrorSchema })).describe('What was named and could not be replayed.'),
  more: z.boolean().describe('There are more that fit: ask again.'),
});
export type Replay = z.input<typeof replaySchema>;
export type Replayed = z.infer<typeof replayedSchema>;
