/** The configuration of a coordinator that runs as a process of its own: what `podline serve --config` reads. Relative paths start from its folder. */
import { z } from 'zod';
import { addressesSchema, allowedSchema } from './access.js';
import { clusterSchema } from './cluster-config.js';
import { connectorsSchema } from './connectors.js';
import { durationText } from './texts.js';

const bound = z.int().positive();
const kept = z.int().min(1).max(100_000_000);

export const serverConfigSchema = z
  .strictObject({
    listen: z
      .strictObject({
        host: z
          .string()
          .min(1)
          .default('127.0.0.1')
          .describe('The address to listen on; `0.0.0.0` for all of IPv4, `::` for all.'),
        port: z.int().min(0).max(65_535).default(7_433).describe('0: any that is free.'),
        tls: z
          .strictObject({
            cert: z.string().min(1).describe('File with the certificate and its chain, PEM. Read again when it changes.'),
            key: z.string().min(1).describe('File with its key, PEM.'),
          })
          .optional()
          .describe('Without it, HTTP in plain text, which is for loopback.'),
        plaintext: z
          .boolean()
          .default(false)
          .describe('Whether to listen beyond loopback without TLS: where something before it has it.'),
        advertise: z
          .url({ protocol: /^https?$/ })
          .optional()
          .describe('The address by which lines and clients reach it, where it is another one.'),
      })
      .prefault({})
      .describe('Where the API is.'),
    workDir: z
      .string()
      .min(1)
      .default('./podline')
      .describe('Folder for what it keeps: journal, bundled stages, logs, the token of its operator.'),
    journal: z
      .string()
      .regex(/^(lmdb:.+|postgres(ql)?:\/\/.+)$/, 'must be lmdb:<folder> or postgres://…')
      .optional()
      .describe('`lmdb:<folder>`, or `postgres://…`. Without it, LMDB in the work directory.'),
    retention: z
      .strictObject({
        doneMax: kept.optional().describe('Completed and cancelled shards; 1,000,000 without it.'),
        doneFor: durationText.optional().describe('How long they are kept; `30d` without it.'),
        failedMax: kept.optional().describe('Dead letters; 1,000,000 without it.'),
        failedFor: durationText.optional().describe('How long they are kept; `90d` without it.'),
        eventsMax: kept.optional().describe('Events; 100,000 without it.'),
        eventsFor: durationText.optional().describe('How long they are kept; `7d` without it.'),
      })
      .default({})
      .describe('What the journal keeps of what has ended; whichever bound is met first. From 1 s to 3,650 days.'),
    driver: z
      .enum(['none', 'local'])
      .default('none')
      .describe('Who starts lines: nobody (they come by themselves), or this machine. In a cluster, `cluster` says it.'),
    cluster: clusterSchema.optional(),
    autoscaler: z
      .strictObject({
        command: z
          .tuple([z.string().min(1)], z.string())
          .optional()
          .describe(
            'Program and arguments, run without a shell at each change: PODLINE_LINES_MAX in its environment, all of it as JSON on stdin. With a `/` in it the program is a path from this file’s folder.',
          ),
        webhook: z
          .strictObject({ url: z.url({ protocol: /^https?$/ }).describe('To an address that `webhooks` allows.') })
          .optional()
          .describe('POSTed to at each change, signed with the secrets of `webhooks`.'),
        timeoutSeconds: z.number().min(1).max(300).default(30).describe('For the command to end, or for an answer.'),
      })
      .optional()
      .describe('Another autoscaler that is told W_max: by a command, or by a webhook (docs/quota-and-scaling.md).'),
    pipelines: z
      .array(
        z.strictObject({
          manifest: z.string().min(1).describe('File of the manifest.'),
          lines: z.int().min(0).max(1_024).default(1).describe('Lines that driver `local` starts for it.'),
        }),
      )
      .default([])
      .describe('Applied at the start.'),
    connectors: connectorsSchema.default([]).describe('Brokers and folders that requests come from (docs/connectors.md).'),
    auth: z
      .strictObject({
        tokens: z.string().min(1).optional().describe('File of tokens (docs/security.md). Read again when it changes.'),
        lineSecret: z
          .string()
          .min(1)
          .optional()
          .describe(
            'File with at least 32 bytes that tokens of lines are made with. Without it, one is made in the work directory.',
          ),
        kubernetes: z
          .strictObject({
            audiences: z
              .array(z.string().min(1))
              .default([])
              .describe('For whom a token must have been made; without any, for the API server.'),
            namespace: z
              .string()
              .min(1)
              .optional()
              .describe('In which rights to pipelines are looked up; without it, in the coordinator’s own.'),
          })
          .optional()
          .describe('Tokens of accounts of the cluster, by TokenReview and SubjectAccessReview.'),
      })
      .prefault({})
      .describe('Whose tokens are taken.'),
    allowed: allowedSchema
      .prefault({})
      .describe('Where sources may be read from and results written to. What is not named is refused.'),
    webhooks: addressesSchema
      .extend({
        secret: z
          .string()
          .min(1)
          .optional()
          .describe('File with a secret a line, the newest first; each signs. Without it, no webhook is sent.'),
        triesMax: z.int().min(1).max(100).default(12).describe('Of one notice, before it is given up.'),
        inFlightMax: z.int().min(1).max(1_024).default(32).describe('Notices under way at once.'),
        timeoutSeconds: z.number().min(1).max(300).default(10).describe('For an answer.'),
      })
      .prefault({})
      .describe('Where notices of completion may be sent to.'),
    limits: z
      .strictObject({
        ratePerSecond: z.number().positive().optional().describe('Requests of one token.'),
        connectionsMax: bound.optional().describe('Open at once; beyond it, the one that is idle longest makes room.'),
        requestBytesMax: bound.optional().describe('Of a JSON body, and of a line of NDJSON.'),
        submitStreamsMax: bound.optional().describe('NDJSON submissions under way at once.'),
        eventStreamsMax: bound.optional().describe('Event streams open at once.'),
        submitBatchMax: bound.max(10_000).optional().describe('Submissions of one batch.'),
        pendingShardsMax: bound.optional().describe('Shards of a pipeline that may wait; beyond it, 429.'),
      })
      .default({})
      .describe('Bounds; without them, those of docs/api.md.'),
  })
  .describe('A Podline coordinator.');
export type ServerConfig = z.infer<typeof serverConfigSchema>;

/** Environment variables that go before the file, and what they set. */
export const configOverrides = {
  PODLINE_LISTEN_HOST: ['listen', 'host'],
  PODLINE_LISTEN_PORT: ['listen', 'port'],
  PODLINE_LISTEN_ADVERTISE: ['listen', 'advertise'],
  PODLINE_TLS_CERT: ['listen', 'tls', 'cert'],
  PODLINE_TLS_KEY: ['listen', 'tls', 'key'],
  PODLINE_WORK_DIR: ['workDir'],
  PODLINE_JOURNAL: ['journal'],
  PODLINE_DRIVER: ['driver'],
  PODLINE_TOKENS: ['auth', 'tokens'],
  PODLINE_LINE_SECRET: ['auth', 'lineSecret'],
  PODLINE_WEBHOOK_SECRET: ['webhooks', 'secret'],
  PODLINE_NAMESPACE: ['cluster', 'namespace'],
  PODLINE_POD: ['cluster', 'pod'],
  PODLINE_AUTOSCALING: ['cluster', 'autoscaling'],
} as const satisfies Record<string, readonly string[]>;
