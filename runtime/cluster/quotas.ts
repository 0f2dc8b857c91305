/**
 * What there is for lines in a cluster: the quotas of each namespace that has a pipeline, and what a pod of each pipeline takes of them.
 *
 * Owns a watch for each of these namespaces; `close()` ends them.
 */
import type { Capacity, LineCost, Quota } from '../contracts/capacity.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import type { PodSpec } from './quota-plan.js';
import { openQuotaWatch, type KubeReader, type QuotaWatch } from './quota-watch.js';

export interface QuotasOptions {
  rest: KubeReader;
  clock: Clock;
  logger: Logger;
}

interface Followed {
  namespace: string;
  pod: PodSpec;
  /** Until the quotas change. */
  cost: LineCost | undefined;
}

const nothing: LineCost = { perLine: {}, refusals: [] };

export class Quotas implements Capacity {
  readonly #followed = new Map<string, Followed>();
  readonly #watches = new Map<string, Promise<QuotaWatch>>();
  /** Those that are open. */
  readonly #open = new Map<string, QuotaWatch>();
  readonly #listeners = new Set<() => void>();

  constructor(private readonly options: QuotasOptions) {}

  /** From now on the pipeline's cost is that of the pod, under the quotas of its namespace. Resolves when they are known. Throws KubeFailure. */
  async follow(pipeline: string, namespace: string, pod: PodSpec): Promise<void> {
    this.#followed.set(pipeline, { namespace, pod, cost: undefined });
    let watch = this.#watches.get(namespace);
    if (watch === undefined) this.#watches.set(namespace, (watch = this.#watch(namespace)));
    await watch;
  }

  forget(pipeline: string): void {
    this.#followed.delete(pipeline);
  }

  scopeOf(pipeline: string): string {
    return this.#followed.get(pipeline)?.namespace ?? '';
  }

  costOf(pipeline: Pipeline): LineCost {
    const followed = this.#followed.get(pipeline.name);
    if (followed === undefined) return nothing;
    return (followed.cost ??= this.#open.get(followed.namespace)?.costOf(pipeline) ?? nothing);
  }

  quotas(scope = ''): readonly Quota[] {
    return this.#open.get(scope)?.quotas() ?? [];
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Nothing is followed any more. */
  async close(): Promise<void> {
    this.#followed.clear();
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    this.#open.clear();
    for (const watch of watches) await watch.then((open) => open.close()).catch(() => undefined);
  }

  async #watch(namespace: string): Promise<QuotaWatch> {
    try {
      const podOf = ({ name }: Pipeline): PodSpec => this.#followed.get(name)?.pod ?? { containers: [] };
      const watch = await openQuotaWatch({ ...this.options, namespace, podOf });
      watch.subscribe(() => {
        for (const followed of this.#followed.values()) if (followed.namespace === namespace) followed.cost = undefined;
        for (const listener of this.#listeners) listener();
      });
      this.#open.set(namespace, watch);
      return watch;
    } catch (thrown) {
      this.#watches.delete(namespace);
      throw thrown;
    }
  }
}
