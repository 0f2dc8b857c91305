/**
 * Lines under an HPA and under quotas, on a real cluster: the metric that the coordinator serves, the ceiling that it sets, and lines that
 * are drained before they go.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import type { Submission } from '../../runtime/contracts/shard.js';
import { needs } from '../support/require.js';
import { eventually, kubeconfig, kubectl, kubectlJson } from './support/cluster.js';
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
const linesMax = 4;
/** Of `manifests/base/coordinator.yaml`. */
const coordinatorMilli = 100;
/** What a container asks for that says nothing, by the LimitRange: the agent's. */
const defaultMilli = 50;
const lineMilli = 200 + defaultMilli;
const sleeper = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => setTimeout(() => console.log(line), ${String(workS * 1_000)}))`;
const pipeline = (name: string, scaling: Record<string, unknown>, cpu?: string): Record<string, unknown> => ({
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name },
  spec: {
    input: { format: 'ndjson' },
    scratch: { size: '32Mi' },
    slots: 1,
    residents: 1,
    stages: [
      {
        name: 'sleep',
        command: ['node', '-e', sleeper],
        stdio: 'ndjson',
        resources: { memory: '96Mi', ...(cpu === undefined ? {} : { cpu }) },
      },
    ],
    result: { format: 'ndjson' },
    scaling: { shardsPerLine: 2, stabilization: '5s', downEvery: '1s', downShare: 1, ...scaling },
  },
});

needs('cluster').describe('lines on a cluster', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  const podline = (...args: string[]): Promise<string> => kubectl('-n', namespace, ...args);
  const apply = async (name: string, scaling: Record<string, unknown>, cpu?: string): Promise<void> => {
    const file = join(dir, `${name}.json`);
    await writeFile(file, JSON.stringify(pipeline(name, scaling, cpu)));
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
  const limitRange = async (): Promise<void> => {
    const limits = [{ type: 'Container', defaultRequest: { cpu: `${String(defaultMilli)}m` } }];
    const file = join(dir, 'limit-range.json');
    await writeFile(
      file,
      JSON.stringify({ apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'lines' }, spec: { limits } }),
    );
    await podline('apply', '-f', file);
  };
  /** Each number of lines that is asked of the cluster from now on, as the API server tells of it. */
  const watchReplicas = async (name: string): Promise<{ seen: number[]; close: () => void }> => {
    const path = `/apis/apps.kruise.io/v1beta1/namespaces/${namespace}/statefulsets`;
    const { metadata } = JSON.parse(await kubectl('get', '--raw', path)) as { metadata: { resourceVersion: string } };
    const seen: number[] = [];
    const gone = new AbortController();
    const watched = `${path}?watch=true&resourceVersion=${metadata.resourceVersion}`;
    const child = spawn('kubectl', ['--kubeconfig', kubeconfig, 'get', '--raw', watched], {
      stdio: ['ignore', 'pipe', 'inherit'],
      signal: gone.signal,
    });
    child.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { object } = JSON.parse(line) as { object: { metadata: { name: string }; spec: { replicas: number } } };
      if (object.metadata.name === name) seen.push(object.spec.replicas);
    });
    return {
      seen,
      close: () => {
        gone.abort();
      },
    };
  };
  /** Once so many lines of `asked` work, each on another shard. */
  const onLines = (count: number) => async (): Promise<true | undefined> => {
    const { shards } = await client.list('asked', { state: 'running' });
    const lines = shards.map(({ line }) => line);
    return lines.length === count && new Set(lines).size === count ? true : undefined;
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
    await apply('asked', { minLines: 1, maxLines: linesMax });
    const hpa = await eventually('the HPA', () => kubectlJson<Hpa>('-n', namespace, 'get', 'hpa', 'asked'));
    expect(hpa.spec).toMatchObject({ minReplicas: 1, maxReplicas: linesMax });
    await eventually('one line', async () => ((await podsOf('asked')).length === 1 ? true : undefined));
    await submit('asked', 60);
    await eventually('four lines', async () => ((await podsOf('asked')).length === linesMax ? true : undefined), 120_000);
    await eventually('four shards at once, each on a line of its own', onLines(linesMax), 120_000);
    expect((await kubectlJson<Hpa>('-n', namespace, 'get', 'hpa', 'asked')).status.desiredReplicas).toBe(linesMax);
    await done('asked', 60);
    await eventually('one line again', async () => ((await podsOf('asked')).length === 1 ? true : undefined), 180_000);
    // None was ended with a shard in its hands.
    await expectLeasedOnce('asked');
    const root = installation.resultsOf('asked');
    expect(await readdir(root)).toHaveLength(60);
    expect(await readFile(join(root, 's007', 'sleep.ndjson'), 'utf8')).toBe('{"v":7}\n');
  });

  needs('cluster').it(
    'are never more than the quota allows while it changes ten times under load, and the work ends',
    async () => {
      // By turns it is the number of pods that binds, and the cpu that their requests add up to. One more, and its request, for the coordinator.
      const quota = (lines: number, step: number): Promise<string> => {
        const [byPods, byCpu] = step % 2 === 0 ? [lines, linesMax] : [linesMax, lines];
        const hard = { pods: String(byPods + 1), 'requests.cpu': `${String(coordinatorMilli + byCpu * lineMilli)}m` };
        return podline('patch', 'resourcequota', 'lines', '--type=merge', '-p', JSON.stringify({ spec: { hard } }));
      };
      await podline('delete', 'pipeline', 'asked', '--timeout=60s');
      await eventually('no lines', async () => ((await podsOf('asked')).length === 0 ? true : undefined));
      await limitRange();
      await podline('create', 'quota', 'lines', '--hard=pods=1');
      const asked = await watchReplicas('bounded');
      try {
        await quota(3, 0);
        await apply('bounded', { minLines: 0, maxLines: linesMax, shardsPerLine: 1 }, '200m');
        await submit('bounded', 50);
        let before = 3;
        for (const [step, lines] of [3, 1, 2, 4, 1, 3, 2, 4, 2, 3].entries()) {
          const from = asked.seen.length;
          await quota(lines, step);
          // Those above it are drained: each ends what it has, and takes nothing new.
          await eventually(
            `at most ${String(lines)} lines`,
            async () => ((await podsOf('bounded')).length <= lines ? true : undefined),
            120_000,
          );
          await eventually(`W_max ${String(lines)}`, async () =>
            (await client.pipeline('bounded')).flow?.linesMax === lines ? true : undefined,
          );
          await eventually(`an HPA up to ${String(lines)}`, async () =>
            (await kubectlJson<Hpa>('-n', namespace, 'get', 'hpa', 'bounded')).spec.maxReplicas === lines ? true : undefined,
          );
          expect((await podsOf('bounded')).length).toBeLessThanOrEqual(lines);
          // What was asked of the cluster, which no quota cuts down: never more than was allowed before or is now.
          expect(Math.max(0, ...asked.seen.slice(from))).toBeLessThanOrEqual(Math.max(before, lines));
          before = lines;
        }
        expect(asked.seen.length).toBeGreaterThan(0);
        await done('bounded', 50);
        await expectLeasedOnce('bounded');
        await eventually('no lines', async () => ((await linesOf('bounded')) === 0 ? true : undefined), 180_000);
      } finally {
        asked.close();
        await podline('delete', 'quota', 'lines', '--ignore-not-found');
        await podline('delete', 'limitrange', 'lines', '--ignore-not-found');
      }
    },
  );
});
