/**
 * Lines under an HPA and under quotas, on a real cluster: the metric that the coordinator serves, the ceiling that it sets, and lines that
 * are drained before they go.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import type { Submission } from '../../runtime/contracts/shard.js';
import { needs } from '../support/require.js';
import { eventually, kubectl, kubectlJson } from './support/cluster.js';
import { install, namespace, type Installation } from './support/installation.js';

interface Hpa {
  spec: { minReplicas: number; maxReplicas: number };
  status: { desiredReplicas?: number };
}
interface Pods {
  items: { metadata: { name: string; deletionTimestamp?: string } }[];
}

/** Each shard takes its stage so long, in seconds. */
const workS = 2;
const sleeper = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => setTimeout(() => console.log(line), ${String(workS * 1_000)}))`;
const pipeline = (name: string, scaling: Record<string, unknown>): Record<string, unknown> => ({
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name },
  spec: {
    input: { format: 'ndjson' },
    scratch: { size: '32Mi' },
    slots: 1,
    residents: 1,
    stages: [{ name: 'sleep', command: ['node', '-e', sleeper], stdio: 'ndjson', resources: { memory: '96Mi' } }],
    result: { format: 'ndjson' },
    scaling: { shardsPerLine: 2, stabilization: '5s', downEvery: '1s', downShare: 1, ...scaling },
  },
});

needs('cluster').describe('lines on a cluster', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  const podline = (...args: string[]): Promise<string> => kubectl('-n', namespace, ...args);
  const apply = async (name: string, scaling: Record<string, unknown>): Promise<void> => {
    const file = join(dir, `${name}.json`);
    await writeFile(file, JSON.stringify(pipeline(name, scaling)));
    await podline('apply', '-f', file);
    await eventually('the pipeline to be taken in', () => client.pipeline(name).then(() => true));
  };
  const linesOf = async (name: string): Promise<number> =>
    Number(await podline('get', `statefulset.apps.kruise.io/${name}`, '-o', 'jsonpath={.spec.replicas}'));
  const podsOf = async (name: string): Promise<string[]> =>
    (await kubectlJson<Pods>('-n', namespace, 'get', 'pods', '-l', `podline.dev/pipeline=${name}`)).items.map(
      (pod) => pod.metadata.name,
    );
  const submit = async (name: string, count: number): Promise<void> => {
    const shards = Array.from({ length: count }, (_, shard): Submission => ({
      key: `s${String(shard).padStart(3, '0')}`,
      source: { inline: [{ v: shard }], format: 'ndjson' },
      parameters: {},
      priority: 5,
    }));
    const answers = await client.submitAll(name, shards);
    expect(answers.map(({ outcome }) => outcome)).toEqual(shards.map(() => 'accepted'));
  };
  /** Each shard was given to one line, which kept it to its end. */
  const expectLeasedOnce = async (name: string): Promise<void> => {
    const again: string[] = [];
    for await (const { key, epoch } of client.listAll(name)) if (epoch !== 1) again.push(key);
    expect(again).toEqual([]);
  };
  const done = (name: string, count: number): Promise<true> =>
    eventually(
      `${String(count)} shards`,
      async () => ((await client.progress(name)).completed === count ? true : undefined),
      240_000,
    );

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-scaling-'));
    installation = await install('namespaced', { components: ['autoscaling'] });
    client = await installation.client();
  });
  afterAll(async () => {
    await client?.close();
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('go up with the depth of the queue, and down again, by an HPA whose ceiling is W_max', async () => {
    await apply('asked', { minLines: 1, maxLines: 3 });
    const hpa = await eventually('the HPA', () => kubectlJson<Hpa>('-n', namespace, 'get', 'hpa', 'asked'));
    expect(hpa.spec).toMatchObject({ minReplicas: 1, maxReplicas: 3 });
    await eventually('one line', async () => ((await podsOf('asked')).length === 1 ? true : undefined));
    await submit('asked', 40);
    await eventually('three lines', async () => ((await podsOf('asked')).length === 3 ? true : undefined), 120_000);
    expect((await kubectlJson<Hpa>('-n', namespace, 'get', 'hpa', 'asked')).status.desiredReplicas).toBe(3);
    await done('asked', 40);
    await eventually('one line again', async () => ((await podsOf('asked')).length === 1 ? true : undefined), 180_000);
    // None was ended with a shard in its hands.
    await expectLeasedOnce('asked');
    const root = installation.resultsOf('asked');
    expect(await readdir(root)).toHaveLength(40);
    expect(await readFile(join(root, 's007', 'sleep.ndjson'), 'utf8')).toBe('{"v":7}\n');
  });

  needs('cluster').it(
    'are never more than the quota allows while it changes ten times under load, and the work ends',
    async () => {
      const quota = (lines: number): Promise<string> =>
        kubectl(
          '-n',
          namespace,
          'patch',
          'resourcequota',
          'lines',
          '--type=merge',
          '-p',
          JSON.stringify({ spec: { hard: { pods: String(lines + 1) } } }),
        );
      await podline('delete', 'pipeline', 'asked', '--timeout=60s');
      await eventually('no lines', async () => ((await podsOf('asked')).length === 0 ? true : undefined));
      // One more for the coordinator.
      await podline('create', 'quota', 'lines', '--hard=pods=4');
      try {
        await apply('bounded', { minLines: 0, maxLines: 4, shardsPerLine: 1 });
        await submit('bounded', 50);
        for (const lines of [3, 1, 2, 4, 1, 3, 2, 4, 2, 3]) {
          await quota(lines);
          // Those above it are drained: each ends what it has, and takes nothing new.
          await eventually(
            `at most ${String(lines)} lines`,
            async () => ((await podsOf('bounded')).length <= lines ? true : undefined),
            120_000,
          );
          await eventually(`W_max ${String(lines)}`, async () =>
            (await client.pipeline('bounded')).flow?.linesMax === lines ? true : undefined,
          );
          expect((await podsOf('bounded')).length).toBeLessThanOrEqual(lines);
        }
        await done('bounded', 50);
        await expectLeasedOnce('bounded');
        await eventually('no lines', async () => ((await linesOf('bounded')) === 0 ? true : undefined), 180_000);
      } finally {
        await podline('delete', 'quota', 'lines', '--ignore-not-found');
      }
    },
  );
});
