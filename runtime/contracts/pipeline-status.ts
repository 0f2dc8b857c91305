/**
 * What a cluster says of a pipeline: `status` of the custom resource. From this schema comes its part of the definition.
 *
 * Conditions, by the conventions of Kubernetes:
 *   Ready        its lines are there, and take work.
 *   Progressing  there is work, and it goes on; or lines are on their way.
 *   Degraded     something is not as it should be, in words; work that is not touched by it goes on.
 *   Complete     Unknown while there is work; True when every shard was delivered; False when nothing goes on any more and a shard has failed.
 */
import { z } from 'zod';

export const conditionTypes = ['Ready', 'Progressing', 'Degraded', 'Complete'] as const;
export type ConditionType = (typeof conditionTypes)[number];

/** Why a condition is as it is. A word keeps its meaning once it is released; `docs/cluster.md` explains each. */
export const conditionReasons = [
  'LinesReady',
  'LinesStarting',
  'NoLines',
  'SpecInvalid',
  'ImageNotPinned',
  'StagesUnresolved',
  'InputUnreadable',
  'ObjectsRefused',
  'Working',
  'Submitting',
  'Idle',
  'Paused',
  'Stuck',
  'Unschedulable',
  'VolumePending',
  'ResizePending',
  'LinesOutdated',
  'AsExpected',
  'ShardsFailed',
  'SwapFailed',
  'NoShards',
  'ShardsCompleted',
  'ShardsOpen',
] as const;
export type ConditionReason = (typeof conditionReasons)[number];

export const conditionSchema = z.strictObject({
  type: z.enum(conditionTypes),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.enum(conditionReasons).describe('One word for programs.'),
  message: z.string().max(32_768).describe('A sentence for people, with the way out where there is one.'),
  observedGeneration: z.int().nonnegative().optional().describe('The generation of the pipeline that this was said of.'),
  lastTransitionTime: z.string().describe('When its status last changed.'),
});
export type Condition = z.infer<typeof conditionSchema>;

const count = z.int().nonnegative();

export const pipelineStatusSchema = z
  .strictObject({
    observedGeneration: count.optional().describe('The generation of the pipeline that was last looked at.'),
    conditions: z.array(conditionSchema).max(16).optional(),
    revision: count.optional().describe('Of the pipeline in the journal; lines name it in their heartbeats.'),
    replicas: count.optional().describe('Lines that are there.'),
    readyLines: count.optional().describe('Lines whose agent has been heard of lately.'),
    selector: z.string().optional().describe('Picks the pods of its lines, for the scale subresource.'),
    workload: z
      .enum(['kruise', 'native'])
      .optional()
      .describe('Whose StatefulSet the lines are: OpenKruise’s or Kubernetes’ own.'),
    stage: z.string().optional().describe('The stages that run now.'),
    shards: z
      .strictObject({ total: count, pending: count, running: count, completed: count, failed: count, cancelled: count })
      .optional()
      .describe('By state.'),
    pace: z
      .strictObject({
        batch: count.describe('Shards that a batch of submissions should have.'),
        pause: z.enum(['none', 'load', 'full']).describe('load: consumers of brokers wait. full: submissions are refused.'),
        why: z.string().describe('The arithmetic, with the numbers.'),
      })
      .optional()
      .describe('Of submitters while shards are open, as it was when something else of the status, or the pause, was new.'),
    input: z
      .strictObject({
        digest: z.string().describe('Of what the manifest says about its input: another one is submitted anew.'),
        submitted: count.describe('Shards that the input was split into.'),
      })
      .optional()
      .describe('The input of the manifest, once all of it is in the journal.'),
    memory: z
      .strictObject({ peak: z.string(), sum: z.string(), pod: z.string() })
      .optional()
      .describe('Of the stages that may run at once, of all stages together, and of a pod with scratch and agent.'),
  })
  .describe('What was last seen of the pipeline.');
export type PipelineStatus = z.infer<typeof pipelineStatusSchema>;
