import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../../runtime/cluster/kube-rest.js';
import { groupLinesOf, planObjects, type PlanOptions } from '../../../runtime/cluster/plan-objects.js';
import { resolveResource } from '../../../runtime/cluster/resolve.js';
import { pipelineSchema } from '../../../runtime/contracts/manifest.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { exampleObjects, objectsDocument } from '../../../scripts/example-objects.mjs';

const digest = `sha256:${'0'.repeat(64)}`;
const image = `podline/runtime@${digest}`;

function plan(spec: Record<string, unknown> = {}, more: Partial<PlanOptions> = {}): KubeObject[] {
  const manifest = pipelineSchema.parse({
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name: 'flights' },
    spec: { stages: [{ name: 'a', command: ['a'] }], ...spec },
  });
  const pipeline = resolveResource(manifest, { name: 'flights', defaultImage: image, stages: new Map(), resultRoot: '/results' });
  return planObjects(
    { ...pipeline, spec: { ...pipeline.spec, placement: manifest.spec.placement } },
    {
      name: 'flights',
      namespace: 'team',
      groups: groupLinesOf(manifest.spec),
      slots: 2,
      image,
      coordinatorUrl: 'http://c',
      credentials: { audience: 'team.podline.dev' },
      ssdHostPath: '/ssd',
      volume: { claim: 'v' },
      user: 10_001,
      owner: { name: 'flights', uid: 'u' },
      ...more,
    },
  );
}
const kinds = (objects: readonly KubeObject[]): string[] =>
  objects.map(({ apiVersion, kind, metadata }) => `${apiVersion ?? ''} ${kind ?? ''} ${metadata.name}`);
const podOf = (objects: readonly KubeObject[]) =>
  (objects.find(({ kind }) => kind === 'StatefulSet')?.spec as { template: { spec: Record<string, unknown> } }).template.spec;

describe('the objects of a pipeline', () => {
  it('are OpenKruise’s, or Kubernetes’ own, as the installation says', () => {
    expect(kinds(plan())).toEqual([
      'v1 Service flights',
      'apps.kruise.io/v1beta1 StatefulSet flights',
      'policy.kruise.io/v1alpha1 PodUnavailableBudget flights',
    ]);
    expect(kinds(plan({}, { workload: 'native' }))).toEqual([
      'v1 Service flights',
      'apps/v1 StatefulSet flights',
      'policy/v1 PodDisruptionBudget flights',
    ]);
  });

  it('belong to the pipeline, in its namespace', () => {
    for (const { metadata } of plan())
      expect(metadata).toMatchObject({
        namespace: 'team',
        labels: { 'podline.dev/pipeline': 'flights' },
        ownerReferences: [{ kind: 'Pipeline', name: 'flights', uid: 'u' }],
      });
  });

  it('pull images of stages by their tag; one without a tag, and the installation’s own, are left to the kubelet', () => {
    const stages = [
      { name: 'a', command: ['a'], image: `tools/a:1.2@${digest}` },
      { name: 'b', command: ['b'], image: `tools/b@${digest}`, after: ['a'] },
      { name: 'c', command: ['c'], image: `tools/a:1.2@${digest}`, after: ['b'] },
    ];
    const jobs = plan({ stages }).filter(({ kind }) => kind === 'ImagePullJob');
    expect(jobs.map(({ spec }) => (spec as { image: string }).image)).toEqual(['tools/a:1.2']);
    expect(plan({ stages }, { workload: 'native' }).filter(({ kind }) => kind === 'ImagePullJob')).toEqual([]);
  });

  it('do not let a budget take a swap for a disruption', () => {
    const budget = plan().find(({ kind }) => kind === 'PodUnavailableBudget');
    expect(budget?.metadata.annotations).toEqual({ 'kruise.io/pub-protect-operations': 'DELETE,EVICT' });
  });

  it('divide lines into groups, each a StatefulSet that picks its own pods', () => {
    const sets = plan({ lines: 3, groups: [{ name: 'urgent', minLines: 2, match: { key: 'u*' } }] }).filter(
      ({ kind }) => kind === 'StatefulSet',
    );
    expect(sets.map(({ metadata, spec }) => [metadata.name, (spec as { replicas: number }).replicas])).toEqual([
      ['flights', 3],
      ['flights-urgent', 2],
    ]);
    const selectors = sets.map(
      ({ spec }) => (spec as { selector: { matchLabels: Record<string, string> } }).selector.matchLabels['podline.dev/group'],
    );
    expect(selectors).toEqual(['default', 'urgent']);
  });

  it('spread a group over nodes: where possible, or so many at least, or not at all', () => {
    const constraint = (placement: Record<string, unknown>) => podOf(plan({ placement }))['topologySpreadConstraints'];
    expect(constraint({})).toMatchObject([
      { whenUnsatisfiable: 'ScheduleAnyway', topologyKey: 'kubernetes.io/hostname', maxSkew: 1 },
    ]);
    expect(constraint({ spread: 'require', nodesMin: 2 })).toMatchObject([{ whenUnsatisfiable: 'DoNotSchedule', minDomains: 2 }]);
    expect(constraint({ spread: 'none' })).toBeUndefined();
    expect(
      podOf(
        plan({ placement: { nodeSelector: { disk: 'ssd' }, priorityClass: 'critical', tolerations: [{ operator: 'Exists' }] } }),
      ),
    ).toMatchObject({
      nodeSelector: { disk: 'ssd' },
      priorityClassName: 'critical',
      tolerations: [{ operator: 'Exists' }],
    });
  });

  it('wait half a minute for a node that is away, or as long as the pipeline says', () => {
    const waits = (tolerations?: Record<string, unknown>[]) => {
      const pod = podOf(plan({ placement: tolerations === undefined ? {} : { tolerations } })) as {
        tolerations: { key: string; effect: string; tolerationSeconds: number }[];
      };
      return pod.tolerations.map(({ key, effect, tolerationSeconds }) => [key, effect, tolerationSeconds]);
    };
    const away = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'] as const;
    expect(waits()).toEqual(away.map((key) => [key, 'NoExecute', 30]));
    const own = { key: away[1], operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 600 };
    expect(waits([own])).toEqual([
      [away[1], 'NoExecute', 600],
      [away[0], 'NoExecute', 30],
    ]);
  });

  it('claim a volume where the installation says of what size, which is nobody’s and stays', () => {
    const owner = { name: 'flights', uid: 'uid-1' };
    const objects = plan({}, { volume: { storageClass: 'shared', size: '10Gi' }, owner });
    expect(kinds(objects)[0]).toBe('v1 PersistentVolumeClaim flights-volume');
    expect(objects[0]?.spec).toEqual({
      accessModes: ['ReadWriteMany'],
      resources: { requests: { storage: '10Gi' } },
      storageClassName: 'shared',
      volumeMode: 'Filesystem',
    });
    expect(objects.map(({ metadata }) => metadata.ownerReferences === undefined)).toEqual(objects.map((_, index) => index === 0));
    expect(JSON.stringify(podOf(objects))).toContain('"claimName":"flights-volume"');
  });

  it('let each line claim the SSD of its node, where the installation says of what size', () => {
    const volumesOf = (objects: KubeObject[]): string[] =>
      (podOf(objects) as { volumes: { name: string }[] }).volumes.map(({ name }) => name);
    expect(volumesOf(plan())).toContain('ssd');
    const objects = plan({}, { ssdClaim: { size: '5Gi' } });
    expect(volumesOf(objects)).not.toContain('ssd');
    expect(objects.find(({ kind }) => kind === 'StatefulSet')?.spec).toMatchObject({
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete', whenScaled: 'Delete' },
      volumeClaimTemplates: [
        {
          metadata: { name: 'ssd' },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '5Gi' } }, volumeMode: 'Filesystem' },
        },
      ],
    });
  });

  it('have a readiness gate, which the coordinator keeps', () => {
    expect(podOf(plan())).toMatchObject({ readinessGates: [{ conditionType: 'podline.dev/line' }] });
  });

  it('are the same for the same pipeline', () => {
    expect(plan()).toEqual(plan());
  });
});

it('openkruise/objects.yaml is what the plan makes; `npm run generate` writes it', () => {
  expect(readFileSync(join(packageRoot, 'openkruise', 'objects.yaml'), 'utf8')).toBe(objectsDocument(exampleObjects()));
});
