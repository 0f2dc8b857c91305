/**
 * Lines as pods of an OpenKruise Advanced StatefulSet, one per pipeline, in one namespace; a swap is one patch of one pod. For whoever
 * has a pipeline in hand and no custom resource: the same pods under a reconciler are `managed-driver.ts`.
 *
 * Owns the watch of the pods. Leaves to `plan-pod.ts` what a pod looks like, and to `line-pods.ts` what is done with it.
 *
 * Invariant: a line's name is its pod's, stable over everything that happens to the pod.
 */
import type { DriverEvent, LineDriver, SwapOrder } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import { defaultGroup } from '../line/groups.js';
import type { Logger } from '../platform/logger.js';
import type { Kube } from './kube.js';
import { LinePods, type Workload } from './line-pods.js';
import { labels } from './names.js';
import { planLines, planService, type LinePodOptions } from './plan-pod.js';

export interface KruiseDriverOptions {
  kube: Kube;
  pods: Omit<LinePodOptions, 'name' | 'lines' | 'slots' | 'credentials'> & { tokenSecret: string };
  /** What lines show to the coordinator; kept in the secret `pods.tokenSecret`. */
  token: string;
  slotsOf: (pipeline: Pipeline) => number;
  logger: Logger;
  delay: (ms: number) => Promise<void>;
  /** [0, 1) */
  random: () => number;
  /** Monotonic. */
  nowMs: () => number;
}

const oneGroup = (name: string, lines: number): Workload['groups'] => new Map([[name, { group: defaultGroup, lines }]]);

export class KruiseDriver implements LineDriver {
  readonly kind = 'kruise';
  readonly #pods: LinePods;

  constructor(private readonly options: KruiseDriverOptions) {
    this.#pods = new LinePods(options);
  }

  async start(pipeline: Pipeline, lines: number): Promise<void> {
    const { kube, pods, token, slotsOf } = this.options;
    const slots = slotsOf(pipeline);
    const plan = { ...pods, credentials: { secret: pods.tokenSecret }, name: pipeline.name, lines, slots };
    const isNew = this.#pods.track({
      pipeline,
      groups: oneGroup(pipeline.name, lines),
      slots,
      image: pods.image,
      cores: pods.cores ?? 1,
      kube,
      lineOf: (podName) => podName,
    });
    await kube.putSecret(pods.tokenSecret, { token });
    await kube.putService(planService(plan));
    await kube.applyStatefulSet(planLines(pipeline, plan));
    if (!isNew) return;
    await kube.watchPods(`${labels.pipeline}=${pipeline.name}`, {
      changed: (pod) => {
        this.#pods.changed(pipeline.name, pod);
      },
      gone: (pod) => {
        this.#pods.gone(pipeline.name, pod);
      },
    });
  }

  /** Pods that go get SIGTERM and the time of their termination grace to give their shards back. */
  async scale(pipeline: string, lines: number): Promise<void> {
    const workload = this.#pods.tracked(pipeline);
    if (workload === undefined)
      throw new PodlineError('PDL_PIPELINE_UNKNOWN', `no lines of the pipeline \`${pipeline}\` were started`);
    this.#pods.track({ ...workload, groups: oneGroup(pipeline, lines) });
    await this.options.kube.scaleStatefulSet(pipeline, lines);
  }

  swap(order: SwapOrder): Promise<void> {
    return this.#pods.swap(order);
  }

  async stop(pipeline?: string): Promise<void> {
    for (const name of pipeline === undefined ? this.#pods.names : [pipeline]) {
      await this.options.kube.deleteStatefulSet(name);
      this.#pods.forget(name);
    }
    if (pipeline === undefined) await this.options.kube.close();
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    return this.#pods.subscribe(listener);
  }
}
