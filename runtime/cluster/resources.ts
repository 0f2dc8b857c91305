/** Where objects of each kind live on the API server: the kinds that the coordinator knows. */
import type { KubeObject, ObjectMeta } from './kube-rest.js';

/** API version, plural. By the kind, with the group before it where two groups have one of that name. */
const resources = {
  Pipeline: ['podline.dev/v1alpha1', 'pipelines'],
  'kruise/StatefulSet': ['apps.kruise.io/v1beta1', 'statefulsets'],
  'apps/StatefulSet': ['apps/v1', 'statefulsets'],
  ImagePullJob: ['apps.kruise.io/v1alpha1', 'imagepulljobs'],
  PodUnavailableBudget: ['policy.kruise.io/v1alpha1', 'podunavailablebudgets'],
  PodDisruptionBudget: ['policy/v1', 'poddisruptionbudgets'],
  Service: ['v1', 'services'],
  PersistentVolumeClaim: ['v1', 'persistentvolumeclaims'],
  Secret: ['v1', 'secrets'],
  ConfigMap: ['v1', 'configmaps'],
  HorizontalPodAutoscaler: ['autoscaling/v2', 'horizontalpodautoscalers'],
  Lease: ['coordination.k8s.io/v1', 'leases'],
  Pod: ['v1', 'pods'],
  Event: ['events.k8s.io/v1', 'events'],
} as const satisfies Record<string, readonly [apiVersion: string, plural: string]>;
export type Resource = keyof typeof resources;

export const apiVersionOf = (resource: Resource): string => resources[resource][0];

/** Of all objects of a kind: in one namespace, or without one in all. */
export function collectionPath(resource: Resource, namespace?: string): string {
  const [apiVersion, plural] = resources[resource];
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return namespace === undefined ? `${root}/${plural}` : `${root}/namespaces/${namespace}/${plural}`;
}

export const objectPath = (resource: Resource, { namespace, name }: Pick<ObjectMeta, 'namespace' | 'name'>): string =>
  `${collectionPath(resource, namespace)}/${name}`;

/** Which resource an object is of, by what it says of itself. Throws TypeError for a kind that is not known here. */
export function resourceOf(object: KubeObject): Resource {
  const names = Object.keys(resources) as Resource[];
  const found = names.find((name) => resources[name][0] === object.apiVersion && name.split('/').at(-1) === object.kind);
  if (found === undefined) throw new TypeError(`${String(object.apiVersion)} ${String(object.kind)} is not known here`);
  return found;
}
