/**
 * How many lines each group of each pipeline is to have now: what the coordinator ordered last, and until it ordered anything, what the
 * StatefulSets say, or the pods that are left of one. So a coordinator that is new changes nothing before it has looked.
 */
import { groupNames, workloadName } from '../line/groups.js';
import type { GroupSpec } from '../contracts/flow-spec.js';
import { isStatus, type KubeObject, type KubeRest } from './kube-rest.js';
import type { GroupLines } from './plan-objects.js';
import type { Workloads } from './plan-pod.js';
import { objectPath } from './resources.js';

export interface Place {
  namespace: string;
  name: string;
}

export class LineTargets {
  /** By pipeline, by group. */
  readonly #lines = new Map<string, Map<string, number>>();

  constructor(
    private readonly rest: Pick<KubeRest, 'request'>,
    private readonly workload: Workloads,
  ) {}

  /** Answers whether that is another number. */
  set(pipeline: string, group: string, lines: number): boolean {
    const of = this.#of(pipeline);
    const before = of.get(group);
    of.set(group, lines);
    return before !== lines;
  }

  /** Learns what was not ordered yet. `pods`: names of the pipeline's. */
  async learn(pipeline: string, place: Place, groups: readonly GroupSpec[], pods: readonly string[]): Promise<void> {
    for (const group of groupNames(groups)) {
      if (this.#of(pipeline).has(group)) continue;
      const name = workloadName(place.name, group);
      const found = (await this.#replicasOf({ ...place, name })) ?? highestOf(name, pods) + 1;
      // It may have been ordered meanwhile.
      if (!this.#of(pipeline).has(group)) this.set(pipeline, group, found);
    }
  }

  all(pipeline: string, groups: readonly GroupSpec[]): GroupLines[] {
    const of = this.#of(pipeline);
    const names = groupNames(groups).toSorted((a, b) => Number(b === 'default') - Number(a === 'default'));
    return names.map((group) => ({ group, lines: of.get(group) ?? 0 }));
  }

  forget(pipeline: string): void {
    this.#lines.delete(pipeline);
  }

  #of(pipeline: string): Map<string, number> {
    let of = this.#lines.get(pipeline);
    if (of === undefined) this.#lines.set(pipeline, (of = new Map<string, number>()));
    return of;
  }

  async #replicasOf(place: Place): Promise<number | undefined> {
    const resource = this.workload === 'kruise' ? 'kruise/StatefulSet' : 'apps/StatefulSet';
    try {
      const { spec } = await this.rest.request<KubeObject>('GET', objectPath(resource, place));
      return (spec as { replicas?: number }).replicas ?? 1;
    } catch (thrown) {
      if (isStatus(thrown, 404)) return undefined;
      throw thrown;
    }
  }
}

/** -1: there is none. */
function highestOf(workload: string, pods: readonly string[]): number {
  const numbers = pods.map((pod) => (pod.startsWith(`${workload}-`) ? pod.slice(workload.length + 1) : ''));
  return Math.max(-1, ...numbers.flatMap((number) => (/^\d+$/.test(number) ? [Number(number)] : [])));
}
