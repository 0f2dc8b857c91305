/**
 * Everything that a pipeline is made of in a cluster, from the pipeline and the installation's settings. Pure.
 *
 * Owns which objects there are and what they say, the StatefulSet's pods aside (`plan-pod.ts`). Leaves to the reconciler what is there
 * already, and to `openkruise/README.md`, which is made from this plan, what each object promises.
 *
 * Invariants
 *  1. Every object carries the labels by which it is found again, and the owner with which it goes; a claim has none, and stays.
 *  2. The API's defaults are spelled out, so that what is stored equals what was sent.
 *  3. The same pipeline and settings give the same objects, in the order in which they are to be created.
 */
import { createHash } from 'node:crypto';
import type { Ceiling } from '../contracts/capacity.js';
import type { Pipeline, PipelineSpec } from '../contracts/manifest.js';
import { defaultGroup } from '../line/groups.js';
import { planHpa } from './hpa-plan.js';
import { parseImageName } from './image-string.js';
import type { KubeObject } from './kube-rest.js';
import { authorityName, labels } from './names.js';
import { planVolumeClaim, volumeClaimOf, type ClaimStorage } from './plan-claims.js';
import { planLines, planService, selectorOf, type LinePodOptions } from './plan-pod.js';
import { apiVersionOf } from './resources.js';

export interface PlanOptions extends Omit<LinePodOptions, 'volume' | 'lines' | 'group' | 'isGated'> {
  /** Each a StatefulSet of its own. */
  groups: readonly GroupLines[];
  /** `size`: a claim of the pipeline's own. */
  volume: LinePodOptions['volume'] | ClaimStorage;
  /** An HPA scales it, up to this. */
  ceiling?: Ceiling | undefined;
  /** The custom resource; without it, nothing owns the objects. */
  owner?: { name: string; uid: string } | undefined;
}

export interface GroupLines {
  group: string;
  lines: number;
}

/** How many lines each group of a pipeline is to have: `default` what is scaled, another what it keeps. */
export const groupLinesOf = ({ lines, groups, scaling }: PipelineSpec): GroupLines[] => [
  { group: defaultGroup, lines },
  ...groups.map(({ name, minLines }) => ({ group: name, lines: minLines ?? scaling.minLines })),
];

/** Lines that may be missing at once because somebody drains a node. */
const linesAwayMax = 1;

export function planObjects(pipeline: Pipeline, options: PlanOptions): KubeObject[] {
  const { name, namespace, groups, ceiling, workload = 'kruise' } = options;
  const volume = 'size' in options.volume ? { claim: volumeClaimOf(name) } : options.volume;
  const claims = 'size' in options.volume ? [planVolumeClaim(name, options.volume)] : [];
  const owned = [
    planService(options),
    ...groups.map(({ group, lines }) => planLines(pipeline, { ...options, volume, group, lines, isGated: true })),
    planBudget(name, workload),
    ...(ceiling === undefined ? [] : [planHpa(name, ceiling, pipeline.spec.scaling)]),
    ...(workload === 'kruise' ? imagesToPull(pipeline, options.image).map((image) => planPull(name, image)) : []),
  ] as KubeObject[];
  const ownerReferences = ownersOf(options.owner);
  const found = (object: KubeObject, more: object): KubeObject => ({
    ...object,
    metadata: {
      ...object.metadata,
      namespace,
      labels: { ...selectorOf(name), [labels.managedBy]: 'podline', ...object.metadata.labels },
      ...more,
    },
  });
  return [...claims.map((claim) => found(claim, {})), ...owned.map((object) => found(object, ownerReferences))];
}

const ownersOf = (owner: PlanOptions['owner']): object =>
  owner === undefined
    ? {}
    : { ownerReferences: [{ apiVersion: apiVersionOf('Pipeline'), kind: 'Pipeline', ...owner, controller: true }] };

/** Whose certificates agents trust, PEM: one object of a namespace, for all its pipelines. */
export const planAuthority = (namespace: string, pem: string): KubeObject => ({
  apiVersion: apiVersionOf('ConfigMap'),
  kind: 'ConfigMap',
  metadata: { name: authorityName, namespace, labels: { [labels.managedBy]: 'podline' } },
  data: { 'ca.crt': pem },
});

/**
 * Images that a node has not got by running the line's own containers, as OpenKruise can pull them: its daemon (1.8) makes `name:sha256:…` of
 * a digest, which is no name, so the tag is pulled, and the digest that the slot asks for is then there. An image that is
 * named without a tag is pulled by the kubelet, at its first swap.
 */
function imagesToPull({ stages }: Pick<Pipeline, 'stages'>, own: string): string[] {
  const images = stages.flatMap(({ image }) => (image === undefined || image === own ? [] : [parseImageName(image)]));
  return [...new Set(images.flatMap(({ repository, tag }) => (tag === undefined ? [] : [`${repository}:${tag}`])))];
}

/**
 * Lines go one after another when nodes are drained. OpenKruise's budget would count a swap as a disruption, too, and hold it up: it is
 * told to look at deletions and evictions only.
 */
function planBudget(name: string, workload: 'kruise' | 'native'): KubeObject {
  const selector = { matchLabels: selectorOf(name) };
  if (workload === 'native') {
    return {
      apiVersion: apiVersionOf('PodDisruptionBudget'),
      kind: 'PodDisruptionBudget',
      metadata: { name },
      spec: { maxUnavailable: linesAwayMax, selector, unhealthyPodEvictionPolicy: 'AlwaysAllow' },
    };
  }
  return {
    apiVersion: apiVersionOf('PodUnavailableBudget'),
    kind: 'PodUnavailableBudget',
    metadata: { name, annotations: { 'kruise.io/pub-protect-operations': 'DELETE,EVICT' } },
    spec: { maxUnavailable: linesAwayMax, selector },
  };
}

/** The image lies on every node that has a line before a slot needs it: the kubelet ends a container first and pulls its image second. */
function planPull(name: string, image: string): KubeObject {
  const id = createHash('sha256').update(image).digest('hex').slice(0, 10);
  return {
    apiVersion: apiVersionOf('ImagePullJob'),
    kind: 'ImagePullJob',
    metadata: { name: `${name}-${id}` },
    spec: {
      image,
      imagePullPolicy: 'IfNotPresent',
      parallelism: 4,
      podSelector: { matchLabels: selectorOf(name) },
      pullPolicy: { timeoutSeconds: 600, backoffLimit: 3 },
      // Never done: a line that comes to another node later finds its images there as well.
      completionPolicy: { type: 'Never' },
    },
  };
}
