/**
 * Failures that somebody mends with `kubectl apply`, or that pass by themselves: images that cannot be had, images that end at once, and
 * a node without room. What is wrong stands in the status, and the result in the end is the laptop's.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import type { PipelineStatus } from '../../runtime/contracts/pipeline-status.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually, kubectl, kubectlJson, type Pod } from './support/cluster.js';
import { seconds } from './support/fault-line.js';
import { keepFigures } from './support/figures.js';
import { hashOnLaptop } from './support/held-stages.js';
import { install, namespace, type Installation } from './support/installation.js';

interface Resource {
  status?: PipelineStatus;
}
const mib = 2 ** 20;
/** Of a node's memory, for each of two lines. */
const greed = 0.6;

needs('cluster', 'busybox-static').describe('a pipeline that cannot begin', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  let busybox: string;
  let hash: string;
  const figures: object[] = [];

  const copy = (name: string, { spec = {}, ...stage }: Record<string, unknown> & { spec?: Record<string, unknown> } = {}) => ({
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name },
    spec: {
      input: { source: { inline: [{ v: 1 }, { v: 2 }] }, format: 'ndjson' },
      scratch: { size: '64Mi' },
      stages: [{ name: 'copy', command: ['cat'], stdio: 'ndjson', image: busybox, resources: { memory: '64Mi' }, ...stage }],
      retries: { backoff: { initial: '200ms', max: '1s' } },
      result: { format: 'ndjson' },
      ...spec,
    },
  });
  const fileOf = async (pipeline: { metadata: { name: string } }): Promise<string> => {
    const file = join(dir, `${pipeline.metadata.name}.json`);
    await writeFile(file, JSON.stringify(pipeline));
    return file;
  };
  const apply = async (pipeline: { metadata: { name: string } }): Promise<string> =>
    kubectl('-n', namespace, 'apply', '-f', await fileOf(pipeline));
  const conditionOf = (name: string, type: string, reason: string) =>
    eventually(
      `${type} of ${name} to be ${reason}`,
      async () => {
        const { status } = await kubectlJson<Resource>('-n', namespace, 'get', 'pipeline', name);
        return status?.conditions?.find((condition) => condition.type === type && condition.reason === reason);
      },
      120_000,
    );
  const delivered = async (name: string): Promise<void> => {
    await kubectl('-n', namespace, 'wait', '--for=condition=Complete', `pipeline/${name}`, '--timeout=180s');
    expect((await client.getByKey(name, 'inline')).result?.hash).toBe(hash);
  };
  const reasonsTold = async (name: string): Promise<string[]> => {
    const fields = `jsonpath={range .items[?(@.regarding.name=="${name}")]}{.reason} {end}`;
    return (await kubectl('-n', namespace, 'get', 'events.events.k8s.io', '-o', fields)).split(' ');
  };
  const remove = (name: string): Promise<string> =>
    kubectl('-n', namespace, 'delete', 'pipeline', name, '--timeout=120s', '--wait=true');
  /** From when it was applied to when the status says the reason, and from when it was mended to the result. */
  async function measure(
    failure: string,
    pipeline: { metadata: { name: string } },
    reason: string,
    mend: () => Promise<void>,
  ): Promise<string> {
    const { name } = pipeline.metadata;
    const beganMs = performance.now();
    await apply(pipeline);
    const { message } = await conditionOf(name, 'Degraded', reason);
    const saidMs = performance.now();
    await mend();
    const mendedMs = performance.now();
    await delivered(name);
    const told = reason;
    figures.push({ failure, told, saidS: seconds(saidMs - beganMs), deliveredS: seconds(performance.now() - mendedMs) });
    expect(await reasonsTold(name)).toContain(reason);
    return message;
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-images-'));
    await writeFile(join(dir, 'mark'), String(process.pid));
    await writeFile(join(dir, 'other'), `not ${String(process.pid)}`);
    busybox = await clusterScript(['foreign-image', 'busybox']);
    hash = await hashOnLaptop(await fileOf(copy('laptop', { image: undefined })), dir);
    installation = await install('namespaced');
    client = await installation.client();
  });

  afterAll(async () => {
    if (figures.length > 0) keepFigures('images', figures);
    await client?.close();
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster', 'busybox-static').it(
    'for an image that does not exist says so, and begins once another is named',
    async () => {
      const nowhere = copy('nowhere', { image: `registry.local:5000/podline/nowhere@sha256:${'0'.repeat(64)}` });
      const message = await measure('image that does not exist', nowhere, 'SwapFailed', async () => {
        await apply(copy('nowhere'));
      });
      expect(message).toMatch(/ErrImagePull|ImagePullBackOff/);
      await remove('nowhere');
    },
  );

  needs('cluster', 'busybox-static').it(
    'for an image whose command ends at once says how, and its shards are replayed once it was mended',
    async () => {
      const once = { spec: { retries: { limit: 1, backoff: { initial: '200ms' } } } };
      const exiting = copy('exiting', { command: ['false'], retries: 0, ...once });
      const message = await measure('image that exits at once', exiting, 'ShardsFailed', async () => {
        await kubectl('-n', namespace, 'wait', '--for=condition=Complete=False', 'pipeline/exiting', '--timeout=120s');
        await apply(copy('exiting', once));
        // What is replayed before its line has heard of it fails once more.
        await eventually('the line to work by it', async () =>
          (await client.line('exiting-0')).revision >= 2 ? true : undefined,
        );
        await eventually('the replay', async () => {
          const { replayed } = await client.replay('exiting');
          return replayed.length === 1 ? true : undefined;
        });
      });
      expect(message).toContain('exit code 1');
      await remove('exiting');
    },
  );

  needs('cluster', 'busybox-static').it(
    'by the image of one stage begins again at that stage once it is changed, and no other is touched',
    async () => {
      const imagesOf = async (): Promise<string[]> => {
        const { spec } = await kubectlJson<Pod>('-n', namespace, 'get', 'pod', 'changed-0');
        return spec.containers.filter(({ name }) => name.startsWith('slot-')).map(({ image }) => image.replace(/^.*@/, ''));
      };
      const digestOf = (image: string): string => image.replace(/^.*@/, '');
      const before = copy('changed').spec.stages;
      const behind = { stdio: 'ndjson', after: ['copy'], resources: { memory: '64Mi' }, retries: 0 };
      const spec = { slots: 2, retries: { limit: 0 }, checkpoints: { ssd: 'stage' } };
      const withLast = (last: Record<string, unknown>) =>
        copy('changed', { spec: { ...spec, stages: [...before, { name: 'last', ...behind, ...last }] } });
      await apply(withLast({ image: busybox, command: ['false'] }));
      await kubectl('-n', namespace, 'wait', '--for=condition=Complete=False', 'pipeline/changed', '--timeout=120s');
      expect(await imagesOf()).toEqual([digestOf(busybox), digestOf(busybox)]);
      const { revision } = await client.pipeline('changed');

      const other = await clusterScript(['foreign-image', 'busybox', join(dir, 'other')]);
      expect(digestOf(other)).not.toBe(digestOf(busybox));
      await apply(withLast({ image: other, command: ['cat'] }));
      await eventually('the new revision', async () =>
        (await client.pipeline('changed')).revision > revision ? true : undefined,
      );
      expect((await client.replay('changed')).replayed).toHaveLength(1);
      await kubectl('-n', namespace, 'wait', '--for=condition=Complete', 'pipeline/changed', '--timeout=120s');
      expect((await imagesOf()).sort()).toEqual([digestOf(busybox), digestOf(other)].sort());
      const { report } = await client.getByKey('changed', 'inline');
      expect(report?.stages.map(({ stage, runs }) => [stage, runs])).toEqual([
        ['copy', 0],
        ['last', 1],
      ]);
      await remove('changed');
    },
  );

  needs('cluster', 'busybox-static').it('while the registry is away says so, and begins by itself once it is back', async () => {
    // An image that no node has, whatever ran before.
    const image = await clusterScript(['foreign-image', 'busybox', join(dir, 'mark')]);
    let isAway = true;
    const back = async (): Promise<void> => {
      if (isAway) await clusterScript(['again', 'control', 'registry']);
      isAway = false;
    };
    await clusterScript(['signal', 'control', 'registry', 'KILL']);
    try {
      const message = await measure('registry away', copy('unpulled', { image }), 'SwapFailed', back);
      expect(message).toMatch(/ErrImagePull|ImagePullBackOff/);
    } finally {
      await back();
    }
    await remove('unpulled');
  });

  needs('cluster', 'busybox-static').it(
    'where another one has the node says that there is no room, and begins once that one has gone',
    async () => {
      const { items } = await kubectlJson<{ items: { status: { allocatable: { memory: string } } }[] }>('get', 'nodes');
      const memory = `${String(Math.floor((greed * Number.parseInt(items[0]?.status.allocatable.memory ?? '', 10)) / 1024))}Mi`;
      expect(Number.parseInt(memory, 10) * mib).toBeGreaterThan(2 ** 30);
      await apply(copy('greedy-one', { spec: { resources: { memory } } }));
      await delivered('greedy-one');
      const two = copy('greedy-two', { spec: { resources: { memory } } });
      const message = await measure('two pipelines for one node', two, 'Unschedulable', async () => {
        expect((await conditionOf('greedy-two', 'Progressing', 'Stuck')).message).toContain('Insufficient memory');
        await remove('greedy-one');
      });
      expect(message).toContain('Insufficient memory');
      await remove('greedy-two');
    },
  );
});
