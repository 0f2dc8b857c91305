/** The reconciler against a fake API server over HTTP and a real coordinator without lines. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { KubeObject } from '../../../runtime/cluster/kube-rest.js';
import { openCluster, type Cluster } from '../../../runtime/cluster/open-cluster.js';
import type { PipelineStatus } from '../../../runtime/contracts/pipeline-status.js';
import { createCoordinator, type Coordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import type { Journal } from '../../../runtime/journal/journal.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { FakeApiServer } from './fake-api-server.js';
import { ManualClock } from '../../support/manual-clock.js';

const digest = `sha256:${'0'.repeat(64)}`;
const image = `podline/runtime@${digest}`;
const pathOf = (name: string, namespace = 'podline'): string =>
  `/apis/podline.dev/v1alpha1/namespaces/${namespace}/pipelines/${name}`;
const workloadOf = (name: string, namespace = 'podline'): string =>
  `/apis/apps.kruise.io/v1beta1/namespaces/${namespace}/statefulsets/${name}`;
const resource = (name: string, spec: Record<string, unknown> = {}, namespace = 'podline') => ({
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name, namespace },
  spec: {
    lines: 1,
    input: { source: { inline: [{ v: 1 }, { v: 2 }] }, format: 'ndjson', chunk: { rows: 1 } },
    stages: [{ name: 'double', command: ['double'], stdio: 'ndjson' }],
    ...spec,
  },
});

let dir: string;
let server: FakeApiServer;
let clock: ManualClock;
let journal: Journal;
let coordinator: Coordinator;
let cluster: Cluster;

async function open(watch: 'namespaced' | 'cluster' = 'namespaced', autoscaling: 'podline' | 'hpa' = 'podline'): Promise<void> {
  cluster = await openCluster({
    namespace: 'podline',
    watch,
    kubeconfig: server.kubeconfig,
    workload: 'kruise',
    autoscaling,
    lines: {
      image,
      coordinatorUrl: 'http://coordinator:8080',
      ssdHostPath: '/mnt/ssd',
      volume: { claim: 'volume' },
      user: 10_001,
      cores: 2,
      resultRoot: '/podline-volume/results',
    },
    imageRoot: dir,
    logger: silentLogger,
    clock,
  });
  const { driver, capacity, autoscaler } = cluster;
  coordinator = await createCoordinator({ journal, driver, capacity, autoscaler, clock });
  await cluster.start(coordinator);
}
async function close(): Promise<void> {
  await cluster.close();
  await coordinator.close();
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'podline-reconciler-'));
  server = await FakeApiServer.start();
  clock = new ManualClock();
  journal = openLmdbJournal({ dir: join(dir, 'journal') });
  await open();
});

afterEach(async () => {
  await close();
  await journal.close();
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

/** Time goes on while something is waited for. */
const eventually = (what: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(async () => {
    clock.step(500);
    await what();
  }, 10_000);
const statusOf = (name: string, namespace?: string): PipelineStatus | undefined =>
  server.get(pathOf(name, namespace))?.status as PipelineStatus | undefined;
const conditionOf = (name: string, type: string, namespace?: string) =>
  statusOf(name, namespace)?.conditions?.find((condition) => condition.type === type);
const submitted = (name = 'small'): Promise<void> =>
  eventually(() => {
    expect(statusOf(name)?.input?.submitted).toBe(2);
  });
const specOf = (path: string): Record<string, unknown> => server.get(path)?.spec as Record<string, unknown>;

describe('a pipeline that is applied', () => {
  it('gets its objects, owned by it, and its input into the journal', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    const names = server.paths().filter((path) => !path.includes('/events/'));
    expect(names.map((path) => path.split('/').slice(-2).join('/')).sort()).toEqual([
      'pipelines/small',
      'podunavailablebudgets/small',
      'services/small',
      'statefulsets/small',
    ]);
    const { uid } = (server.get(pathOf('small')) as KubeObject).metadata;
    expect(server.get(workloadOf('small'))?.metadata.ownerReferences).toMatchObject([{ kind: 'Pipeline', name: 'small', uid }]);
    expect((await coordinator.pipeline('small')).counts.pending).toBe(2);
    expect(conditionOf('small', 'Complete')).toMatchObject({ status: 'Unknown', reason: 'ShardsOpen' });
    const applies = server.requests.filter(({ method, path }) => method === 'PATCH' && path.includes('statefulsets'));
    expect(applies[0]).toMatchObject({ contentType: 'application/apply-patch+yaml' });
    expect(applies[0]?.query.get('fieldManager')).toBe('podline');
  });

  it('is left alone while nothing changes: no writes, whatever time goes by', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    await eventually(() => {
      expect(conditionOf('small', 'Progressing')?.reason).toBe('LinesStarting');
    });
    const before = server.writes().length;
    const looked = () =>
      server.requests.filter(({ method, path }) => method === 'GET' && path.includes('statefulsets/small')).length;
    // Two resyncs, at which every object is read.
    await vi.waitFor(() => {
      clock.step(60_000);
      expect(looked()).toBeGreaterThanOrEqual(2);
    }, 10_000);
    expect(server.writes().slice(before)).toEqual([]);
  });

  it('has a StatefulSet mended at once that somebody changed or deleted', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    const stored = server.get(workloadOf('small')) as KubeObject;
    server.put(workloadOf('small'), { ...stored, spec: { ...(stored.spec as object), replicas: 7 } });
    await eventually(() => {
      expect(specOf(workloadOf('small'))['replicas']).toBe(1);
    });
    server.delete(workloadOf('small'));
    await eventually(() => {
      expect(server.get(workloadOf('small'))?.metadata.uid).not.toBe(stored.metadata.uid);
      expect(specOf(workloadOf('small'))['replicas']).toBe(1);
    });
  });

  it('has an object mended that somebody changed or deleted', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    const stored = server.get(workloadOf('small')) as KubeObject;
    server.put(workloadOf('small'), { ...stored, spec: { ...(stored.spec as object), replicas: 7 } });
    server.delete(`/api/v1/namespaces/podline/services/small`);
    await vi.waitFor(() => {
      clock.step(60_000);
      expect(specOf(workloadOf('small'))['replicas']).toBe(1);
      expect(server.get('/api/v1/namespaces/podline/services/small')).toBeDefined();
    }, 10_000);
  });

  it('follows its number of lines, without a new revision of the pipeline', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    server.put(pathOf('small'), { ...resource('small', { lines: 5 }), status: statusOf('small') });
    await eventually(() => {
      expect(specOf(workloadOf('small'))['replicas']).toBe(5);
    });
    expect((await coordinator.pipeline('small')).revision).toBe(1);
  });

  it('has a StatefulSet for each group, and loses it with the group', async () => {
    server.put(pathOf('small'), resource('small', { groups: [{ name: 'urgent', match: { key: '*#000001' }, minLines: 2 }] }));
    await submitted();
    expect(specOf(workloadOf('small-urgent'))['replicas']).toBe(2);
    expect(JSON.stringify(specOf(workloadOf('small-urgent')))).toContain('"name":"PODLINE_GROUP","value":"urgent"');
    server.put(pathOf('small'), { ...resource('small'), status: statusOf('small') });
    await eventually(() => {
      expect(server.get(workloadOf('small-urgent'))).toBeUndefined();
    });
    expect(server.get(workloadOf('small'))).toBeDefined();
  });
});

describe('a pipeline that is refused', () => {
  it('says why, gets no objects, and is taken in once it was mended', async () => {
    server.put(pathOf('small'), resource('small', { stages: [{ name: 'double', command: ['double'], after: ['nobody'] }] }));
    await eventually(() => {
      expect(conditionOf('small', 'Ready')).toMatchObject({
        status: 'False',
        reason: 'SpecInvalid',
        message: expect.stringContaining('nobody') as string,
      });
    });
    expect(conditionOf('small', 'Complete')?.status).toBe('False');
    expect(server.get(workloadOf('small'))).toBeUndefined();
    server.put(pathOf('small'), { ...resource('small'), status: statusOf('small') });
    await submitted();
    expect(conditionOf('small', 'Degraded')?.status).toBe('False');
  });

  it.each([
    ['an image without a digest', { stages: [{ name: 'a', command: ['a'], image: 'tools/a:1' }] }, 'ImageNotPinned', '@sha256:'],
    ['a module that the image has not', { stages: [{ name: 'a', uses: './a.ts' }] }, 'StagesUnresolved', 'stages.json'],
    ['a pod that is too small', { resources: { memory: '100Mi' } }, 'SpecInvalid', 'resources.memory gives it 100Mi'],
    ['a source that is not there', { input: { source: '/nowhere/*.csv', format: 'csv' } }, 'InputUnreadable', '/nowhere'],
  ])('names %s', async (_what, spec, reason, words) => {
    server.put(pathOf('small'), resource('small', spec));
    await eventually(() => {
      expect(conditionOf('small', 'Degraded')).toMatchObject({
        status: 'True',
        reason,
        message: expect.stringContaining(words) as string,
      });
    });
  });

  it('has lines whose names are taken, until they are free', async () => {
    server.put(pathOf('small'), resource('small', { groups: [{ name: 'urgent', match: { key: '*' }, minLines: 1 }] }));
    await submitted();
    server.put(pathOf('small-urgent'), resource('small-urgent'));
    await eventually(() => {
      expect(conditionOf('small-urgent', 'Ready')).toMatchObject({
        status: 'False',
        reason: 'SpecInvalid',
        message: expect.stringContaining('those of pipeline small are') as string,
      });
    });
    expect(server.get(workloadOf('small-urgent'))?.metadata.labels?.['podline.dev/pipeline']).toBe('small');
    server.put(pathOf('small'), { ...resource('small'), status: statusOf('small') });
    await eventually(() => {
      expect(server.get(workloadOf('small-urgent'))?.metadata.labels?.['podline.dev/pipeline']).toBe('small-urgent');
    });
  });

  it('keeps what an earlier form of it has running', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    server.put(pathOf('small'), { ...resource('small', { stages: [] }), status: statusOf('small') });
    await eventually(() => {
      expect(conditionOf('small', 'Degraded')?.reason).toBe('SpecInvalid');
    });
    expect(server.get(workloadOf('small'))).toBeDefined();
    expect((await coordinator.pipeline('small')).counts.pending).toBe(2);
  });

  it('shows an object that the API server does not take', async () => {
    server.refusals.push({ method: 'PATCH', path: /statefulsets/, status: 422, message: 'replicas: too many' });
    server.put(pathOf('small'), resource('small'));
    await eventually(() => {
      expect(conditionOf('small', 'Ready')).toMatchObject({
        reason: 'ObjectsRefused',
        message: expect.stringContaining('too many') as string,
      });
    });
  });
});

describe('a coordinator', () => {
  it('tries again when the API server fails, and ends up where it would have without', async () => {
    for (let time = 0; time < 3; time += 1)
      server.refusals.push({ method: 'PATCH', path: /./, status: 500, message: 'etcd is away' });
    server.put(pathOf('small'), resource('small'));
    await submitted();
    expect(server.get(workloadOf('small'))).toBeDefined();
  });

  it('goes on after a restart where it was: the input is not submitted twice, and no condition changes', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    await eventually(() => {
      expect(conditionOf('small', 'Progressing')?.reason).toBe('LinesStarting');
    });
    const before = statusOf('small');
    await close();
    await open();
    await vi.waitFor(() => {
      clock.step(500);
      expect(
        server.requests.filter(({ method, path }) => method === 'PATCH' && path === workloadOf('small')).length,
      ).toBeGreaterThan(1);
    }, 10_000);
    expect(statusOf('small')).toEqual(before);
    expect((await coordinator.pipeline('small')).counts.pending).toBe(2);
  });

  it('deletes the pipeline before its resource goes, and runs the input of one that comes again', async () => {
    server.put(pathOf('small'), resource('small'));
    await submitted();
    const stored = server.get(pathOf('small')) as KubeObject;
    expect(stored.metadata.finalizers).toEqual(['podline.dev/journal']);
    server.put(pathOf('small'), { ...stored, metadata: { ...stored.metadata, deletionTimestamp: '2026-01-01T00:00:01Z' } });
    await eventually(() => {
      expect(server.get(pathOf('small'))).toBeUndefined();
    });
    await expect(coordinator.pipeline('small')).rejects.toMatchObject({ code: 'PDL_PIPELINE_UNKNOWN' });
    const again = resource('small');
    server.put(pathOf('small'), { ...again, metadata: { ...again.metadata, uid: 'another' } });
    await eventually(async () => {
      expect((await coordinator.pipeline('small')).counts).toMatchObject({ pending: 2, cancelled: 0 });
    });
    expect(await coordinator.pipeline('small')).toMatchObject({ paused: false, revision: 1 });
  });

  it('keeps pipelines of one name in several namespaces apart', async () => {
    await close();
    await open('cluster');
    server.put(pathOf('small'), resource('small'));
    server.put(pathOf('small', 'team'), resource('small', {}, 'team'));
    await eventually(async () => {
      expect((await coordinator.pipelines()).map(({ name }) => name).sort()).toEqual(['small', 'small.team']);
      expect(statusOf('small', 'team')?.input?.submitted).toBe(2);
    });
    const lines = JSON.stringify(specOf(workloadOf('small', 'team')));
    expect(lines).toContain('"name":"PODLINE_LINE","value":"$(POD_NAME).team"');
    expect(lines).toContain('"name":"PODLINE_PIPELINE","value":"small.team"');
  });
});

describe('lines', () => {
  const replicasOf = (name = 'small'): unknown => specOf(workloadOf(name))['replicas'];
  const quotaPath = '/api/v1/namespaces/podline/resourcequotas/team';
  const quota = (pods: number): unknown =>
    server.put(quotaPath, { metadata: { name: 'team', namespace: 'podline' }, spec: { hard: { pods: String(pods) } } });
  const podPath = (number: number): string => `/api/v1/namespaces/podline/pods/small-${String(number)}`;
  const appear = (...numbers: number[]): void => {
    appearOf('small-a', ...numbers);
  };
  /** As created from that revision of the template. */
  const appearOf = (revision: string, ...numbers: number[]): void => {
    for (const number of numbers)
      server.put(podPath(number), {
        metadata: {
          name: `small-${String(number)}`,
          namespace: 'podline',
          labels: {
            'app.kubernetes.io/name': 'podline-line',
            'podline.dev/pipeline': 'small',
            'podline.dev/group': 'default',
            'controller-revision-hash': revision,
          },
        },
        spec: { containers: [] },
        status: { phase: 'Running' },
      });
  };
  const hello = (number: number): Promise<unknown> =>
    coordinator.lineHello(`small-${String(number)}`, { pipeline: 'small', instance: 'i', node: 'n', slots: 1, residents: [] });
  const lease = async (number: number): Promise<{ shardId: string; epoch: number }[]> =>
    (await coordinator.lease(`small-${String(number)}`, { max: 1, waitMs: 0, residents: [] })).leases;

  it('are as many as the resource says, as far as the quota of the namespace allows', async () => {
    quota(2);
    server.put(pathOf('small'), resource('small', { lines: 5 }));
    await eventually(() => {
      expect(replicasOf()).toBe(2);
    });
    quota(4);
    await eventually(() => {
      expect(replicasOf()).toBe(4);
    });
    expect((await coordinator.pipeline('small')).flow).toMatchObject({ linesMax: 4, groups: [{ wanted: 4 }] });
  });

  it('are said to be outdated as soon as their pods are created from another template, and until theirs is', async () => {
    const templateIs = (updateRevision: string): void => {
      const stored = server.get(workloadOf('small')) as KubeObject;
      server.put(workloadOf('small'), { ...stored, status: { updateRevision, observedGeneration: stored.metadata.generation } });
    };
    server.put(pathOf('small'), resource('small'));
    await submitted();
    templateIs('small-a');
    appear(0);
    await eventually(() => {
      expect(statusOf('small')?.replicas).toBe(1);
    });
    expect(conditionOf('small', 'Degraded')).toMatchObject({ status: 'False', reason: 'AsExpected' });
    templateIs('small-b');
    await eventually(() => {
      expect(conditionOf('small', 'Degraded')).toMatchObject({ status: 'True', reason: 'LinesOutdated' });
    });
    server.delete(podPath(0));
    appearOf('small-b', 0);
    await eventually(() => {
      expect(conditionOf('small', 'Degraded')).toMatchObject({ status: 'False', reason: 'AsExpected' });
    });
  });

  it('are none where the quota leaves no room, and the status says why', async () => {
    quota(0);
    server.put(pathOf('small'), resource('small'));
    await eventually(() => {
      expect(conditionOf('small', 'Ready')).toMatchObject({
        reason: 'NoLines',
        message: 'no lines are wanted: W_max is 0 because pods quota 0 over 1 a line (ResourceQuota team)',
      });
    });
    expect(replicasOf()).toBe(0);
  });

  it('that are too many are drained from the top, and end when all above them hold nothing', async () => {
    server.put(pathOf('small'), resource('small', { lines: 3 }));
    await eventually(() => {
      expect(replicasOf()).toBe(3);
    });
    appear(0, 1, 2);
    for (const number of [0, 1, 2]) await hello(number);
    await submitted();
    const held = await lease(2);
    server.put(pathOf('small'), { ...(server.get(pathOf('small')) as KubeObject), ...resource('small', { lines: 1 }) });
    await eventually(async () => {
      expect((await coordinator.line('small-1')).state).toBe('draining');
    });
    // Line 1 holds nothing, and must not take line 2 with it.
    expect(replicasOf()).toBe(3);
    for (const { shardId } of held) await coordinator.cancel(shardId);
    await eventually(() => {
      expect(replicasOf()).toBe(1);
    });
    expect((await coordinator.line('small-0')).state).toBe('active');
  });

  it('that go are kept when they are wanted again', async () => {
    server.put(pathOf('small'), resource('small', { lines: 2 }));
    appear(0, 1);
    await eventually(() => {
      expect(replicasOf()).toBe(2);
    });
    for (const number of [0, 1]) await hello(number);
    await submitted();
    await lease(1);
    server.put(pathOf('small'), { ...(server.get(pathOf('small')) as KubeObject), ...resource('small', { lines: 1 }) });
    await eventually(async () => {
      expect((await coordinator.line('small-1')).state).toBe('draining');
    });
    server.put(pathOf('small'), { ...(server.get(pathOf('small')) as KubeObject), ...resource('small', { lines: 2 }) });
    await eventually(async () => {
      expect((await coordinator.line('small-1')).state).toBe('active');
    });
    expect(replicasOf()).toBe(2);
  });

  it('stay as they are when another coordinator takes over, whatever the demand was then', async () => {
    server.put(pathOf('small'), resource('small', { scaling: { minLines: 1, shardsPerLine: 1, stabilization: '1h' } }));
    await eventually(() => {
      expect(replicasOf()).toBe(2);
    });
    appear(0, 1);
    await eventually(() => {
      expect(statusOf('small')?.replicas).toBe(2);
    });
    for (const shard of (await coordinator.list('small')).shards) await coordinator.cancel(shard.id);
    await close();
    await open();
    await eventually(async () => {
      expect((await coordinator.pipeline('small')).flow?.groups).toMatchObject([{ lines: 2, wanted: 2 }]);
    });
    expect(replicasOf()).toBe(2);
  });

  it('of a pipeline that was deleted are not those of one that is created under its name', async () => {
    server.put(pathOf('small'), resource('small'));
    await eventually(() => {
      expect(replicasOf()).toBe(1);
    });
    appear(0);
    await hello(0);
    await submitted();
    const before = server.get(pathOf('small')) as KubeObject;
    server.put(pathOf('small'), { ...before, metadata: { ...before.metadata, deletionTimestamp: '2026-01-02T00:00:00Z' } });
    await eventually(() => {
      expect(server.get(pathOf('small'))).toBeUndefined();
    });
    server.delete(workloadOf('small'));
    server.delete(podPath(0));
    await eventually(async () => {
      expect(await coordinator.lines()).toEqual([]);
    });
    server.put(pathOf('small'), resource('small'));
    await eventually(() => {
      expect(replicasOf()).toBe(1);
    });
  });

  it('are asked for by an HPA where the installation says so: its ceiling is W_max, and it goes when the manifest has no scaling any more', async () => {
    await close();
    await open('namespaced', 'hpa');
    const hpaPath = '/apis/autoscaling/v2/namespaces/podline/horizontalpodautoscalers/small';
    quota(3);
    server.put(pathOf('small'), resource('small', { scaling: { shardsPerLine: 2 } }));
    await eventually(() => {
      expect(server.get(hpaPath)?.spec).toMatchObject({
        scaleTargetRef: { kind: 'Pipeline', name: 'small' },
        minReplicas: 1,
        maxReplicas: 3,
      });
    });
    expect(server.get(hpaPath)?.metadata.ownerReferences).toMatchObject([{ kind: 'Pipeline', name: 'small' }]);
    quota(7);
    await eventually(() => {
      expect(server.get(hpaPath)?.spec).toMatchObject({ maxReplicas: 7 });
    });
    server.put(pathOf('small'), { ...(server.get(pathOf('small')) as KubeObject), ...resource('small', { lines: 2 }) });
    await eventually(() => {
      expect(server.get(hpaPath)).toBeUndefined();
    });
    expect(replicasOf()).toBe(2);
  });

  it('go to none, and come back, through the resource: an HPA knows no zero', async () => {
    await close();
    await open('namespaced', 'hpa');
    const scales = (): unknown[] =>
      server.requests.flatMap(({ path, body }) => (path === `${pathOf('small')}/scale` ? [(body as KubeObject).spec] : []));
    const scaling = { minLines: 0, stabilization: '2s', downEvery: '1s' };
    server.put(pathOf('small'), resource('small', { input: {}, scaling }));
    await eventually(() => {
      expect(scales()).toEqual([{ replicas: 0 }]);
    });
    await eventually(() => {
      expect(replicasOf()).toBe(0);
    });
    await coordinator.submit('small', [{ key: 'a', source: { inline: 'x', format: 'bytes' }, parameters: {}, priority: 5 }]);
    await eventually(() => {
      expect(scales()).toEqual([{ replicas: 0 }, { replicas: 1 }]);
    });
    await eventually(() => {
      expect(replicasOf()).toBe(1);
    });
  });
});

describe('a pod whose node does not end it', () => {
  it('is removed by its uid when its grace and a lease time more are over', async () => {
    const path = '/api/v1/namespaces/podline/pods/small-0';
    const pod = {
      metadata: {
        name: 'small-0',
        namespace: 'podline',
        labels: { 'app.kubernetes.io/name': 'podline-line', 'podline.dev/pipeline': 'small' },
      },
      spec: { nodeName: 'dead', containers: [] },
    };
    server.put(pathOf('small'), resource('small'));
    await submitted();
    const { uid } = server.put(path, pod).metadata;
    const deletion = { deletionTimestamp: '2026-01-01T00:00:01Z', deletionGracePeriodSeconds: 10 };
    server.put(path, { ...pod, metadata: { ...pod.metadata, ...deletion } });
    await eventually(() => {
      expect(server.get(path)).toBeUndefined();
    });
    const removals = server.requests.filter((request) => request.method === 'DELETE' && request.path === path);
    expect(removals.map(({ body }) => body)).toMatchObject([{ gracePeriodSeconds: 0, preconditions: { uid } }]);
  });
});
