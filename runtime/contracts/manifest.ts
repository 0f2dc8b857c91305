/**
 * The pipeline manifest: one zod schema, from which its TypeScript type, its JSON Schema and, for a
 * cluster, the custom resource definition come. `config/manifest.ts` reads YAML into it and says where a fault is.
 *
 * Quantities are written as in Kubernetes (`512Mi`, `2Gi`, `500m`), durations as `250ms`, `90s`, `10m`, `2h`.
 */
import { z } from 'zod';
import { columnTypes } from './block.js';
import { groupSchema, queueSchema, quotaSchema, scalingSchema } from './flow-spec.js';
import { durationText, name, quantityText } from './texts.js';

/** JSON Schema's own words, the subset that a parameter needs. */
export const parameterSchema = z
  .strictObject({
    type: z.enum(['string', 'number', 'integer', 'boolean']).describe('What its values are.'),
    description: z.string().optional().describe('For people.'),
    default: z.union([z.string(), z.number(), z.boolean()]).optional().describe('Without one, the parameter must be given.'),
    enum: z
      .array(z.union([z.string(), z.number()]))
      .min(1)
      .optional()
      .describe('The only values that it may have.'),
    minimum: z.number().optional().describe('Of numbers: the smallest.'),
    maximum: z.number().optional().describe('Of numbers: the largest.'),
    pattern: z.string().optional().describe('Of strings: a regular expression that they match.'),
  })
  .describe('What one parameter of a shard may be. Without a default it must be given.');

const webhookSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe('Where the notice is sent to, signed; it must be allowed by the coordinator.'),
  on: z
    .array(z.enum(['completed', 'failed', 'cancelled']))
    .min(1)
    .default(['completed', 'failed', 'cancelled'])
    .describe('The endings of which it is told.'),
});

export const inputFormats = ['parquet', 'csv', 'ndjson', 'arrow', 'bytes'] as const;
export type InputFormat = (typeof inputFormats)[number];

const columnDeclaration = z.enum(columnTypes);

const inputSchema = z
  .strictObject({
    source: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1), z.strictObject({ inline: z.unknown() })])
      .optional()
      .describe(
        'Files, glob patterns, folders, http(s):// addresses, `npm:package/path` of an installed package, or an inline payload. Relative paths are relative to the manifest.',
      ),
    format: z.enum(inputFormats).default('bytes').describe('How the source is read: `bytes` as it is, the others into columns.'),
    columns: z
      .union([z.array(z.string().min(1)).min(1), z.record(z.string(), columnDeclaration)])
      .optional()
      .describe('The columns to read; as a map, with the type that each must have.'),
    chunk: z
      .union([z.strictObject({ rows: z.int().positive().describe('Rows of a shard.') }), z.strictObject({ bytes: quantityText })])
      .optional()
      .describe('Split the source into many shards, each record in exactly one.'),
    blockRows: z
      .int()
      .min(1)
      .max(16_777_216)
      .default(65_536)
      .describe('Rows of a block: the unit of commit and of parallel work.'),
    blockBytes: quantityText.default('4Mi').describe('Bytes of a block, for format bytes.'),
  })
  .prefault({});

const resourcesSchema = z
  .strictObject({
    cpu: quantityText.optional().describe('Cores.'),
    memory: quantityText.optional().describe('Bytes; a stage that takes more fails with PDL_STAGE_MEMORY.'),
  })
  .default({});

const stageSchema = z
  .strictObject({
    name,
    description: z.string().optional().describe('For people.'),
    after: z
      .array(z.string().max(63))
      .max(256)
      .optional()
      .describe('The stages whose output this one reads; without it, the input of the pipeline.'),
    combine: z
      .enum(['zip', 'concat'])
      .default('zip')
      .describe(
        'With several stages in `after`: zip puts their columns side by side, block by block; concat puts their blocks one after another.',
      ),
    uses: z
      .string()
      .min(1)
      .optional()
      .describe('A TypeScript or JavaScript module that exports defineStage({…}); relative to the manifest.'),
    command: z.array(z.string()).min(1).optional().describe('A program of any language and its arguments.'),
    image: z.string().min(1).optional().describe('The container image, by digest, in which the stage runs in a cluster.'),
    stdio: z
      .enum(['files', 'ndjson'])
      .default('files')
      .describe('How a command gets its data: as files in PODLINE_INPUT_DIR, or NDJSON on stdin and stdout.'),
    output: z
      .enum(['table', 'bytes', 'files'])
      .default('table')
      .describe('What a command produces. A TypeScript stage says so itself.'),
    executor: z
      .enum(['thread', 'process', 'container', 'job'])
      .default('thread')
      .describe(
        'Where a TypeScript stage runs: in worker threads of its slot, or in a process of its own, whose end harms nothing else. `container` and `job` are a cluster’s.',
      ),
    bound: z
      .enum(['cpu', 'io'])
      .default('cpu')
      .describe('What the stage waits for: as many cpu stages as cores run at once, io stages beyond that.'),
    workers: z
      .union([z.literal('auto'), z.int().min(1).max(256)])
      .default('auto')
      .describe('Threads that work on blocks side by side.'),
    parameters: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
      .default({})
      .describe('Constants of this stage; they stand before the parameters of the shard.'),
    retries: z
      .int()
      .min(0)
      .max(100)
      .default(2)
      .describe('How often the stage is tried again on the same shard before the shard fails.'),
    timeout: durationText
      .optional()
      .describe('A run that takes longer has failed. Counted from the moment at which the inputs of the stage are whole.'),
    resources: resourcesSchema,
  })
  .refine((stage) => (stage.uses === undefined) !== (stage.command === undefined), {
    error: 'a stage has either `uses` (TypeScript) or `command` (any program), and not both',
  });

const checkpointCadence = z.union([
  z.enum(['stage', 'never', 'auto']),
  z.strictObject({ blocks: z.int().positive().describe('After so many new blocks.') }),
  z.strictObject({ every: durationText }),
]);

const checkpointsSchema = z
  .strictObject({
    ssd: checkpointCadence.default('stage').describe('When committed blocks are copied to the SSD of the node.'),
    major: checkpointCadence.default('never').describe('When they are copied to the persistent volume too.'),
    retain: z.int().min(1).max(100).default(2).describe('Manifests of a shard that are kept per place.'),
    keepCompleted: z
      .boolean()
      .default(false)
      .describe('Keep the checkpoints of completed shards, so that a stage can be run again on them.'),
  })
  .prefault({});

const placementSchema = z
  .strictObject({
    nodeSelector: z.record(z.string(), z.string()).optional().describe('Labels that a node must have.'),
    tolerations: z
      .array(
        z.strictObject({
          key: z.string().optional(),
          operator: z.enum(['Exists', 'Equal']).optional(),
          value: z.string().optional(),
          effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
          tolerationSeconds: z.int().nonnegative().optional(),
        }),
      )
      .max(64)
      .optional()
      .describe('Taints of nodes that do not keep its lines away, as in Kubernetes.'),
    spread: z
      .enum(['prefer', 'require', 'none'])
      .default('prefer')
      .describe(
        '`prefer`: lines are spread over nodes where that is possible. `require`: no node has more than one line above any other. `none`: as it comes.',
      ),
    nodesMin: z
      .int()
      .min(1)
      .max(1_000)
      .default(1)
      .describe('With `spread: require`: nodes over which the lines must be spread; with fewer, lines wait.'),
    priorityClass: z.string().min(1).optional().describe('Which work goes first on a full node, and which is taken away for it.'),
  })
  .prefault({})
  .describe('Where lines run in a cluster.');

export const pipelineSpecSchema = z.strictObject({
  description: z.string().optional().describe('For people.'),
  lines: z
    .int()
    .min(0)
    .max(10_000)
    .default(1)
    .describe(
      'Lines of the group `default` in a cluster; what `kubectl scale` and an autoscaler change. On a laptop `--lines` says it.',
    ),
  placement: placementSchema,
  parameters: z.record(z.string(), parameterSchema).default({}).describe('What the parameters of a shard may be, by name.'),
  input: inputSchema,
  scratch: z
    .strictObject({
      medium: z.enum(['Memory', 'SSD']).default('Memory').describe('`Memory`: tmpfs. `SSD`: a folder on disk.'),
      size: quantityText.default('1Gi').describe('Bound of what the streams of one line may occupy in the medium.'),
      spill: z.boolean().default(true).describe('Whether streams may move to SSD when the medium is full.'),
    })
    .prefault({}),
  slots: z
    .union([z.literal('auto'), z.int().min(1).max(128)])
    .default('auto')
    .describe('Stages that a line holds loaded at once; the others take turns.'),
  residents: z
    .union([z.literal('auto'), z.int().min(1).max(256)])
    .default('auto')
    .describe('Shards that a line holds at once, so that one swap is paid for several.'),
  streaming: z
    .enum(['auto', 'off'])
    .default('auto')
    .describe(
      '`auto`: a TypeScript stage of the form block, row, bytes or aggregate may begin while the stage before it still works, when its slot is warm and a core is free. `off`: a stage begins when its inputs are whole. For kubectl it is written in quotes: it takes a bare `off` for false.',
    ),
  stages: z.array(stageSchema).min(1).max(512).describe('The graph.'),
  checkpoints: checkpointsSchema,
  retries: z
    .strictObject({
      limit: z
        .int()
        .min(0)
        .max(100)
        .default(3)
        .describe('How often a shard is leased again after it failed, before it becomes a dead letter.'),
      backoff: z
        .strictObject({
          initial: durationText.default('1s').describe('The wait after the first failure.'),
          factor: z.number().min(1).max(10).default(2).describe('By which it grows with each further one.'),
          max: durationText.default('60s').describe('The longest wait.'),
        })
        .prefault({}),
    })
    .prefault({}),
  timeLimits: z
    .strictObject({
      pending: durationText.optional().describe('A shard that waits longer has failed.'),
      running: durationText.optional().describe('A shard that has run longer, all its runs together, has failed.'),
    })
    .default({}),
  resources: z
    .strictObject({
      cpu: quantityText
        .optional()
        .describe('Cores of a line: so many cpu-bound stages run at once; without it, those of the machine.'),
      memory: quantityText.optional().describe('Of the pod of a line, in a cluster.'),
      devices: z
        .record(
          z.string().regex(/^[a-z0-9.-]+\/[A-Za-z0-9][-A-Za-z0-9_.]*$/, 'must be a name such as nvidia.com/gpu'),
          quantityText,
        )
        .optional()
        .describe('Extended resources of a line, by name: `nvidia.com/gpu`.'),
    })
    .default({}),
  groups: z
    .array(groupSchema)
    .max(64)
    .default([])
    .describe(
      'Lines may be divided into groups, each with shards of its own; shards of no group are worked on by the lines of `default`.',
    ),
  quota: quotaSchema.default({}),
  scaling: scalingSchema,
  queue: queueSchema,
  swap: z
    .strictObject({
      gracePeriodSeconds: z
        .number()
        .min(0)
        .max(3600)
        .default(0)
        .describe('Wait between the end of one stage and the start of the next in a slot.'),
      resize: z
        .boolean()
        .default(false)
        .describe(
          'In a cluster of Kubernetes 1.33 or newer: with each swap the pod is resized in place, so that it asks its node for what the stages in its slots may use at once. Without it, it asks for the most that any of them may, all its life.',
        ),
    })
    .prefault({}),
  result: z
    .strictObject({
      dir: z.string().min(1).default('./results').describe('Each shard gets a folder in it, named by its key.'),
      format: z
        .enum(['parquet', 'arrow', 'csv', 'ndjson'])
        .default('arrow')
        .describe('How tables are written; bytes and files are written as they are.'),
      stages: z
        .array(z.string())
        .optional()
        .describe('The stages whose output is the result; without it, those that no other stage reads.'),
    })
    .prefault({}),
  webhooks: z.array(webhookSchema).max(16).default([]).describe('Who is told by HTTP when a shard has ended.'),
});

export const pipelineSchema = z
  .strictObject({
    apiVersion: z.literal('podline.dev/v1alpha1').describe('Of this page.'),
    kind: z.literal('Pipeline').describe('What the document is.'),
    metadata: z.looseObject({ name, labels: z.record(z.string(), z.string()).optional().describe('As in Kubernetes.') }),
    spec: pipelineSpecSchema,
  })
  .describe('A Podline pipeline: a graph of stages that come to a shard in shared memory.');

export type PipelineManifest = z.infer<typeof pipelineSchema>;
export type PipelineSpec = z.infer<typeof pipelineSpecSchema>;
export type StageSpec = z.infer<typeof stageSchema>;
export type ParameterSchema = z.infer<typeof parameterSchema>;
export type ParameterValue = string | number | boolean;
export type Parameters = Record<string, ParameterValue>;
export type CheckpointCadence = z.infer<typeof checkpointCadence>;

/** A stage's code as the coordinator resolved it: what a shim loads, and the version that lineage is made of. */
export interface ResolvedStage extends Omit<StageSpec, 'after'> {
  /** Never absent: `['input']` where the manifest names none. */
  after: string[];
  /** Digest of the bundle (uses), of command and image, hex. */
  version: string;
  /** uses: the bundled ES module. A relative path is resolved against PODLINE_STAGES_DIR. */
  module?: string | undefined;
  /** command: its working directory. */
  cwd?: string | undefined;
  /** What the stage's definition declares, read once when the pipeline was loaded; commands have none. */
  declares?: StageDeclaration | undefined;
  timeoutMs?: number | undefined;
}

/** The part of a stage definition that is data. */
export interface StageDeclaration {
  form: 'block' | 'row' | 'aggregate' | 'bytes' | 'files';
  /** Columns that it needs, by name. Absent: it takes what comes. */
  input?: Record<string, { type: (typeof columnTypes)[number]; nullable?: boolean | undefined }> | undefined;
  /** Columns that it writes. */
  output?: Record<string, { type: (typeof columnTypes)[number]; nullable?: boolean | undefined }> | undefined;
  /** Input columns that its output refers to: all, none, or those named, in that order (`runtime/line/kept.ts`). */
  keep: 'all' | 'none' | string[];
  /** Kept columns that go on under another name: new name → name in the input. */
  rename?: Record<string, string> | undefined;
  /** It reads filtered columns in place, with the selection beside them, instead of gathered ones. */
  selections?: boolean | undefined;
}

/** A pipeline as lines get it: resolved, checked, numbered. */
export interface Pipeline {
  name: string;
  /** Counts up with every change. */
  revision: number;
  spec: PipelineSpec;
  stages: ResolvedStage[];
  /** The manifest's folder: what relative paths of sources and commands start from. */
  baseDir: string;
}
