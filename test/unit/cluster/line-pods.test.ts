import { describe, expect, it } from 'vitest';
import { KubeFailure } from '../../../runtime/cluster/kube.js';
import { LinePods } from '../../../runtime/cluster/line-pods.js';
import { pipelineSchema, type Pipeline } from '../../../runtime/contracts/manifest.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { container, FakeKube } from './fake-kube.js';

const manifest = pipelineSchema.parse({
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name: 'flights' },
  spec: { stages: [{ name: 'clean', uses: './clean.ts' }] },
});
const pipeline: Pipeline = {
  name: 'flights',
  revision: 1,
  spec: manifest.spec,
  stages: manifest.spec.stages.map((stage) => ({ ...stage, after: ['input'], version: 'v' })),
  baseDir: '/',
};
const swap = (step: string) => ({ line: 'flights-0', pipeline, slot: 0, stage: 'clean', step });

function lines(): { pods: LinePods; kube: FakeKube } {
  const kube = new FakeKube();
  const pods = new LinePods({ logger: silentLogger, delay: () => Promise.resolve(), random: () => 0, nowMs: () => 0 });
  const image = `podline/runtime@sha256:${'0'.repeat(64)}`;
  const groups = new Map([['flights', { group: 'default', lines: 1 }]]);
  pods.track({ pipeline, groups, slots: 1, image, cores: 1, kube, lineOf: (name) => name });
  const containers = [container('agent'), container('slot-0')];
  pods.changed('flights', kube.put({ name: 'flights-0', containers }));
  return { pods, kube };
}

describe('an order for a swap', () => {
  it('is not taken, and may be given again, while a coordinator that has just begun has not seen the lines', async () => {
    const pods = new LinePods({ logger: silentLogger, delay: () => Promise.resolve(), random: () => 0, nowMs: () => 0 });
    await expect(pods.swap(swap('s1'))).rejects.toMatchObject({ code: 'PDL_SWAP_NOT_TAKEN', retry: 'later' });
  });

  it('is refused for good for a slot that the pod has not got', async () => {
    const { pods } = lines();
    await expect(pods.swap({ ...swap('s1'), slot: 1 })).rejects.toMatchObject({ code: 'PDL_SWAP_FAILED', retry: 'never' });
  });
});

describe('what keeps a line from working', () => {
  it('is that the API server does not take its swaps, until it takes one', async () => {
    const { pods, kube } = lines();
    for (let time = 0; time < 8; time += 1) kube.failures.push(new KubeFailure(500, 'failed calling webhook'));
    await expect(pods.swap(swap('s1'))).rejects.toThrow();
    expect(pods.linesOf('flights')[0]?.faults.map(({ message }) => message)).toEqual([
      expect.stringContaining('failed calling webhook'),
    ]);
    await pods.swap(swap('s2'));
    expect(pods.linesOf('flights')[0]?.faults).toEqual([]);
  });

  it('is that no node has room for it, until one has', () => {
    const { pods, kube } = lines();
    const full = '0/1 nodes are available: 1 Insufficient memory.';
    pods.changed('flights', kube.put({ name: 'flights-0', unschedulable: full }));
    expect(pods.linesOf('flights')).toMatchObject([{ unschedulable: full, faults: [] }]);
    pods.changed('flights', kube.put({ name: 'flights-0', unschedulable: undefined }));
    expect(pods.linesOf('flights')[0]?.unschedulable).toBeUndefined();
  });

  it('is that its node does not give it what it asks for, until it does', () => {
    const { pods, kube } = lines();
    pods.changed('flights', kube.put({ name: 'flights-0', resizePending: 'Deferred: no room' }));
    expect(pods.linesOf('flights')).toMatchObject([{ resizePending: 'Deferred: no room', faults: [] }]);
    pods.changed('flights', kube.put({ name: 'flights-0', resizePending: undefined }));
    expect(pods.linesOf('flights')[0]?.resizePending).toBeUndefined();
  });
});
