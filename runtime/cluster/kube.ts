/**
 * What the driver asks of a Kubernetes API server, and nothing more: the one place that speaks `@kubernetes/client-node`.
 *
 * Owns the informer that it starts; `close()` ends it. Answers of the server are parsed into views here.
 */
import {
  ApiException,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
  type V1ContainerStatus,
  type V1Pod,
} from '@kubernetes/client-node';
import type { Logger } from '../platform/logger.js';
import type { KubeObject } from './kube-rest.js';
import type { ContainerView, PodView } from './verdict.js';

/** A request that did not do what it should. `status` is absent when no answer came. */
export class KubeFailure extends Error {
  constructor(
    readonly status: number | undefined,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'KubeFailure';
  }
}

export interface PodWatch {
  changed(pod: PodView): void;
  gone(pod: PodView): void;
}

/** The pods of one namespace that a label selector picks, and the workload that makes them. Throws KubeFailure. */
export interface Kube {
  pod(name: string): Promise<PodView | undefined>;
  /** Strategic merge patch. */
  patchPod(name: string, patch: Record<string, unknown>): Promise<PodView>;
  /** The same of the subresource `resize`. */
  resizePod(name: string, patch: Record<string, unknown>): Promise<PodView>;
  /** Calls back for each pod, now and at each change, until `close()`. */
  watchPods(selector: string, watch: PodWatch): Promise<void>;
  /** Creates the Advanced StatefulSet, or makes an existing one equal to it. */
  applyStatefulSet(object: Record<string, unknown>): Promise<void>;
  scaleStatefulSet(name: string, replicas: number): Promise<void>;
  deleteStatefulSet(name: string): Promise<void>;
  putService(object: Record<string, unknown>): Promise<void>;
  putSecret(name: string, values: Record<string, string>): Promise<void>;
  close(): Promise<void>;
}

const kruise = { group: 'apps.kruise.io', version: 'v1beta1', plural: 'statefulsets' };
const fieldManager = 'podline';
/** Between the end of a broken watch and the next one. */
const watchAgainMs = 1_000;

export interface KubeOptions {
  namespace: string;
  /** File; without it, what kubectl would use, or the pod's own account. */
  kubeconfig?: string | undefined;
  logger: Logger;
}

export function openKube(options: KubeOptions): Kube {
  const config = new KubeConfig();
  if (options.kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(options.kubeconfig);
  return new ClientNodeKube(config, options);
}

class ClientNodeKube implements Kube {
  readonly #core: CoreV1Api;
  readonly #custom: CustomObjectsApi;
  readonly #closers: (() => Promise<void>)[] = [];
  #closed = false;

  constructor(
    private readonly config: KubeConfig,
    private readonly options: KubeOptions,
  ) {
    this.#core = config.makeApiClient(CoreV1Api);
    this.#custom = config.makeApiClient(CustomObjectsApi);
  }

  async pod(name: string): Promise<PodView | undefined> {
    try {
      return viewOf(await call(() => this.#core.readNamespacedPod({ name, namespace: this.options.namespace })));
    } catch (error) {
      if (error instanceof KubeFailure && error.status === 404) return undefined;
      throw error;
    }
  }

  async patchPod(name: string, patch: Record<string, unknown>): Promise<PodView> {
    const request = { name, namespace: this.options.namespace, body: patch, fieldManager };
    return viewOf(
      await call(() =>
        this.#core.patchNamespacedPod(request, setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch)),
      ),
    );
  }

  async resizePod(name: string, patch: Record<string, unknown>): Promise<PodView> {
    const request = { name, namespace: this.options.namespace, body: patch, fieldManager };
    return viewOf(
      await call(() =>
        this.#core.patchNamespacedPodResize(request, setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch)),
      ),
    );
  }

  async watchPods(selector: string, watch: PodWatch): Promise<void> {
    const { namespace, logger } = this.options;
    const list = () => this.#core.listNamespacedPod({ namespace, labelSelector: selector });
    const informer = makeInformer(this.config, `/api/v1/namespaces/${namespace}/pods`, list, selector);
    let again: NodeJS.Timeout | undefined;
    // While the API server is away the start itself fails: it is tried until it does not.
    const openAgain = (): void => {
      again = setTimeout(() => {
        if (!this.#closed) void informer.start().catch(openAgain);
      }, watchAgainMs);
    };
    informer.on('add', (pod) => {
      watch.changed(viewOf(pod));
    });
    informer.on('update', (pod) => {
      watch.changed(viewOf(pod));
    });
    informer.on('delete', (pod) => {
      watch.gone(viewOf(pod));
    });
    informer.on('error', (error: unknown) => {
      if (this.#closed) return;
      logger.warn({ err: String(error) }, 'the watch of the pods broke; it is opened again');
      openAgain();
    });
    this.#closers.push(async () => {
      clearTimeout(again);
      await informer.stop();
    });
    await call(() => informer.start());
  }

  async applyStatefulSet(object: Record<string, unknown>): Promise<void> {
    const name = nameOf(object);
    const request = { ...kruise, namespace: this.options.namespace, name, body: object, fieldManager, force: true };
    await call(() =>
      this.#custom.patchNamespacedCustomObject(request, setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply)),
    );
  }

  async scaleStatefulSet(name: string, replicas: number): Promise<void> {
    const request = { ...kruise, namespace: this.options.namespace, name, body: { spec: { replicas } }, fieldManager };
    await call(() =>
      this.#custom.patchNamespacedCustomObject(request, setHeaderOptions('Content-Type', PatchStrategy.MergePatch)),
    );
  }

  async deleteStatefulSet(name: string): Promise<void> {
    await unlessMissing(() => this.#custom.deleteNamespacedCustomObject({ ...kruise, namespace: this.options.namespace, name }));
  }

  async putService(object: Record<string, unknown>): Promise<void> {
    const request = { name: nameOf(object), namespace: this.options.namespace, body: object, fieldManager, force: true };
    await call(() => this.#core.patchNamespacedService(request, setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply)));
  }

  async putSecret(name: string, values: Record<string, string>): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData: values };
    const request = { name, namespace: this.options.namespace, body, fieldManager, force: true };
    await call(() => this.#core.patchNamespacedSecret(request, setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply)));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(this.#closers.map((close) => close()));
  }
}

function nameOf(object: Record<string, unknown>): string {
  const metadata = object['metadata'];
  const name = typeof metadata === 'object' && metadata !== null && 'name' in metadata ? metadata.name : undefined;
  if (typeof name !== 'string') throw new TypeError('an object without metadata.name');
  return name;
}

async function call<T>(request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    if (error instanceof ApiException) throw new KubeFailure(error.code, messageOf(error), { cause: error });
    throw new KubeFailure(undefined, error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function unlessMissing(request: () => Promise<unknown>): Promise<void> {
  try {
    await call(request);
  } catch (error) {
    if (!(error instanceof KubeFailure && error.status === 404)) throw error;
  }
}

/** The server's own words, out of a `Status` object. */
function messageOf(error: ApiException<unknown>): string {
  const body: unknown = error.body;
  if (typeof body === 'string') {
    try {
      const status: unknown = JSON.parse(body);
      if (typeof status === 'object' && status !== null && 'message' in status && typeof status.message === 'string')
        return status.message;
    } catch {
      return body;
    }
  }
  if (typeof body === 'object' && body !== null && 'message' in body && typeof body.message === 'string') return body.message;
  return error.message;
}

/** Of a pod as the API server tells it. */
export function viewOf(object: V1Pod | KubeObject): PodView {
  const pod = object as V1Pod;
  return {
    name: pod.metadata?.name ?? '',
    uid: pod.metadata?.uid ?? '',
    resourceVersion: pod.metadata?.resourceVersion ?? '',
    deleting: pod.metadata?.deletionTimestamp !== undefined,
    // Kubernetes before 1.33 does not say; its status is believed.
    statusIsCurrent: (pod.status?.observedGeneration ?? Infinity) >= (pod.metadata?.generation ?? 0),
    annotations: pod.metadata?.annotations ?? {},
    ip: pod.status?.podIP,
    node: pod.spec?.nodeName,
    unschedulable: unschedulable(pod),
    resizePending: resizePending(pod),
    requests: Object.fromEntries((pod.spec?.containers ?? []).map(({ name, resources }) => [name, resources?.requests ?? {}])),
    containers: (pod.status?.containerStatuses ?? []).map(containerView),
  };
}

const unschedulable = ({ status }: V1Pod): string | undefined =>
  status?.conditions?.find(
    ({ type, status: is, reason }) => type === 'PodScheduled' && is === 'False' && reason === 'Unschedulable',
  )?.message;

function resizePending({ status }: V1Pod): string | undefined {
  const pending = status?.conditions?.find(({ type, status: is }) => type === 'PodResizePending' && is === 'True');
  return pending === undefined ? undefined : [pending.reason, pending.message].filter((text) => text !== undefined).join(': ');
}

function containerView(status: V1ContainerStatus): ContainerView {
  const waiting = status.state?.waiting;
  const ended = status.state?.terminated ?? status.lastState?.terminated;
  return {
    name: status.name,
    restartCount: status.restartCount,
    waiting: waiting === undefined ? undefined : { reason: waiting.reason ?? '', message: waiting.message ?? '' },
    ended: ended === undefined ? undefined : { reason: ended.reason ?? '', exitCode: ended.exitCode },
  };
}
