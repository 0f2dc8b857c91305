/** Two coordinators on one journal in PostgreSQL, on a real cluster: a Lease says who leads, and the other takes over when that one dies. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { PostgresServer } from '../../benchmarks/peers/servers/postgres-server.js';
import type { PodlineClient } from '../../runtime/api/client.js';
import type { Submission } from '../../runtime/contracts/shard.js';
import { needs } from '../support/require.js';
import { eventually, kubectl, kubectlJson, machineIp } from './support/cluster.js';
import { install, namespace, type Installation } from './support/installation.js';

interface Lease {
  metadata: { annotations?: Record<string, string> };
  spec: { holderIdentity?: string; leaseTransitions: number };
}
interface Pods {
  items: { metadata: { name: string }; status: { podIP?: string } }[];
}

const shardsCount = 24;
const sleeper = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => setTimeout(() => console.log(line), 2_000))`;
const pipeline = {
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name: 'led' },
  spec: {
    lines: 2,
    input: { format: 'ndjson' },
    scratch: { size: '32Mi' },
    slots: 1,
    residents: 1,
    stages: [{ name: 'sleep', command: ['node', '-e', sleeper], stdio: 'ndjson', resources: { memory: '96Mi' } }],
    result: { format: 'ndjson' },
  },
};

needs('cluster', 'postgres').describe('two coordinators on a cluster', () => {
  let dir: string;
  let database: PostgresServer;
  let installation: Installation;
  let client: PodlineClient;
  const podline = (...args: string[]): Promise<string> => kubectl('-n', namespace, ...args);
  const leaseOf = (): Promise<Lease> => kubectlJson<Lease>('-n', namespace, 'get', 'lease', 'podline-coordinator');
  const leaderPod = async (): Promise<string> => {
    const address = (await leaseOf()).metadata.annotations?.['podline.dev/address'];
    const { items } = await kubectlJson<Pods>('-n', namespace, 'get', 'pods', '-l', 'app.kubernetes.io/name=podline-coordinator');
    const pod = items.find(({ status }) => status.podIP !== undefined && address?.includes(`//${status.podIP}:`) === true);
    if (pod === undefined) throw new Error(`no pod has the address ${String(address)}`);
    return pod.metadata.name;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-failover-'));
    // Pods of the test cluster come as they are, and nobody else reaches this address.
    const access = join(dir, 'pg_hba.conf');
    await writeFile(access, 'local all all trust\nhost all all 10.244.0.0/16 trust\n', { mode: 0o644 });
    await chmod(dir, 0o755);
    database = await PostgresServer.start({ listen_addresses: machineIp, hba_file: access, shared_buffers: '64MB' });
    const journal = `postgres://${database.user}@${machineIp}:5432/postgres`;
    installation = await install('namespaced', { components: ['postgres'], journal });
    client = await installation.client();
  });
  afterAll(async () => {
    await client?.close();
    await installation?.close();
    await database?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster', 'postgres').it(
    'have one that leads; when it is killed under load the other goes on, and nothing is lost or done twice',
    async () => {
      const file = join(dir, 'led.json');
      await writeFile(file, JSON.stringify(pipeline));
      await podline('apply', '-f', file);
      await eventually('two lines', async () => ((await client.lines()).length === 2 ? true : undefined), 120_000);
      const shards = Array.from({ length: shardsCount }, (_, shard): Submission => ({
        key: `s${String(shard)}`,
        source: { inline: [{ v: shard }], format: 'ndjson' },
        parameters: {},
        priority: 5,
      }));
      await client.submitAll('led', shards);
      await eventually('some that are done', async () => ((await client.progress('led')).completed >= 2 ? true : undefined));
      const [first, before] = [await leaderPod(), await leaseOf()];
      await podline('delete', 'pod', first, '--grace-period=0', '--force');
      const after = await eventually('another leader', async () => {
        const lease = await leaseOf();
        return lease.spec.holderIdentity !== before.spec.holderIdentity ? lease : undefined;
      });
      expect(after.spec.leaseTransitions).toBe(before.spec.leaseTransitions + 1);
      await eventually(
        'all shards',
        async () => ((await client.progress('led')).completed === shardsCount ? true : undefined),
        180_000,
      );
      const again: string[] = [];
      for await (const { key, epoch } of client.listAll('led')) if (epoch !== 1) again.push(key);
      expect(again).toEqual([]);
      // The one that was killed is a standby now: there are two again, and one leads.
      await podline('rollout', 'status', 'statefulset.apps/podline-coordinator', '--timeout=120s');
      expect((await leaseOf()).spec.holderIdentity).toBe(after.spec.holderIdentity);
    },
  );
});
