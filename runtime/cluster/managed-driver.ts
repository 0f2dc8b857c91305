/**
 * The driver of a coordinator in a cluster: it swaps in pods that the reconciler keeps, and tells that one how many there are to be. A
 * StatefulSet ends its highest numbers first.
 */
import type { DriverEvent, LineDriver, ScaleOrder, SwapOrder } from '../contracts/driver.js';
import type { Pipeline } from '../contracts/manifest.js';
import { defaultGroup } from '../line/groups.js';
import type { LinePods } from './line-pods.js';
import type { Workloads } from './plan-pod.js';

/** Who keeps the StatefulSets. */
export interface LineKeeper {
  setLines(pipeline: string, group: string, lines: number): void;
}

export class ManagedDriver implements LineDriver {
  constructor(
    readonly kind: Workloads,
    private readonly pods: LinePods,
    /** Undefined while this coordinator does not lead. */
    private readonly keeper: () => LineKeeper | undefined,
  ) {}

  start({ name }: Pipeline, lines: number, group = defaultGroup): Promise<void> {
    this.keeper()?.setLines(name, group, lines);
    return Promise.resolve();
  }

  scale(pipeline: string, lines: number, { group = defaultGroup }: ScaleOrder = {}): Promise<void> {
    this.keeper()?.setLines(pipeline, group, lines);
    return Promise.resolve();
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
