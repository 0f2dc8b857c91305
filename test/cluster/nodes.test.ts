/**
 * Nodes that are drained, that join and that die while lines work on them. What was on a dead one goes on from the volume, elsewhere, and
 * in the end every shard was delivered once.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import { coordinatorFindings } from '../../runtime/cli/findings.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually, kubectl, kubectlJson, type Pod } from './support/cluster.js';
import { FaultLine, figureOf, seconds } from './support/fault-line.js';
import { keepFigures } from './support/figures.js';
import { hashOnLaptop, Holds, writeHeldPipeline } from './support/held-stages.js';
import { install, namespace, type Installation } from './support/installation.js';

const shardsOfLoad = 20;
const nodes = [1, 2, 3] as const;
const label = 'podline.test/lines';

needs('cluster').describe('lines on several nodes', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  let holds: Holds;
  let line: FaultLine;
  let hash: string;
  const figures: object[] = [];

  const join_ = async (node: number): Promise<void> => {
    await clusterScript(['join', String(node)]);
    await kubectl('label', '--overwrite', 'node', `node${String(node)}`, `${label}=yes`);
  };
  const pods = async (): Promise<Pod[]> =>
    (await kubectlJson<{ items: Pod[] }>('-n', namespace, 'get', 'pods', '-l', 'podline.dev/pipeline=moving')).items;
  const heard = (lines: number): Promise<true> =>
    eventually(
      `${String(lines)} lines ready`,
      async () => {
        const { status } = await kubectlJson<{ status: { readyLines?: number; replicas?: number } }>(
          '-n',
          namespace,
          'get',
          'pipeline',
          'moving',
        );
        return status.readyLines === lines && status.replicas === lines ? true : undefined;
      },
      180_000,
    );

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-nodes-'));
    // A node that is away is given up at once: how long Kubernetes waits is not what is tested.
    const soon = ['not-ready', 'unreachable'].map((what) => ({
      key: `node.kubernetes.io/${what}`,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: 1,
    }));
    const manifest = await writeHeldPipeline(dir, 'moving', {
      lines: 1,
      // What a line has not taken yet is there for one that joins.
      residents: 1,
      placement: { nodeSelector: { [label]: 'yes' }, tolerations: soon },
    });
    hash = await hashOnLaptop(manifest, dir);
    // The coordinator is on node 0, which stays.
    installation = await install('namespaced', { pipelines: [manifest] });
    client = await installation.client();
    await join_(1);
    await join_(2);
    holds = await Holds.on([1, 2]);
    await kubectl('-n', namespace, 'apply', '-f', manifest);
    line = new FaultLine(namespace, 'moving', client, holds);
    await kubectl('-n', namespace, 'wait', '--for=condition=Complete', 'pipeline/moving', '--timeout=180s');
  });

  afterAll(async () => {
    if (figures.length > 0) keepFigures('nodes', figures);
    line?.close();
    await client?.close();
    // What a dead node holds would keep the namespace from going.
    await kubectl('-n', namespace, 'delete', 'pipeline', 'moving', '--ignore-not-found', '--timeout=60s').catch(() => '');
    await kubectl('-n', namespace, 'delete', 'pods', '-l', 'podline.dev/pipeline=moving', '--grace-period=0', '--force').catch(
      () => '',
    );
    await installation?.close();
    for (const node of nodes) {
      await clusterScript(['kill', String(node)]);
      await kubectl('delete', 'node', `node${String(node)}`, '--ignore-not-found');
    }
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('that are drained checkpoint, hand their lease over, and go on elsewhere where they were', async () => {
    const from = (await line.pod()).spec.nodeName ?? '';
    const struck = await line.strike('node drained', {
      at: ['second', 2],
      inject: async () => {
        const only = '--pod-selector=podline.dev/pipeline=moving';
        await kubectl('drain', from, '--ignore-daemonsets', '--delete-emptydir-data', only, '--timeout=120s');
      },
      again: true,
    });
    const { shard, runs, repeated, calls } = struck;
    expect(shard.result?.hash).toBe(hash);
    expect(shard).toMatchObject({ attempts: 0, epoch: 2, report: { resumedFrom: 'volume' } });
    expect(runs).toEqual({ first: 0, second: 1, third: 1 });
    expect(repeated).toEqual(['second.2']);
    expect(new Set(calls.map(({ node }) => `node${String(node)}`)).size).toBe(2);
    expect((await line.pod()).spec.nodeName).not.toBe(from);
    figures.push(figureOf('node drained', struck));
    await kubectl('uncordon', from);
  });

  needs('cluster').it('of which one joins and one dies under load deliver every shard once', async () => {
    const spread = async (): Promise<string[]> =>
      coordinatorFindings(await client.pipelines(), await client.lines(), false)
        .filter(({ about }) => about === 'group default of moving')
        .map(({ level, is }) => `${level}: ${is}`);
    expect(await spread()).toEqual([expect.stringMatching(/^warning: its only line is on node node[12]: /)]);
    await kubectl('-n', namespace, 'scale', 'pipeline', 'moving', '--replicas=2');
    await heard(2);
    expect(await spread()).toEqual(['ok: 2 lines on 2 nodes']);
    const keys = Array.from({ length: shardsOfLoad }, (_, number) => `load-${String(number)}`);
    const after = await client.lastEventId();
    for (const key of keys) await holds.hold(key, 'second', 2);
    const ids = await Promise.all(keys.map((key) => line.submit(key)));
    const workedOn = async (all: Holds, node: number): Promise<string | undefined> => {
      for (const key of keys)
        if ((await all.calls(key)).some((call) => call.node === node && call.stage === 'second' && call.block === 2)) return key;
      return undefined;
    };
    const busy = (all: Holds, node: number): Promise<string> =>
      eventually(`a shard on node ${String(node)}`, () => workedOn(all, node), 180_000);
    await busy(holds, 1);
    const orphan = await busy(holds, 2);

    // A third node joins, and a line with it.
    const joinMs = Date.now();
    await join_(3);
    const all = await Holds.on([3]).then(() => new Holds(nodes));
    for (const key of keys) await all.hold(key, 'second', 2);
    await kubectl('-n', namespace, 'scale', 'pipeline', 'moving', '--replicas=3');
    await busy(all, 3);
    figures.push({ failure: 'node joins under load', backS: seconds(Date.now() - joinMs) });

    // The second one dies, with a shard in its memory.
    const dead = (await pods()).find(({ spec }) => spec.nodeName === 'node2') ?? expect.fail('no pod on node 2');
    const beganMs = Date.now();
    await clusterScript(['kill', '2']);
    for (const key of keys) await all.release(key, 'second', 2);
    const shards = await Promise.all(ids.map((id) => line.ended(id)));
    expect(shards.map(({ result }) => result?.hash)).toEqual(ids.map(() => hash));
    expect(shards.map(({ attempts }) => attempts)).toEqual(ids.map(() => 0));

    const struck = shards.find(({ key }) => key === orphan) ?? expect.fail(`${orphan} is not there`);
    expect(struck).toMatchObject({ epoch: 2, report: { resumedFrom: 'volume' } });
    expect(struck.report?.stages.map(({ stage, runs }) => [stage, runs])).toEqual([
      ['first', 0],
      ['second', 1],
      ['third', 1],
    ]);
    const calls = await all.calls(orphan);
    const back = calls.find(({ atMs, node }) => atMs > beganMs && node !== 2) ?? expect.fail(`${orphan} did not go on`);
    figures.push({
      failure: 'node dead, other lines there',
      resumedFrom: 'volume',
      leases: struck.epoch,
      backS: seconds(back.atMs - beganMs),
      deliveredS: seconds(Date.parse(struck.endedAt ?? '') - beganMs),
    });

    // Each once: told once, and one folder of results each.
    const told: string[] = [];
    for await (const { type, shardId } of client.events({ after, pipeline: 'moving' })) {
      if (type === 'shard.completed' && shardId !== undefined) told.push(shardId);
      if (told.length === ids.length) break;
    }
    expect(told.sort()).toEqual([...ids].sort());
    const results = await readdir(installation.resultsOf('moving'));
    const delivered = await Promise.all(
      results.map(async (folder) => {
        const text = await readFile(join(installation.resultsOf('moving'), folder, 'manifest.json'), 'utf8');
        return (JSON.parse(text) as { hash: string }).hash;
      }),
    );
    // Two were delivered before the load: the manifest's own, and the one that was drained.
    expect(delivered).toEqual(Array.from({ length: shardsOfLoad + 2 }, () => hash));

    // The line of the dead node comes up on another one, although no kubelet says that it has ended.
    const again = await eventually(
      `another pod ${dead.metadata.name}`,
      async () => {
        const pod = (await pods()).find(({ metadata }) => metadata.name === dead.metadata.name);
        return pod?.metadata.uid !== dead.metadata.uid && pod?.status.phase === 'Running' ? pod : undefined;
      },
      240_000,
    );
    expect(again.spec.nodeName).not.toBe('node2');
    figures.push({ failure: 'node dead, its line elsewhere', backS: seconds(Date.now() - beganMs) });
    await heard(3);
  });
});
