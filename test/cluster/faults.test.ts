/**
 * Failures of containers, of pods and of what the cluster is made of, each brought about for real while a shard is on the line. Each ends
 * with the laptop's result hash, and with no more work done again than the design says; what the user is told is looked at, too.
 *
 * All of them strike one line on one node, one after the other. Failures of nodes: `nodes.test.ts`; of images: `images.test.ts`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import type { PodlineEvent } from '../../runtime/contracts/events.js';
import { needs } from '../support/require.js';
import { clusterScript, eventually, kubectl, kubectlJson, type Pod } from './support/cluster.js';
import { amissIn, FaultLine, figureOf, lasting, type Strike, type Struck } from './support/fault-line.js';
import { keepFigures } from './support/figures.js';
import { hashOnLaptop, heldBlocks, Holds, heldStages, writeHeldPipeline } from './support/held-stages.js';
import { install, namespace, type Installation } from './support/installation.js';

/** Long enough for everything that speaks to it to notice. */
const awayMs = 30_000;
const away = `${String(awayMs / 1_000)} s`;

/** Why its containers ended the last time. */
const reasonsOf = ({ status }: Pod): (string | undefined)[] =>
  (status.containerStatuses ?? []).map(({ lastState }) => lastState?.terminated?.reason);

needs('cluster').describe('a line that is struck', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;
  let holds: Holds;
  let line: FaultLine;
  let hash: string;
  let bystanding: string;
  const figures: object[] = [];
  let strikes = 0;

  /** Strikes, and holds what is true of every failure. */
  async function strike(title: string, how: Strike, attemptsMax = 0): Promise<Struck> {
    strikes += 1;
    const struck = await line.strike(title, how);
    const { shard } = struck;
    expect(shard.result?.hash).toBe(hash);
    // As a rule nobody is to blame: no try of the shard was counted.
    expect(shard.attempts).toBeLessThanOrEqual(attemptsMax);
    expect(struck.events.filter(({ type }) => type === 'shard.completed')).toHaveLength(1);
    figures.push(figureOf(title, struck));
    return struck;
  }

  const eventsUntilNow = async (): Promise<PodlineEvent[]> => {
    const last = await client.lastEventId();
    const events: PodlineEvent[] = [];
    for await (const event of client.events({ after: 0, pipeline: 'struck' })) {
      events.push(event);
      if (event.id >= last) break;
    }
    return events;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-faults-'));
    const manifest = await writeHeldPipeline(dir, 'struck');
    bystanding = await writeHeldPipeline(dir, 'bystander');
    hash = await hashOnLaptop(manifest, dir);
    holds = await Holds.on([0]);
    installation = await install('namespaced', { pipelines: [manifest, bystanding] });
    client = await installation.client();
    await kubectl('-n', namespace, 'apply', '-f', manifest);
    line = new FaultLine(namespace, 'struck', client, holds);
    await kubectl('-n', namespace, 'wait', '--for=condition=Complete', 'pipeline/struck', '--timeout=120s');
    const undisturbed = await client.getByKey('struck', 'inline');
    expect(undisturbed.result?.hash).toBe(hash);
  });

  afterAll(async () => {
    if (figures.length > 0) keepFigures('faults', figures);
    line?.close();
    await client?.close();
    await holds?.remove();
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  // --- containers -----------------------------------------------------------------------------

  needs('cluster').it('in a container that is killed, does the block again that was not committed', async () => {
    const { shard, runs, repeated, told } = await strike('container killed', {
      at: ['second', 2],
      inject: async (key) => {
        const slot = await line.slotOf('second', 'running');
        const { id } = await client.getByKey('struck', key);
        expect((await client.line(line.name)).shards, 'the line by the name of its pod').toMatchObject([
          { shardId: id, epoch: 1 },
        ]);
        await clusterScript(['kill-container', '0', line.name, `slot-${String(slot)}`]);
      },
      again: true,
    });
    expect(runs).toEqual({ first: 1, second: 2, third: 1 });
    expect(repeated).toEqual(['second.2']);
    expect(shard).toMatchObject({ epoch: 1, report: { resumedFrom: 'source' } });
    expect(told).toContain('slot.lost');
  });

  needs('cluster').it(
    'in a container that runs out of memory, the same; the pod says OOMKilled, and no other line notices',
    async () => {
      await kubectl('-n', namespace, 'apply', '-f', bystanding);
      await kubectl('-n', namespace, 'wait', '--for=condition=Complete', 'pipeline/bystander', '--timeout=120s');
      const bystander = new FaultLine(namespace, 'bystander', client, holds);
      await holds.hold('beside', 'second', 1);
      const beside = await bystander.submit('beside');
      await bystander.came('beside', 'second', 1);
      const { uid } = (await bystander.pod()).metadata;

      let reason: string | undefined;
      const { shard, runs, repeated, told } = await strike('container out of memory', {
        at: ['second', 2],
        how: 'grow',
        inject: async () => {
          reason = await eventually('an OOMKilled container', async () =>
            reasonsOf(await line.pod()).find((word) => word === 'OOMKilled'),
          );
        },
        again: true,
      });
      expect(reason).toBe('OOMKilled');
      expect(runs).toEqual({ first: 1, second: 2, third: 1 });
      expect(repeated).toEqual(['second.2']);
      expect(shard.epoch).toBe(1);
      expect(told).toContain('slot.lost');

      await holds.release('beside', 'second', 1);
      expect(await bystander.ended(beside)).toMatchObject({ epoch: 1, attempts: 0, result: { hash } });
      const called = (await holds.calls('beside')).map(({ stage, block }) => `${stage}.${String(block)}`);
      expect(called.sort()).toEqual(
        heldStages.flatMap((stage) => Array.from({ length: heldBlocks }, (_, block) => `${stage}.${String(block)}`)).sort(),
      );
      const after = await bystander.pod();
      expect(after.metadata.uid).toBe(uid);
      expect(reasonsOf(after)).not.toContain('OOMKilled');
      bystander.close();
      await kubectl('-n', namespace, 'delete', 'pipeline', 'bystander', '--timeout=120s');
    },
  );

  needs('cluster').it('by a scratch that is full, tells so and goes on once there is room', async () => {
    const file = '/podline-scratch/filler';
    // To the last page.
    const fill = `const { openSync, writeSync } = require('node:fs'); const file = openSync('${file}', 'w');
      for (const bytes of [65536, 4096]) try { for (;;) writeSync(file, Buffer.alloc(bytes)); } catch (error) { if (error.code !== 'ENOSPC') throw error; }`;
    const agent = (code: string): Promise<string> => line.kubectl('exec', line.name, '-c', 'agent', '--', 'node', '-e', code);
    const how: Strike = {
      at: ['second', 2],
      inject: async () => {
        await agent(fill);
      },
      mend: async () => {
        await eventually('a word about it', async () => {
          for (const { type, data } of await eventsUntilNow())
            if (type === 'scratch.spilled' || (type === 'stage.failed' && JSON.stringify(data).includes('PDL_SCRATCH_FULL')))
              return true;
          return undefined;
        });
        await agent(`require('node:fs').rmSync('${file}')`);
      },
    };
    // How many tries of the stage, and then of the shard, there are until there is room is a matter of moments.
    const { runs, repeated, told } = await strike('scratch full', how, 3);
    expect([1, 2, 3], 'a stage is tried again twice').toContain(runs['third']);
    expect(repeated.filter((block) => !block.startsWith('third.'))).toEqual([]);
    expect(told.some((type) => type === 'scratch.spilled' || type === 'stage.failed')).toBe(true);
  });

  // --- pods -----------------------------------------------------------------------------------

  /** Once its budget allows it: a pod that has just come counts as away for a moment. */
  const takenAway = async (...args: string[]): Promise<void> => {
    await eventually(args.join(' '), () => line.kubectl(...args));
  };

  needs('cluster').it('in a pod that is deleted, goes on from the node’s SSD at the block where it was', async () => {
    const before = (await line.pod()).metadata.uid;
    const { shard, runs, repeated, conditions } = await strike('pod deleted', {
      at: ['second', 2],
      inject: () => takenAway('delete', 'pod', line.name, '--wait=false'),
      again: true,
    });
    expect((await line.pod()).metadata.uid).not.toBe(before);
    expect(shard).toMatchObject({ epoch: 2, report: { resumedFrom: 'ssd' } });
    expect(runs).toEqual({ first: 0, second: 1, third: 1 });
    expect(repeated).toEqual(['second.2']);
    expect(conditions).toContain('Ready=False LinesStarting');
  });

  needs('cluster').it('in a pod that is taken away without notice, goes on behind the last stage that was whole', async () => {
    const { shard, runs, repeated } = await strike('pod deleted by force', {
      at: ['second', 2],
      inject: () => takenAway('delete', 'pod', line.name, '--grace-period=0', '--force', '--wait=false'),
      again: true,
    });
    expect(shard.report?.resumedFrom).toBe('ssd');
    expect(runs).toEqual({ first: 0, second: 1, third: 1 });
    // Its processes go on until the kubelet hears of it; what they do then is committed nowhere.
    expect(['second.0', 'second.1', 'second.2', 'second.3']).toEqual(expect.arrayContaining(repeated));
  });

  needs('cluster').it('in a pod that is evicted, goes on from the node’s SSD', async () => {
    const eviction = join(dir, 'eviction.json');
    await writeFile(
      eviction,
      JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: line.name, namespace } }),
    );
    const { shard, runs, repeated } = await strike('pod evicted', {
      at: ['second', 2],
      inject: () => takenAway('create', '--raw', `/api/v1/namespaces/${namespace}/pods/${line.name}/eviction`, '-f', eviction),
      again: true,
    });
    expect(shard).toMatchObject({ epoch: 2, report: { resumedFrom: 'ssd' } });
    expect(runs).toEqual({ first: 0, second: 1, third: 1 });
    expect(repeated).toEqual(['second.2']);
  });

  // --- what the cluster is made of -------------------------------------------------------------

  const undisturbed = { epoch: 1, report: { resumedFrom: 'source' } };
  const onceEach = { first: 1, second: 1, third: 1 };
  /** The first stage is held, and the second waits in its slot: the third is yet to be swapped in. */
  const secondIsWarm = (): Promise<number> => line.slotOf('second', 'idle');
  const wantsThird = (): Promise<string> =>
    eventually('the patch of the third stage', async () => {
      const { annotations = {} } = (await line.pod()).metadata;
      return Object.entries(annotations).find(([name, stage]) => name.endsWith('.stage') && stage === 'third')?.[0];
    });

  /** Kubernetes says it of the node when its kubelet begins. */
  const kubeletStarts = async (): Promise<number> => {
    const ofNode = 'involvedObject.kind=Node,involvedObject.name=node0,reason=Starting,source=kubelet';
    const { items } = await kubectlJson<{ items: unknown[] }>('-n', 'default', 'get', 'events', '--field-selector', ofNode);
    return items.length;
  };

  for (const program of ['kubelet', 'containerd']) {
    needs('cluster').it(`while ${program} is killed and started again, goes on as if nothing was`, async () => {
      const startsBefore = await kubeletStarts();
      const struck = await strike(`${program} restarted`, {
        at: ['first', 2],
        proof: 'third',
        inject: async () => {
          await secondIsWarm();
          await clusterScript(['signal', '0', program, 'KILL']);
          await clusterScript(['again', '0', program]);
        },
      });
      const { shard, runs, repeated } = struck;
      expect(amissIn(struck)).toEqual([]);
      if (program === 'kubelet')
        await eventually('the event of the node', async () => ((await kubeletStarts()) > startsBefore ? true : undefined));
      expect(shard).toMatchObject(undisturbed);
      expect(runs).toEqual(onceEach);
      expect(repeated).toEqual([]);
    });
  }

  needs('cluster').it('whose coordinator is killed while a swap is under way, goes on, and the swap is done once', async () => {
    const restarts = async (): Promise<number> =>
      (await kubectlJson<Pod>('-n', namespace, 'get', 'pod', 'podline-coordinator-0')).status.containerStatuses?.[0]
        ?.restartCount ?? 0;
    const restartsBefore = await restarts();
    const struck = await strike('coordinator killed during a swap', {
      at: ['first', 2],
      proof: 'third',
      inject: async () => {
        await secondIsWarm();
        // The patch is accepted and cannot be carried out: the coordinator dies in between.
        await clusterScript(['signal', '0', 'kubelet', 'STOP']);
      },
      mend: async () => {
        await wantsThird();
        await clusterScript(['kill-container', '0', 'podline-coordinator-0', 'coordinator']);
        await clusterScript(['signal', '0', 'kubelet', 'CONT']);
      },
    });
    const { shard, runs, repeated, told } = struck;
    expect(await restarts()).toBe(restartsBefore + 1);
    expect(told).toContain('line.joined');
    expect(amissIn(struck)).toEqual([]);
    expect(shard.report?.stages.map(({ outcome }) => outcome)).toEqual(['ran', 'ran', 'ran']);
    expect(runs).toEqual(onceEach);
    expect(repeated).toEqual([]);
  });

  needs('cluster').it(`while the API server is away for ${away}, finishes what it has and swaps once it is back`, async () => {
    const { shard, runs, repeated, endMs } = await strike(`API server away for ${away}`, {
      at: ['first', 2],
      proof: 'third',
      inject: async () => {
        await secondIsWarm();
        await clusterScript(['signal', 'control', 'apiserver', 'KILL']);
      },
      mend: async (key) => {
        // What is in its slot goes on meanwhile.
        await line.came(key, 'second', 3);
        await lasting(awayMs);
        await clusterScript(['again', 'control', 'apiserver']);
      },
    });
    expect(endMs).toBeGreaterThan(awayMs);
    // While it is away nobody can write a status: who reads the coordinator's log finds it there.
    expect(await line.kubectl('logs', 'podline-coordinator-0')).toContain('the watch broke; it is opened again');
    expect(shard).toMatchObject(undisturbed);
    expect(runs).toEqual(onceEach);
    expect(repeated).toEqual([]);
  });

  needs('cluster').it('while OpenKruise’s manager is away, says that swaps are refused and swaps once it is back', async () => {
    const manager = ['-n', 'kruise-system', 'deploy/kruise-controller-manager'];
    const scale = (replicas: number): Promise<string> => kubectl('scale', ...manager, `--replicas=${String(replicas)}`);
    const { shard, runs, repeated, conditions } = await strike('OpenKruise’s manager away', {
      at: ['first', 2],
      proof: 'third',
      inject: async () => {
        await secondIsWarm();
        await scale(0);
        await eventually('no manager', async () =>
          (await kubectl('-n', 'kruise-system', 'get', 'pods', '-l', 'control-plane=controller-manager', '-o', 'name')) === ''
            ? true
            : undefined,
        );
      },
      mend: async () => {
        const mark = line.status.mark;
        await eventually('a word about it', () => line.status.since(mark).find((word) => word === 'Degraded=True SwapFailed'));
        await scale(1);
      },
    });
    expect(conditions).toContain('Degraded=True SwapFailed');
    expect(shard).toMatchObject(undisturbed);
    expect(runs).toEqual(onceEach);
    expect(repeated).toEqual([]);
  });

  needs('cluster').it(
    'is in the end as if nothing had been: all delivered, nothing amiss, no container in back-off',
    async () => {
      await eventually('a status at rest', async () => {
        const { conditions = [] } = (
          JSON.parse(await line.kubectl('get', 'pipeline', 'struck', '-o', 'json')) as {
            status: { conditions?: { type: string; status: string; reason: string }[] };
          }
        ).status;
        const words = conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`);
        const rest = [
          'Ready=True LinesReady',
          'Progressing=False Idle',
          'Degraded=False AsExpected',
          'Complete=True ShardsCompleted',
        ];
        return words.join() === rest.join() ? true : undefined;
      });
      expect(await client.progress('struck')).toMatchObject({ completed: strikes + 1, failed: 0, running: 0, pending: 0 });
    },
  );
});
