import { expect, it } from 'vitest';
import type { KubeObject } from '../../../runtime/cluster/kube-rest.js';
import { outdatedPods } from '../../../runtime/cluster/outdated-pods.js';

const pod = (name: string, revision: string | undefined, more: Partial<KubeObject['metadata']> = {}): KubeObject => ({
  metadata: {
    name,
    namespace: 'lines',
    ...(revision === undefined ? {} : { labels: { 'controller-revision-hash': revision } }),
    ...more,
  },
});
/** Its controller has looked at this generation of its template. */
const workload = (name: string, updateRevision: string, observedGeneration = 2): KubeObject => ({
  metadata: { name, namespace: 'lines', generation: 2 },
  status: { observedGeneration, updateRevision },
});

it('are those with another revision than their own StatefulSet’s, by the group in their names', () => {
  const workloads = [workload('flights', 'flights-b'), workload('flights-heavy', 'flights-heavy-a')];
  const pods = [
    pod('flights-1', 'flights-a'),
    pod('flights-0', 'flights-a'),
    pod('flights-2', 'flights-b'),
    pod('flights-heavy-0', 'flights-heavy-a'),
  ];
  expect(outdatedPods(pods, workloads)).toEqual(['flights-0', 'flights-1']);
});

it('are none that go already, that have no revision yet, or of a StatefulSet of another namespace', () => {
  const pods = [
    pod('flights-0', 'flights-a', { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    pod('flights-1', undefined),
    pod('flights-2', 'flights-a', { namespace: 'elsewhere' }),
  ];
  expect(outdatedPods(pods, [workload('flights', 'flights-b')])).toEqual([]);
});

it('are not known while the controller has not looked at the template that there is', () => {
  const pods = [pod('flights-0', 'flights-a')];
  expect(outdatedPods(pods, [workload('flights', 'flights-b', 1)])).toEqual([]);
  expect(outdatedPods(pods, [{ metadata: { name: 'flights', namespace: 'lines', generation: 1 } }])).toEqual([]);
  expect(outdatedPods(pods, [])).toEqual([]);
});
