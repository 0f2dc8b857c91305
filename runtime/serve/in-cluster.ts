/** The cluster's part of a coordinator, from its configuration. */
import { readFile } from 'node:fs/promises';
import type { Depth } from '../cluster/external-metrics.js';
import type { MetricsApi } from '../cluster/metrics-api.js';
import { openCluster, type Cluster } from '../cluster/open-cluster.js';
import type { LineSettings } from '../cluster/reconciler-options.js';
import type { ClusterConfig } from '../contracts/cluster-config.js';
import { PodlineError } from '../contracts/errors.js';
import type { ServerConfig } from '../contracts/server-config.js';
import type { PipelineView } from '../contracts/views.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import { defaultGroup } from '../line/groups.js';
import type { Logger } from '../platform/logger.js';
import { tracingVariables } from '../telemetry/tracing.js';

/** Throws PDL_CONFIG_INVALID, and what `openCluster` throws. */
export async function openServedCluster(
  { listen, autoscaler }: ServerConfig,
  config: ClusterConfig,
  logger: Logger,
): Promise<Cluster> {
  const { namespace, watch, workload, autoscaling, swapsPerSecondMax, pod, kubeconfig } = config;
  if (namespace === undefined)
    throw new PodlineError('PDL_CONFIG_INVALID', 'cluster.namespace: the coordinator does not know where it runs', {
      place: 'cluster.namespace',
      hint: 'Name it, or set PODLINE_NAMESPACE from metadata.namespace of the pod.',
    });
  const { volumeClaim, volumeHostPath, caFile, coordinatorUrl, ...lines } = config.lines;
  const scheme = listen.tls === undefined ? 'http' : 'https';
  return openCluster({
    namespace,
    watch,
    workload,
    // As with an HPA: it asks for lines through the resource.
    autoscaling: autoscaler === undefined ? autoscaling : 'other',
    swapsPerSecondMax,
    pod,
    kubeconfig,
    lines: {
      ...lines,
      coordinatorUrl: coordinatorUrl ?? `${scheme}://podline-coordinator.${namespace}.svc:${String(listen.port)}`,
      volume: volumeOf(volumeClaim) ?? { hostPath: volumeHostPath },
      agentVariables: tracingVariables(process.env),
      authority: caFile === undefined ? undefined : await readAuthority(caFile),
    },
    logger,
  });
}

const volumeOf = (claim: ClusterConfig['lines']['volumeClaim']): LineSettings['volume'] | undefined =>
  typeof claim === 'string' ? { claim } : claim;

async function readAuthority(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw new PodlineError('PDL_CONFIG_INVALID', `cluster.lines.caFile: ${file} cannot be read`, { place: file, cause: thrown });
  }
}

/** Answers HPAs, where they scale; undefined where they do not. */
export async function openQueueDepths(
  { autoscaling, metricsPort }: ClusterConfig,
  cluster: Cluster,
  coordinator: Pick<Coordinator, 'pipeline' | 'pipelines'>,
): Promise<MetricsApi | undefined> {
  if (autoscaling !== 'hpa') return undefined;
  return cluster.openMetrics(metricsPort, async (pipeline) => {
    const names = pipeline === undefined ? (await coordinator.pipelines()).map(({ name }) => name) : [pipeline];
    return (await Promise.all(names.map(async (name) => depthsOf(await coordinator.pipeline(name))))).flat();
  });
}

/** By group where this coordinator leads. A standby knows of the pipeline as a whole, which is the same where there is one group. */
function depthsOf({ name: pipeline, flow, counts, pipeline: resolved }: PipelineView): Depth[] {
  if (flow !== undefined) return flow.groups.map(({ group, queued, running }) => ({ pipeline, group, shards: queued + running }));
  if ((resolved?.spec.groups.length ?? 0) > 0)
    throw new PodlineError('PDL_NOT_LEADER', 'only the leader knows how many shards each group has');
  return [{ pipeline, group: defaultGroup, shards: counts.pending + counts.running }];
}
