/** An API server with pods in a map: as strict about uid, resourceVersion and 404 as the real one, and as slow or broken as a test wants it. */
import { KubeFailure, type Kube, type PodWatch } from '../../../runtime/cluster/kube.js';
import type { ContainerView, PodView } from '../../../runtime/cluster/verdict.js';

interface Patch {
  metadata: { uid: string; resourceVersion: string; annotations: Record<string, string> };
  spec: { containers: { name: string; image: string }[] };
}

interface Resize {
  spec: { containers: { name: string; resources: { requests: Record<string, string> } }[] };
}

export class FakeKube implements Kube {
  readonly pods = new Map<string, PodView>();
  readonly patches: { pod: string; patch: Patch }[] = [];
  readonly resizes: { pod: string; requests: Record<string, Record<string, string>> }[] = [];
  readonly applied: Record<string, unknown>[] = [];
  /** Failures for the next calls, oldest first; `undefined` lets a call through. */
  readonly failures: (KubeFailure | undefined)[] = [];
  /** Called between the read and the patch of a pod. */
  beforePatch: (() => void) | undefined;
  inFlight = 0;
  inFlightMax = 0;
  closed = false;
  #watch: PodWatch | undefined;
  #versions = 0;

  put(pod: Partial<PodView> & { name: string }): PodView {
    const before = this.pods.get(pod.name);
    const next: PodView = {
      uid: 'uid-1',
      deleting: false,
      statusIsCurrent: true,
      annotations: {},
      ip: '10.0.0.1',
      node: 'node-1',
      containers: [],
      ...before,
      ...pod,
      resourceVersion: String((this.#versions += 1)),
    };
    this.pods.set(pod.name, next);
    this.#watch?.changed(next);
    return next;
  }

  remove(name: string): void {
    const pod = this.pods.get(name);
    this.pods.delete(name);
    if (pod !== undefined) this.#watch?.gone(pod);
  }

  async pod(name: string): Promise<PodView | undefined> {
    await Promise.resolve();
    return this.pods.get(name);
  }

  async resizePod(name: string, body: Record<string, unknown>): Promise<PodView> {
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    const { containers } = (body as unknown as Resize).spec;
    const requests = Object.fromEntries(containers.map((of) => [of.name, of.resources.requests]));
    this.resizes.push({ pod: name, requests });
    return this.put({ name, requests: { ...this.pods.get(name)?.requests, ...requests } });
  }

  async patchPod(name: string, body: Record<string, unknown>): Promise<PodView> {
    this.inFlight += 1;
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
    try {
      this.beforePatch?.();
      await new Promise((resolve) => setImmediate(resolve));
      const failure = this.failures.shift();
      if (failure !== undefined) throw failure;
      const patch = body as unknown as Patch;
      const pod = this.pods.get(name);
      if (pod === undefined) throw new KubeFailure(404, `pods "${name}" not found`);
      if (patch.metadata.uid !== pod.uid || patch.metadata.resourceVersion !== pod.resourceVersion)
        throw new KubeFailure(409, 'the object has been modified');
      this.patches.push({ pod: name, patch });
      return this.put({ name, annotations: { ...pod.annotations, ...patch.metadata.annotations } });
    } finally {
      this.inFlight -= 1;
    }
  }

  watchPods(_selector: string, watch: PodWatch): Promise<void> {
    this.#watch = watch;
    for (const pod of this.pods.values()) watch.changed(pod);
    return Promise.resolve();
  }

  async applyStatefulSet(object: Record<string, unknown>): Promise<void> {
    this.applied.push(object);
  }
  async scaleStatefulSet(name: string, replicas: number): Promise<void> {
    this.applied.push({ name, replicas });
  }
  async deleteStatefulSet(name: string): Promise<void> {
    this.applied.push({ deleted: name });
  }
  async putService(object: Record<string, unknown>): Promise<void> {
    this.applied.push(object);
  }
  async putSecret(name: string, values: Record<string, string>): Promise<void> {
    this.applied.push({ secret: name, values });
  }
  async close(): Promise<void> {
    this.closed = true;
  }
}

export const container = (name: string, more: Partial<ContainerView> = {}): ContainerView => ({ name, restartCount: 0, ...more });
