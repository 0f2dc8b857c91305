/** The part of a manifest that says how work flows: groups of lines, quota, scaling, the queue. */
import { z } from 'zod';
import { durationText, name, quantityText } from './texts.js';

export const groupSchema = z
  .strictObject({
    name,
    description: z.string().optional().describe('For people.'),
    match: z
      .strictObject({
        key: z.string().min(1).max(512).optional().describe('A pattern of the key: `*` stands for any characters.'),
        parameters: z
          .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
          .optional()
          .describe('Values that parameters of the shard have.'),
      })
      .refine((match) => match.key !== undefined || Object.keys(match.parameters ?? {}).length > 0, {
        error: 'a match names a key, or parameters, or both',
      })
      .optional()
      .describe(
        'Which shards belong to it without naming it: all that is written here must fit. The first group that fits has them.',
      ),
    weight: z
      .int()
      .min(1)
      .max(1_000)
      .default(1)
      .describe('Its share of the pipeline’s lines beside the other groups, while they want more lines than there may be.'),
    minLines: z.int().min(0).max(16_384).optional().describe('Lines that it keeps; without it, `scaling.minLines`.'),
  })
  .describe('Lines of their own for a part of the shards.');

export const quotaSchema = z
  .record(z.string().regex(/^([a-z0-9.-]+\/)?[A-Za-z0-9][-A-Za-z0-9_.]*$/, 'must be the name of a resource'), quantityText)
  .describe(
    'What all lines of the pipeline together may take: `cpu`, `memory`, or an extended resource such as `nvidia.com/gpu`.',
  );

export const scalingSchema = z
  .strictObject({
    minLines: z
      .int()
      .min(0)
      .max(16_384)
      .default(1)
      .describe('Lines of each group that stay when there is no work, if the quota allows. 0: to zero.'),
    maxLines: z.int().min(0).max(16_384).optional().describe('Never more lines than this, whatever the quota allows.'),
    shardsPerLine: z
      .union([z.literal('auto'), z.int().min(1).max(100_000)])
      .default('auto')
      .describe('Shards, waiting or in work, for which one line is wanted; auto: as many as a line holds at once.'),
    stabilization: durationText
      .default('5m')
      .describe('Lines go only when for so long no more of them were wanted; up it goes at once.'),
    downShare: z
      .number()
      .min(0.01)
      .max(1)
      .default(0.5)
      .describe('The part of the lines that may go in one `downEvery`; at least one.'),
    downEvery: durationText.default('30s').describe('See `downShare`.'),
    drainWithin: durationText
      .default('10m')
      .describe('A line that goes may take so long to finish what it has; then it is checkpointed and given back.'),
    weight: z
      .int()
      .min(1)
      .max(1_000)
      .default(1)
      .describe('Share of a common quota beside other pipelines, while they want more lines than it allows.'),
  })
  .prefault({});

export const queueSchema = z
  .strictObject({
    max: z
      .int()
      .min(1)
      .optional()
      .describe('Shards that may wait; beyond it submitters get 429 with Retry-After. Default: 2,000,000.'),
    deep: z
      .int()
      .min(1)
      .optional()
      .describe('From this many waiting shards on, submitters are slowed down. Default: half of `max`.'),
    shallow: z
      .int()
      .min(0)
      .optional()
      .describe('Below this many waiting shards, they are asked for larger batches. Default: twice what the lines hold at once.'),
  })
  .prefault({});

export type GroupSpec = z.infer<typeof groupSchema>;
export type ScalingSpec = z.infer<typeof scalingSchema>;
export type QuotaSpec = z.infer<typeof quotaSchema>;
