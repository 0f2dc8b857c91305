/** Everything that happens to a shard or a line, as the journal keeps it, SSE sends it, and logs and metrics count it. */
import { z } from 'zod';

export const eventTypes = [
  'shard.submitted',
  'shard.leased',
  'shard.loaded',
  'shard.delivered',
  'shard.completed',
  'shard.retried',
  'shard.failed',
  'shard.cancelled',
  'shard.resumed',
  'stage.started',
  'stage.completed',
  'stage.failed',
  'stage.restored',
  'checkpoint.written',
  'checkpoint.failed',
  'checkpoint.refused',
  'slot.swapped',
  'slot.lost',
  'scratch.spilled',
  'line.joined',
  'line.lost',
  'pipeline.applied',
  'pipeline.paused',
  'pipeline.resumed',
  'pipeline.deleted',
] as const;
export type EventType = (typeof eventTypes)[number];

export const eventSchema = z.object({
  /** Counts up without gaps within a journal: the Last-Event-ID of SSE. */
  id: z.int(),
  type: z.enum(eventTypes),
  at: z.string(),
  pipeline: z.string(),
  shardId: z.string().optional(),
  line: z.string().optional(),
  data: z.record(z.string(), z.unknown()),
});
export type PodlineEvent = z.infer<typeof eventSchema>;
