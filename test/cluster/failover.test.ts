/**
 * Two coordinators on one journal in PostgreSQL, on a real cluster and by TLS: a Lease says who leads, and the other takes over when that
 * one is killed. The components `postgres` and `tls` of the manifests, applied as they are.
 */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { PostgresServer } from '../../benchmarks/peers/servers/postgres-server.js';
import type { PodlineClient } from '../../runtime/api/client.js';
import { delayMs } from '../../runtime/api/http-caller.js';
import type { PodlineEvent } from '../../runtime/contracts/events.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually, kubectl, kubectlJson, machineIp } from './support/cluster.js';
import { keepFigures } from './support/figures.js';
import { install, namespace, type Installation } from './support/installation.js';

interface Lease {
  metadata: { annotations?: Record<string, string> };
  spec: { holderIdentity?: string; leaseTransitions: number };
}
interface Pods {
  items: { metadata: { name: string }; status: { podIP?: string } }[];
}

/** The promise: from the death of the leader to the next answered write. */
const failoverMsMax = 10_000;
/** Who submits the next shard when the one before was delivered. */
const submitters = 6;
const stageMs = 300;
const sleeper = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => setTimeout(() => console.log(line), ${String(stageMs)}))`;
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
const shard = (key: string) => ({ key, source: { inline: [{ key }], format: 'ndjson' as const } });

const { describe, it } = needs('cluster', 'postgres', 'openssl');

describe('two coordinators on a cluster', () => {
  let dir: string;
  let database: PostgresServer;
  let installation: Installation;
  let client: PodlineClient;
  const podline = (...args: string[]): Promise<string> => kubectl('-n', namespace, ...args);
  const leaseOf = (): Promise<Lease> => kubectlJson<Lease>('-n', namespace, 'get', 'lease', 'podline-coordinator');
  const leaderPod = async (): Promise<string> => {
    const address = (await leaseOf()).metadata.annotations?.['podline.dev/address'];
    const { items } = await kubectlJson<Pods>('-n', namespace, 'get', 'pods', '-l', 'app.kubernetes.io/name=podline-coordinator');
    const pod = items.find(({ status }) => address === `https://${status.podIP ?? ''}:8080`);
    if (pod === undefined) throw new Error(`no pod has the address ${String(address)}`);
    return pod.metadata.name;
  };
  const eventsUntilNow = async (): Promise<PodlineEvent[]> => {
    const last = await client.lastEventId();
    const events: PodlineEvent[] = [];
    for await (const event of client.events({ after: 0 })) {
      events.push(event);
      if (event.id >= last) break;
    }
    return events;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-failover-'));
    await chmod(dir, 0o755);
    // Pods of the test cluster come as they are, and nobody else reaches this address.
    const access = join(dir, 'pg_hba.conf');
    await writeFile(access, 'local all all trust\nhost all all 10.244.0.0/16 trust\n', { mode: 0o644 });
    const settings = { listen_addresses: machineIp, hba_file: access, shared_buffers: '64MB' };
    database = await PostgresServer.start(settings);
    const journal = `postgres://${database.user}@${machineIp}:5432/postgres`;
    installation = await install('namespaced', { components: ['postgres', 'tls'], journal });
    // What is measured is how long nobody leads, and not the pauses of who asks.
    client = await installation.client({ triesMax: 1_000, delay: (ms) => delayMs(Math.min(ms, 50)) });
  });
  afterAll(async () => {
    await client?.close();
    await installation?.close();
    await database?.close();
    await rm(dir, { recursive: true, force: true });
  });

  it('have one that leads; when it is killed under load the other goes on: nothing accepted is lost, nothing leased twice', async () => {
    const file = join(dir, 'led.json');
    await writeFile(file, JSON.stringify(pipeline));
    await podline('apply', '-f', file);
    await eventually('two lines', async () => ((await client.lines()).length === 2 ? true : undefined), 120_000);

    const accepted: string[] = [];
    let isOver = false as boolean;
    const submitter = async (name: number): Promise<void> => {
      for (let count = 0; !isOver; count += 1) {
        const answer = await client.submit('led', shard(`${String(name)}-${String(count)}`));
        if (answer.outcome === 'rejected') throw new Error(answer.error.message);
        accepted.push(answer.id);
        await client.waitFor(answer.id);
      }
    };
    const load = Promise.all(Array.from({ length: submitters }, (_, name) => submitter(name)));
    const completed = async (atLeast: number): Promise<number> =>
      eventually(`${String(atLeast)} shards`, async () => {
        const { completed: count } = await client.progress('led');
        return count >= atLeast ? count : undefined;
      });
    await completed(10);

    const [first, before] = [await leaderPod(), await leaseOf()];
    await clusterScript(['kill-container', '0', first, 'coordinator']);
    const killedMs = performance.now();
    await client.submit('led', shard('after the leader'));
    const failoverMs = performance.now() - killedMs;
    const after = await leaseOf();
    expect(after.spec.leaseTransitions).toBe(before.spec.leaseTransitions + 1);
    expect(failoverMs).toBeLessThan(failoverMsMax);
    const { completed: atFailover } = await client.progress('led');
    const killedToWorkMs = await completed(atFailover + 1).then(() => performance.now() - killedMs);
    await completed(atFailover + 10);
    isOver = true;
    await load;
    keepFigures('failover', [
      { failure: 'leader killed', failoverS: (failoverMs / 1_000).toFixed(1), deliveredS: (killedToWorkMs / 1_000).toFixed(1) },
    ]);

    await eventually('all shards', async () => {
      const { pending, running } = await client.progress('led');
      return pending + running === 0 ? true : undefined;
    });
    for (const id of accepted) expect(await client.get(id)).toMatchObject({ state: 'completed', epoch: 1 });
    const events = await eventsUntilNow();
    const of = (type: string): string[] =>
      events.flatMap(({ type: its, shardId = '', data }) =>
        its === type ? [`${shardId} ${JSON.stringify(data['epoch'])}`] : [],
      );
    expect(new Set(of('shard.leased')).size).toBe(of('shard.leased').length);
    expect(new Set(of('shard.completed')).size).toBe(accepted.length + 1);
    expect(of('shard.completed')).toHaveLength(accepted.length + 1);
  });

  it('are two again: the one that was killed is a standby, and ready', async () => {
    const { spec } = await leaseOf();
    await podline('rollout', 'status', 'statefulset.apps/podline-coordinator', '--timeout=120s');
    expect((await leaseOf()).spec.holderIdentity).toBe(spec.holderIdentity);
    const leader = await leaderPod();
    const standby = ['podline-coordinator-0', 'podline-coordinator-1'].find((pod) => pod !== leader) ?? '';
    const [fs, https] = ["require('node:fs')", "require('node:https')"];
    const options = `{ host: process.env.POD_IP, port: 8080, path: '/readyz', ca: ${fs}.readFileSync('/etc/podline-secrets/ca.crt') }`;
    const look = `${https}.get(${options}, (answer) => { console.log(answer.statusCode); process.exit(); })`;
    expect(await podline('exec', standby, '--', 'node', '-e', look)).toBe('200');
  });
});
