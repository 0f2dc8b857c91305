/**
 * The driver of a coordinator in a cluster: it swaps in pods that the reconciler created. How many lines there are is the resource's to
 * say, so what the coordinator asks for goes there.
 */
import type { DriverEvent, LineDriver, SwapOrder } from '../contracts/driver.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { LinePods } from './line-pods.js';
import type { Workloads } from './plan-pod.js';
import type { Reconciler } from './reconciler.js';

export class ManagedDriver implements LineDriver {
  #reconciler: Pick<Reconciler, 'replan' | 'scale'> | undefined;

  constructor(
    readonly kind: Workloads,
    private readonly pods: LinePods,
  ) {}

  connect(reconciler: Pick<Reconciler, 'replan' | 'scale'>): void {
    this.#reconciler = reconciler;
  }

  /** Lines of the resource are brought up without being asked for; it is looked at again. */
  start(pipeline: Pipeline): Promise<void> {
    this.#reconciler?.replan(pipeline.name);
    return Promise.resolve();
  }

  async scale(pipeline: string, lines: number): Promise<void> {
    await this.#reconciler?.scale(pipeline, lines);
  }

  swap(order: SwapOrder): Promise<void> {
    return this.pods.swap(order);
  }

  /** Lines go with their resource, and outlive the coordinator. */
  stop(): Promise<void> {
    return Promise.resolve();
  }

  subscribe(listener: (event: DriverEvent) => void): () => void {
    return this.pods.subscribe(listener);
  }
}
