/**
 * Everything of a cluster that a coordinator needs, in one: the driver for its lines, and the reconciler of pipelines.
 *
 * Whoever composes opens it, gives `driver` to the coordinator that it makes, and starts it with that coordinator:
 *
 *   const cluster = await openCluster(options);
 *   const coordinator = await createCoordinator({ journal, driver: cluster.driver });
 *   await cluster.start(coordinator);        // pipelines are worked on from here on
 *   …
 *   await cluster.close();                   // lines go on
 */
import type { LineDriver } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import { systemClock, type Clock } from '../platform/clock.js';
import { packageRoot } from '../platform/entries.js';
import type { Logger } from '../platform/logger.js';
import { splitInput } from '../sources/split.js';
import type { Desk } from './desk.js';
import { ImageCode } from './image-code.js';
import { parseImageName } from './image-string.js';
import { isStatus, openKubeRest, type KubeObject, type KubeRest } from './kube-rest.js';
import { LinePods } from './line-pods.js';
import { ManagedDriver } from './managed-driver.js';
import type { Workloads } from './plan-pod.js';
import { objectPath } from './resources.js';
import { Reconciler, type LineSettings } from './reconciler.js';

export interface OpenClusterOptions {
  /** The coordinator's own. */
  namespace: string;
  /** `namespaced`: pipelines of that namespace. `cluster`: of all. */
  watch: 'namespaced' | 'cluster';
  /** File; without it, what kubectl would use, or the pod's own account. */
  kubeconfig?: string | undefined;
  /** Whose StatefulSets; `auto`: OpenKruise's where the cluster has it. */
  workload?: Workloads | 'auto' | undefined;
  /** Our own pod, whose container `coordinator` runs the image of the installation. */
  pod?: string | undefined;
  /** What the installation says of lines. `image` is the coordinator's own, pinned by digest; without it, that of `pod`. */
  lines: Omit<LineSettings, 'image'> & { image?: string | undefined };
  /** What lines show to the coordinator. */
  token: string;
  /** Where our own image has `pipelines/<name>`; without it, where this package lies. */
  imageRoot?: string | undefined;
  logger: Logger;
  clock?: Clock | undefined;
}

export interface Cluster {
  readonly driver: LineDriver;
  /** Pipelines are worked on from now on. Resolves when what is there was seen once. */
  start(coordinator: Desk): Promise<void>;
  /** Lines go on. May be called twice. */
  close(): Promise<void>;
}

/** Throws KubeFailure when the API server cannot be asked, PDL_SWAP_FAILED for an image that is not pinned. */
export async function openCluster(options: OpenClusterOptions): Promise<Cluster> {
  const { logger, namespace, watch, token } = options;
  const clock = options.clock ?? systemClock;
  const rest = openKubeRest({ kubeconfig: options.kubeconfig });
  const lines = { ...options.lines, image: options.lines.image ?? (await imageOf(rest, namespace, options.pod)) };
  assertPinned(lines.image);
  const workload = await chooseWorkload(rest, options.workload ?? 'auto');
  const delay = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      clock.after(ms, resolve);
    });
  const pods = new LinePods({ logger, delay, random: Math.random });
  const driver = new ManagedDriver(workload, pods);
  const code = new ImageCode({
    rest,
    ownImage: lines.image,
    ownRoot: options.imageRoot ?? packageRoot,
    user: lines.user,
  });
  let reconciler: Reconciler | undefined;
  let closing: Promise<void> | undefined;
  return {
    driver,
    start: async (coordinator) => {
      const watched = watch === 'cluster' ? undefined : namespace;
      const parts = { rest, desk: coordinator, split: splitInput, pods, code, namespace, watched, workload, lines, token };
      reconciler = new Reconciler({ ...parts, clock, random: Math.random, logger });
      driver.connect(reconciler);
      await reconciler.start();
      logger.info({ namespace, watch, workload }, 'pipelines of the cluster are worked on');
    },
    close: () =>
      (closing ??= (async () => {
        await reconciler?.close();
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
