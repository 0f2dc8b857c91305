/**
 * Everything of a cluster that a coordinator needs, in one: the driver for its lines, what there is for them, whose tokens they show, the
 * lease of the leader, and the reconciler of pipelines, which only the leader runs.
 *
 * Whoever composes opens it, gives its parts to the coordinator that it makes, and starts it with that coordinator when that one leads:
 *
 *   const cluster = await openCluster(options);
 *   const coordinator = await createCoordinator({ journal, driver: cluster.driver, capacity: cluster.capacity });
 *   await cluster.start(coordinator);        // pipelines are worked on from here on
 *   await cluster.stop();                    // another one leads: lines go on
 *   …
 *   await cluster.close();
 */
import type { Gate } from '../contracts/access.js';
import type { Autoscaler, Capacity } from '../contracts/capacity.js';
import type { LineDriver } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { LeaderLease } from '../contracts/leadership.js';
import { systemClock, type Clock } from '../platform/clock.js';
import { packageRoot } from '../platform/entries.js';
import type { Logger } from '../platform/logger.js';
import { splitInput } from '../sources/split.js';
import type { Desk } from './desk.js';
import { openHpaAutoscaler } from './hpa-autoscaler.js';
import { ImageCode } from './image-code.js';
import { parseImageName } from './image-string.js';
import { isStatus, openKubeRest, type KubeObject, type KubeRest } from './kube-rest.js';
import { openKubeLease } from './kube-lease.js';
import { LinePods } from './line-pods.js';
import { ManagedDriver } from './managed-driver.js';
import { openMetricsApi, type MetricsApi, type MetricsApiOptions } from './metrics-api.js';
import { authorityName, lineAudience } from './names.js';
import { PipelineNames } from './pipeline-names.js';
import type { Workloads } from './plan-pod.js';
import { PodTokens } from './pod-tokens.js';
import { Quotas } from './quotas.js';
import { objectPath } from './resources.js';
import { Reconciler } from './reconciler.js';
import type { LineSettings } from './reconciler-options.js';

export interface OpenClusterOptions {
  /** The coordinator's own. */
  namespace: string;
  /** `namespaced`: pipelines of that namespace. `cluster`: of all. */
  watch: 'namespaced' | 'cluster';
  /** File; without it, what kubectl would use, or the pod's own account. */
  kubeconfig?: string | undefined;
  /** Whose StatefulSets; `auto`: OpenKruise's where the cluster has it. */
  workload?: Workloads | 'auto' | undefined;
  /** Who scales pipelines whose manifest has `scaling`; the coordinator without it. */
  autoscaling?: 'podline' | 'hpa' | 'other' | undefined;
  /** Swaps sent in a second, over all lines; `limits.swapsPerSecondMax` without it. */
  swapsPerSecondMax?: number | undefined;
  /** Our own pod, whose container `coordinator` runs the image of the installation. */
  pod?: string | undefined;
  /** What the installation says of lines. `image` is the coordinator's own, pinned by digest; without it, that of `pod`. */
  lines: Omit<LineSettings, 'image' | 'credentials'> & { image?: string | undefined };
  /** Where our own image has `pipelines/<name>`; without it, where this package lies. */
  imageRoot?: string | undefined;
  logger: Logger;
  clock?: Clock | undefined;
}

export interface Cluster {
  readonly driver: LineDriver;
  readonly capacity: Capacity;
  /** Of a line that does not say. */
  readonly cores: number;
  /** Absent where the coordinator scales. */
  readonly autoscaler: Autoscaler | undefined;
  /** Knows the tokens of lines' pods. */
  readonly lineGate: Gate;
  /** Of coordinators of this namespace. */
  openLease(): LeaderLease;
  /** With `autoscaling: hpa`: answers HPAs, from every replica. Throws KubeFailure. */
  openMetrics(port: number, depths: MetricsApiOptions['depths']): Promise<MetricsApi>;
  /** Pipelines are worked on from now on. Resolves when what is there was seen once. */
  start(coordinator: Desk): Promise<void>;
  /** They are not any more; lines go on. It may be started again. Idempotent. */
  stop(): Promise<void>;
  /** Stops, and lets go of the API server. Idempotent. */
  close(): Promise<void>;
}

/** Throws KubeFailure when the API server cannot be asked, PDL_USAGE for an image that is not pinned. */
export async function openCluster(options: OpenClusterOptions): Promise<Cluster> {
  const { logger, namespace, watch, autoscaling = 'podline' } = options;
  const clock = options.clock ?? systemClock;
  const rest = openKubeRest({ kubeconfig: options.kubeconfig });
  const image = options.lines.image ?? (await imageOf(rest, namespace, options.pod));
  assertPinned(image);
  const audience = lineAudience(namespace);
  const authority = options.lines.authority === undefined ? {} : { authority: authorityName };
  const lines = { ...options.lines, image, credentials: { audience, ...authority } };
  const workload = await chooseWorkload(rest, options.workload ?? 'auto');
  const delay = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      clock.after(ms, resolve);
    });
  const code = new ImageCode({
    rest,
    ownImage: image,
    ownRoot: options.imageRoot ?? packageRoot,
    user: lines.user,
  });
  const watched = watch === 'cluster' ? undefined : namespace;
  const names = new PipelineNames(namespace);
  const pods = new LinePods({
    logger,
    delay,
    random: Math.random,
    nowMs: () => clock.nowMs(),
    swapsPerSecondMax: options.swapsPerSecondMax,
  });
  const quotas = new Quotas({ rest, clock, logger });
  let reconciler: Reconciler | undefined;
  const stop = async (): Promise<void> => {
    const stopping = reconciler;
    reconciler = undefined;
    await stopping?.close();
    for (const name of pods.names) pods.forget(name);
    await quotas.close();
  };
  let closing: Promise<void> | undefined;
  return {
    driver: new ManagedDriver(workload, pods, () => reconciler),
    capacity: quotas,
    cores: lines.cores,
    autoscaler: autoscaling === 'hpa' ? openHpaAutoscaler(() => reconciler) : undefined,
    lineGate: new PodTokens({ rest, audience, watched, suffixOf: (of) => names.suffixOf(of), clock, logger }),
    openMetrics: (port, depths) => openMetricsApi({ rest, namespace, port, depths, clock, logger }),
    openLease: () => openKubeLease({ rest, namespace, clock }),
    start: async (coordinator) => {
      const parts = { rest, desk: coordinator, split: splitInput, pods, code, namespace, watched, workload, lines };
      const of = { ...parts, quotas, autoscaling, clock, random: Math.random, logger };
      reconciler = new Reconciler(of);
      await reconciler.start();
      logger.info({ namespace, watch, workload, autoscaling }, 'pipelines of the cluster are worked on');
    },
    stop,
    close: () =>
      (closing ??= (async () => {
        await stop();
        rest.close();
      })()),
  };
}

async function imageOf(rest: KubeRest, namespace: string, pod: string | undefined): Promise<string> {
  if (pod === undefined) throw new PodlineError('PDL_USAGE', 'the image of the installation is not named');
  const { spec } = await rest.request<KubeObject>('GET', objectPath('Pod', { namespace, name: pod }));
  const { containers } = spec as { containers: { name: string; image: string }[] };
  return containers.find(({ name }) => name === 'coordinator')?.image ?? '';
}

function assertPinned(image: string): void {
  if (parseImageName(image).digest !== undefined) return;
  throw new PodlineError('PDL_USAGE', `the image of the installation, \`${image}\`, is not pinned by digest`, {
    hint: 'Name it as repository/name@sha256:…, in `images` of the kustomization or in the values of the chart.',
  });
}

async function chooseWorkload(rest: KubeRest, wanted: Workloads | 'auto'): Promise<Workloads> {
  if (wanted !== 'auto') return wanted;
  try {
    await rest.request('GET', '/apis/apps.kruise.io/v1beta1');
    return 'kruise';
  } catch (thrown) {
    if (isStatus(thrown, 404)) return 'native';
    throw thrown;
  }
}
