/** Connectors: what is written of them in a configuration, what they say on a topic, and how they show themselves. */
import { z } from 'zod';
import { wireErrorSchema } from './shard.js';
import { traceSchema } from './trace.js';

/** A secret stands in a file or in an environment variable, never in a configuration. */
export const secretSchema = z.union([
  z.strictObject({ file: z.string().min(1).describe('A file that holds it; an ending line break does not count.') }),
  z.strictObject({ env: z.string().min(1).describe('The environment variable that holds it.') }),
]);
export type SecretRef = z.infer<typeof secretSchema>;

const name = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$/, 'must be lower-case letters, digits and dashes')
  .describe('Unique among the connectors. What the broker keeps for it is found by it: keep it when you move the coordinator.');

const pipeline = z.string().min(1).max(63).optional().describe('The pipeline of messages that name none: plain submissions.');

const pipelines = z.array(z.string().min(1).max(63)).min(1).optional().describe('Of these pipelines only; of all, without it.');
const from = z
  .enum(['oldest', 'newest'])
  .default('oldest')
  .describe(
    'Where to begin when the broker knows no place yet: with the oldest event that the journal keeps, or with what happens from now on.',
  );

export const kafkaSchema = z
  .strictObject({
    kind: z.literal('kafka'),
    name,
    brokers: z.array(z.string().regex(/^[^:@/\s]+:\d+$/, 'must be host:port')).min(1),
    tls: z.union([z.boolean(), z.strictObject({ caFile: z.string().min(1) })]).default(false),
    sasl: z
      .strictObject({
        mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
        username: z.string().min(1),
        password: secretSchema,
      })
      .optional(),
    pipeline,
    requests: z
      .strictObject({
        topic: z.string().min(1).default('pendingJobs'),
        group: z.string().min(1).default('podline').describe('The consumer group.'),
        deadLetters: z.string().min(1).optional().describe('Topic of messages that are no requests; `<topic>.dead` without it.'),
      })
      .prefault({}),
    completions: z
      .union([z.literal(false), z.strictObject({ topic: z.string().min(1).default('completedJobs'), pipelines, from })])
      .prefault({})
      .describe('false: nothing is published.'),
    createTopics: z
      .strictObject({ partitions: z.int().min(1).max(10_000), replicas: z.int().min(1).max(32) })
      .optional()
      .describe('Topics that are missing are made so. Without it, a missing topic is an error.'),
  })
  .describe('Requests from a topic of Kafka, completions to another.');
export type KafkaConfig = z.infer<typeof kafkaSchema>;

export const rabbitmqSchema = z
  .strictObject({
    kind: z.literal('rabbitmq'),
    name,
    host: z.string().min(1),
    port: z.int().min(1).max(65_535).default(5672),
    vhost: z.string().min(1).default('/'),
    username: z.string().min(1).default('guest'),
    password: secretSchema.optional().describe('Without it, `guest`, which RabbitMQ takes on loopback only.'),
    tls: z.union([z.boolean(), z.strictObject({ caFile: z.string().min(1) })]).default(false),
    pipeline,
    requests: z
      .strictObject({
        queue: z.string().min(1).default('pendingJobs'),
        prefetch: z
          .int()
          .min(1)
          .max(10_000)
          .default(256)
          .describe('Messages that are taken and not yet in the journal: never more.'),
        deadLetters: z
          .string()
          .min(1)
          .optional()
          .describe('Exchange of messages that are no requests; `<queue>.dead` without it.'),
      })
      .prefault({}),
    completions: z
      .union([z.literal(false), z.strictObject({ queue: z.string().min(1).default('completedJobs'), pipelines, from })])
      .prefault({})
      .describe('false: nothing is published.'),
    queueType: z.enum(['quorum', 'classic']).default('quorum').describe('Of the queues that are made when they are missing.'),
  })
  .describe('Requests from a queue of RabbitMQ, completions to another.');
export type RabbitmqConfig = z.infer<typeof rabbitmqSchema>;

export const folderSchema = z
  .strictObject({
    kind: z.literal('folder'),
    name,
    dir: z.string().min(1).describe('A file that is dropped here is a shard. Its sub-folders are not looked into.'),
    pipeline: z.string().min(1).max(63),
    resultDir: z.string().min(1).optional(),
    after: z
      .enum(['move', 'leave'])
      .default('move')
      .describe(
        'move: a file is taken out of the folder, and lies in `done/` or `failed/` in the end. leave: the folder is only read.',
      ),
    ready: z
      .enum(['settled', 'renamed'])
      .default('settled')
      .describe(
        'When a file is whole: `settled`, once it has not changed for `settleMs`; `renamed`, at once, because it is renamed into the folder.',
      ),
    settleMs: z.int().min(1).max(3_600_000).default(2_000),
    rescanMs: z
      .int()
      .min(10)
      .max(3_600_000)
      .default(30_000)
      .describe('The folder is read again this often, whatever the system told of it.'),
  })
  .describe('A folder that is watched.');
export type FolderConfig = z.infer<typeof folderSchema>;

export const connectorSchema = z.discriminatedUnion('kind', [kafkaSchema, rabbitmqSchema, folderSchema]);
export type ConnectorConfig = z.infer<typeof connectorSchema>;

export const connectorsSchema = z
  .array(connectorSchema)
  .max(64)
  .refine((list) => new Set(list.map((connector) => connector.name)).size === list.length, {
    error: 'names of connectors must differ',
  });

/** What is said when a shard has ended, once its end is durable: the value of a message, as JSON. */
export const completionSchema = z.object({
  id: z.string().describe('The same whenever this completion is said again: to drop what was heard before.'),
  task: z.string().describe('The pipeline.'),
  key: z.string().describe('Of the request; also the key, or correlation id, of the message.'),
  shardId: z.string(),
  outcome: z.enum(['completed', 'failed', 'cancelled']),
  at: z.string(),
  resultDir: z.string().optional().describe('The folder in which the result lies; completed only.'),
  files: z.int().optional(),
  hash: z.string().optional().describe('See the result of a shard.'),
  error: wireErrorSchema.partial({ hint: true, retry: true }).optional().describe('failed only.'),
  trace: traceSchema.optional(),
});
export type Completion = z.infer<typeof completionSchema>;

/** Headers of a message that was no request, on its way to the dead letters. */
export const deadLetterHeaders = { code: 'podline-code', reason: 'podline-reason', place: 'podline-place' } as const;

const count = z.int().nonnegative();
export const connectorViewSchema = z.object({
  name: z.string(),
  kind: z.enum(['kafka', 'rabbitmq', 'folder']),
  state: z
    .enum(['starting', 'running', 'paused', 'away', 'closed'])
    .describe('paused: the coordinator takes no more at present. away: the broker or folder is, and is tried again.'),
  because: z.string().describe('Why it is so, in words.'),
  taken: count.describe('Requests that the journal has, since the start; those that were told again are not counted twice.'),
  duplicates: count,
  refused: count.describe('Messages that were no requests: they are dead letters.'),
  published: count.describe('Completions.'),
  cursor: count.optional().describe('Events up to this one are published.'),
  behind: count.optional().describe('Events of the journal that were not looked at yet.'),
});
export type ConnectorView = z.infer<typeof connectorViewSchema>;
