/** The part of a coordinator's configuration that makes it one of a cluster: `cluster:` of `server-config.ts`. */
import { z } from 'zod';
import { limits } from './limits.js';

const folder = z.string().regex(/^\//, 'must be an absolute path');

const claimSchema = z.strictObject({
  storageClass: z.string().min(1).optional().describe('Without it, the cluster’s default.'),
  size: z
    .string()
    .regex(/^[1-9]\d*([KMGTP]i?)?$/, 'must be a quantity of bytes, as `10Gi`')
    .describe('As `10Gi`.'),
});

const linesSchema = z
  .strictObject({
    image: z
      .string()
      .min(1)
      .optional()
      .describe(
        'The runtime, pinned by digest: agent, shim, and stages without an image of their own. Without it, that of `pod`.',
      ),
    coordinatorUrl: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe('As lines reach the coordinator; without it, by the Service `podline-coordinator` of its namespace.'),
    caFile: z
      .string()
      .min(1)
      .optional()
      .describe(
        'File with the authority of `listen.tls.cert`, PEM, which agents are to trust. Without it, they trust what Node does.',
      ),
    cores: z.number().positive().max(4_096).default(2).describe('Of a line whose manifest does not say.'),
    ssdHostPath: folder.default('/mnt/podline-ssd').describe('Folder of each node that stands for its SSD.'),
    ssdClaim: claimSchema
      .optional()
      .describe('Storage of a node that each line claims in place of that folder. It goes with the line.'),
    volumeClaim: z
      .union([z.string().min(1), claimSchema])
      .optional()
      .describe(
        'Claim that all lines can mount, for major checkpoints and results, or what each pipeline is to claim; that stays when the pipeline goes. It goes before `volumeHostPath`.',
      ),
    volumeHostPath: folder.default('/mnt/podline-volume').describe('The same as a folder that is one on every node.'),
    user: z.int().min(1).max(65_535).default(10_001).describe('uid and gid of all containers of a line.'),
    resultRoot: folder
      .default('/podline-volume/results')
      .describe('Where results of a manifest lie whose `result.dir` is relative.'),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('Of agents and shims.'),
  })
  .prefault({})
  .describe('What the installation says of lines.');

export const clusterSchema = z
  .strictObject({
    watch: z
      .enum(['namespaced', 'cluster'])
      .default('namespaced')
      .describe('Pipelines of the coordinator’s own namespace, or of all.'),
    workload: z
      .enum(['auto', 'kruise', 'native'])
      .default('auto')
      .describe('Whose StatefulSets the lines are; `auto`: OpenKruise’s where the cluster has it.'),
    autoscaling: z
      .enum(['podline', 'hpa'])
      .default('podline')
      .describe(
        'Who scales pipelines whose manifest has `scaling`: the coordinator, or an HPA that asks it for the depth of the queue (manifests/components/autoscaling).',
      ),
    metricsPort: z.int().min(1).max(65_535).default(6_443).describe('Of `external.metrics.k8s.io`, with `autoscaling: hpa`.'),
    swapsPerSecondMax: z
      .number()
      .min(1)
      .max(10_000)
      .default(limits.swapsPerSecondMax)
      .describe(
        'Swaps sent to the API server in a second, over all lines; after a rest as many at once. More wait, and the log says so.',
      ),
    namespace: z.string().min(1).optional().describe('Its own; in a pod, where it runs.'),
    pod: z.string().min(1).optional().describe('Its own, whose container `coordinator` has the image of the installation.'),
    kubeconfig: z.string().min(1).optional().describe('File; without it, what kubectl would use, or the pod’s own account.'),
    lines: linesSchema,
  })
  .describe('Pipelines are custom resources, and lines pods (docs/cluster.md). Without it, none of that.');
export type ClusterConfig = z.infer<typeof clusterSchema>;
