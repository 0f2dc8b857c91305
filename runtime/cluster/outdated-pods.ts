/**
 * Pods of lines that were created from an earlier template than their StatefulSet has now: another number of slots, another memory, another
 * image of the runtime. No controller creates them anew (`OnDelete`, `plan-pod.ts`): a pod's scratch goes with it. So it is said in the status. Pure.
 */
import { keyOf } from './informer.js';
import type { KubeObject } from './kube-rest.js';

/** Of a pod: the revision of the template that it was created from. Its StatefulSet writes it, and nobody else may. */
const revisionLabel = 'controller-revision-hash';

/** Of the template that pods are created from now; undefined while its controller has not looked at the latest one. */
export function revisionOf({ metadata, status }: KubeObject): string | undefined {
  const { observedGeneration = 0, updateRevision } = (status ?? {}) as { observedGeneration?: number; updateRevision?: string };
  return observedGeneration >= (metadata.generation ?? 0) ? updateRevision : undefined;
}

/** Names, in their order. A pod that goes already is none, nor is one whose StatefulSet is not known. */
export function outdatedPods(pods: readonly KubeObject[], workloads: readonly KubeObject[]): string[] {
  const revisions = new Map(workloads.map((workload) => [keyOf(workload), revisionOf(workload)]));
  return pods
    .filter(({ metadata: { name, namespace, deletionTimestamp, labels } }) => {
      const made = labels?.[revisionLabel];
      const wanted = revisions.get(keyOf({ metadata: { name: name.slice(0, name.lastIndexOf('-')), namespace } }));
      return deletionTimestamp === undefined && made !== undefined && wanted !== undefined && made !== wanted;
    })
    .map(({ metadata }) => metadata.name)
    .sort();
}
