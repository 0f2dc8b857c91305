/**
 * Storage that lines claim: a volume of each pipeline's own, and the SSD of a node by each line. Storage is made beforehand, as an administrator
 * without a provisioner does.
 */
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually, kubectl, kubectlJson, volumeDir } from './support/cluster.js';
import { FaultLine } from './support/fault-line.js';
import { hashOnLaptop, Holds, writeHeldPipeline } from './support/held-stages.js';
import { install, namespace, type Installation } from './support/installation.js';

interface Claim {
  metadata: { name: string; uid: string; ownerReferences?: object[] };
  spec: { volumeName?: string };
  status: { phase: string };
}

const ssdClass = 'podline-test-ssd';
const volumeClass = 'podline-test-volume';
const label = 'podline.test/claims';
const longMs = 180_000;

needs('cluster').describe('claims', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  let line: FaultLine;
  let hash: string;
  const podline = (...args: string[]): Promise<string> => kubectl('-n', namespace, ...args);
  const apply = async (name: string, ...objects: object[]): Promise<void> => {
    const file = join(dir, `${name}.json`);
    await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
    await kubectl('apply', '-f', file);
  };
  const storageClass = (name: string, volumeBindingMode: string) => ({
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name },
    provisioner: 'kubernetes.io/no-provisioner',
    volumeBindingMode,
  });
  const storage = (name: string, of: string, accessMode: string, more: object) => ({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, labels: { [label]: 'yes' } },
    spec: {
      capacity: { storage: '1Gi' },
      accessModes: [accessMode],
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: of,
      ...more,
    },
  });
  /** The SSD of one node, which can be had there alone. */
  const ssdOf = (node: number) =>
    storage(`podline-test-ssd-${String(node)}`, ssdClass, 'ReadWriteOnce', {
      local: { path: '/mnt/ssd' },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [`node${String(node)}`] }] },
          ],
        },
      },
    });
  const claims = async (): Promise<Claim[]> =>
    (await kubectlJson<{ items: Claim[] }>('-n', namespace, 'get', 'pvc', '-l', 'podline.dev/pipeline=claiming')).items;
  const claimOf = (name: string): Promise<Claim> =>
    eventually(`the claim ${name}, bound`, async () =>
      (await claims()).find(({ metadata, status }) => metadata.name === name && status.phase === 'Bound'),
    );
  const gone = (name: string): Promise<true> =>
    eventually(`no claim ${name}`, async () =>
      (await claims()).every(({ metadata }) => metadata.name !== name) ? true : undefined,
    );

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-claims-'));
    const manifest = await writeHeldPipeline(dir, 'claiming', {
      lines: 1,
      residents: 1,
      placement: { nodeSelector: { [label]: 'yes' } },
    });
    hash = await hashOnLaptop(manifest, dir);
    await rm(join(volumeDir, 'claimed'), { recursive: true, force: true });
    await mkdir(join(volumeDir, 'claimed'), { recursive: true });
    await chmod(join(volumeDir, 'claimed'), 0o777);
    await clusterScript(['join', '1']);
    for (const node of [0, 1]) await kubectl('label', '--overwrite', 'node', `node${String(node)}`, `${label}=yes`);
    await apply('classes', storageClass(ssdClass, 'WaitForFirstConsumer'), storageClass(volumeClass, 'Immediate'), ssdOf(1));
    installation = await install('namespaced', {
      pipelines: [manifest],
      lines: {
        ssdClaim: { storageClass: ssdClass, size: '1Gi' },
        volumeClaim: { storageClass: volumeClass, size: '1Gi' },
      },
    });
    client = await installation.client();
    const holds = await Holds.on([0, 1]);
    line = new FaultLine(namespace, 'claiming', client, holds);
    await podline('apply', '-f', manifest);
  });

  afterAll(async () => {
    line?.close();
    await client?.close();
    await installation?.close();
    await kubectl('delete', 'pv', '-l', `${label}=yes`, '--ignore-not-found', '--timeout=60s');
    await kubectl('delete', 'storageclass', ssdClass, volumeClass, '--ignore-not-found');
    await kubectl('label', 'node', 'node0', `${label}-`);
    await clusterScript(['kill', '1']);
    await kubectl('delete', 'node', 'node1', '--ignore-not-found');
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('that nothing is there for are told of, in the scheduler’s words', async () => {
    const said = await eventually(
      'Degraded=True VolumePending',
      async () => {
        const { status } = await kubectlJson<{ status?: { conditions?: { type: string; reason: string; message: string }[] } }>(
          '-n',
          namespace,
          'get',
          'pipeline',
          'claiming',
        );
        return status?.conditions?.find(({ type, reason }) => type === 'Degraded' && reason === 'VolumePending');
      },
      longMs,
    );
    expect(said.message).toMatch(/^claiming-0: .*unbound immediate PersistentVolumeClaims/);
  });

  needs('cluster').it('are bound once there is storage; results and major checkpoints lie on the volume', async () => {
    await apply(
      'volume',
      storage('podline-test-volume', volumeClass, 'ReadWriteMany', {
        hostPath: { path: '/mnt/volume/claimed', type: 'Directory' },
      }),
    );
    await podline('wait', '--for=condition=Complete', 'pipeline/claiming', '--timeout=180s');
    expect((await claimOf('claiming-volume')).spec.volumeName).toBe('podline-test-volume');
    expect((await claimOf('ssd-claiming-0')).spec.volumeName).toBe('podline-test-ssd-1');
    expect((await line.pod()).spec.nodeName).toBe('node1');
    const results = join(volumeDir, 'claimed', 'results', 'claiming', 'results');
    const [folder = expect.fail('there is no result')] = await readdir(results);
    const { hash: found } = JSON.parse(await readFile(join(results, folder, 'manifest.json'), 'utf8')) as { hash: string };
    expect(found).toBe(hash);
  });

  needs('cluster').it('stay with a line whose pod is deleted, which goes on from them', async () => {
    const before = await claimOf('ssd-claiming-0');
    const { shard, runs } = await line.strike('pod deleted', {
      at: ['second', 2],
      inject: async () => {
        await podline('delete', 'pod', 'claiming-0', '--grace-period=0', '--force');
      },
      again: true,
    });
    expect(shard.result?.hash).toBe(hash);
    expect(shard.report?.resumedFrom).toBe('ssd');
    expect(runs['first']).toBe(0);
    expect((await claimOf('ssd-claiming-0')).metadata.uid).toBe(before.metadata.uid);
  });

  needs('cluster').it('of an SSD that keeps the line on a node that is drained are made anew, elsewhere', async () => {
    const before = await claimOf('ssd-claiming-0');
    await apply('ssd', ssdOf(0));
    const { shard } = await line.strike('node drained', {
      at: ['second', 2],
      inject: async () => {
        const only = '--pod-selector=podline.dev/pipeline=claiming';
        await kubectl('drain', 'node1', '--ignore-daemonsets', '--delete-emptydir-data', only, '--timeout=120s');
      },
      again: true,
    });
    expect(shard.result?.hash).toBe(hash);
    expect(shard.report?.resumedFrom).toBe('volume');
    const after = await claimOf('ssd-claiming-0');
    expect(after.metadata.uid).not.toBe(before.metadata.uid);
    expect(after.spec.volumeName).toBe('podline-test-ssd-0');
    expect((await line.pod()).spec.nodeName).toBe('node0');
  });

  needs('cluster').it('of lines go with them; the volume’s stays when the pipeline goes', async () => {
    await podline('scale', 'pipeline', 'claiming', '--replicas=0');
    await gone('ssd-claiming-0');
    await podline('delete', 'pipeline', 'claiming', '--timeout=60s');
    const kept = await claimOf('claiming-volume');
    expect(kept.metadata.ownerReferences).toBeUndefined();
    expect(await readdir(join(volumeDir, 'claimed', 'results'))).toEqual(['claiming']);
    await podline('delete', 'pvc', 'claiming-volume', '--timeout=60s');
  });
});
