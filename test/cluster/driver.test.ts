/**
 * The swap driver on a real API server, OpenKruise and kubelet. Agent and shim are stand-ins (`probe/`) that write down each
 * start of a container: what is tested is that the pod, its memory and its address stay, and that each step starts once.
 */
import { afterAll, beforeAll, expect } from 'vitest';
import { join } from 'node:path';
import { needs } from '../support/require.js';
import { KruiseDriver } from '../../runtime/cluster/kruise-driver.js';
import { openKube } from '../../runtime/cluster/kube.js';
import type { DriverEvent } from '../../runtime/contracts/driver.js';
import { pipelineSchema, type Pipeline } from '../../runtime/contracts/manifest.js';
import { packageRoot } from '../../runtime/platform/entries.js';
import { silentLogger } from '../../runtime/platform/logger.js';
import { clusterScript, eventually, kubeconfig, kubectl, kubectlJson } from './support/cluster.js';

interface Start {
  slot: number;
  stage: string;
  step: string;
}
interface Pod {
  metadata: { uid: string; annotations: Record<string, string> };
  spec: { nodeName: string };
  status: { phase: string; podIP: string; containerStatuses: { name: string; restartCount: number }[] };
}

const stageNames = ['load', 'clean', 'join', 'report', 'crash'];
const manifest = pipelineSchema.parse({
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name: 'probe' },
  spec: {
    scratch: { size: '64Mi' },
    stages: [
      ...stageNames.map((name) => ({ name, uses: './stage.ts' })),
      { name: 'unpullable', command: ['x'], image: `registry.local:5000/podline/nowhere@sha256:${'0'.repeat(64)}` },
    ],
  },
});
const pipeline: Pipeline = {
  name: 'probe',
  revision: 1,
  spec: manifest.spec,
  stages: manifest.spec.stages.map((stage) => ({ ...stage, after: ['input'], version: 'v' })),
  baseDir: '/',
};

needs('cluster').describe('the kruise driver on a real cluster', () => {
  const namespace = `driver-${String(process.pid)}`;
  const line = 'probe-0';
  const events: DriverEvent[] = [];
  let driver: KruiseDriver;

  const pod = () => kubectlJson<Pod>('-n', namespace, 'get', 'pod', line);
  const starts = async (): Promise<Start[]> => {
    const answer = await fetch(`http://${(await pod()).status.podIP}:7070/`);
    // Nothing has started yet.
    if (answer.status === 404) return [];
    return (await answer.text())
      .trim()
      .split('\n')
      .map((text) => {
        const { slot, stage, step } = JSON.parse(text) as Start;
        return { slot, stage, step };
      });
  };
  const started = (step: string) =>
    eventually(`the start of ${step}`, async () => (await starts()).find((start) => start.step === step));
  const swap = (slot: number, stage: string, step: string) => driver.swap({ line, pipeline, slot, stage, step });

  beforeAll(async () => {
    await kubectl('create', 'namespace', namespace);
    const image = await clusterScript(['image', 'podline/probe'], {
      PODLINE_IMAGE_DIST: join(packageRoot, 'test', 'cluster', 'probe'),
    });
    driver = new KruiseDriver({
      kube: openKube({ namespace, kubeconfig, logger: silentLogger }),
      pods: {
        namespace,
        image,
        coordinatorUrl: 'http://10.88.0.1:7000',
        tokenSecret: 'podline-lines',
        ssdHostPath: '/mnt/ssd',
        volume: { hostPath: '/mnt/volume' },
        user: 10_001,
      },
      token: 'a-token',
      slotsOf: () => 2,
      logger: silentLogger,
      delay: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      random: Math.random,
    });
    driver.subscribe((event) => events.push(event));
    await driver.start(pipeline, 1);
    await eventually('the pod', async () => ((await pod()).status.phase === 'Running' ? true : undefined));
    await eventually('its agent', starts);
  });

  afterAll(async () => {
    await driver.stop();
    await kubectl('delete', 'namespace', namespace, '--wait=false');
  });

  needs('cluster').it('makes a pod whose slots are empty and whose agent knows its line, pod and node', async () => {
    const { metadata, spec, status } = await pod();
    // A slot without a stage parks in the static shim: nothing of an image is run.
    expect(await starts()).toEqual([]);
    const answer = await fetch(`http://${status.podIP}:7070/env`);
    expect(await answer.json()).toMatchObject({
      PODLINE_LINE: line,
      PODLINE_INSTANCE: metadata.uid,
      PODLINE_NODE: spec.nodeName,
      PODLINE_PIPELINE: 'probe',
      PODLINE_SLOTS: '2',
      PODLINE_TOKEN: 'a-token',
    });
    expect(events).toContainEqual({ type: 'lineStarted', pipeline: 'probe', line, group: 'default' });
  });

  needs('cluster').it('finds nothing to change when it is started again', async () => {
    const generation = () =>
      kubectl('-n', namespace, 'get', 'statefulset.apps.kruise.io/probe', '-o', 'jsonpath={.metadata.generation}');
    const before = await generation();
    await driver.start(pipeline, 1);
    expect(await generation()).toBe(before);
  });

  needs('cluster').it(
    'swaps twelve stages through two slots: each starts once, the pod, its address and its memory stay',
    async () => {
      const before = await pod();
      const steps = Array.from({ length: 12 }, (_, number) => ({
        slot: number % 2,
        stage: stageNames[number % 4] ?? '',
        step: `s${String(number)}`,
      }));
      for (const { slot, stage, step } of steps) {
        await swap(slot, stage, step);
        expect(await started(step)).toEqual({ slot, stage, step });
      }
      const after = await pod();
      expect({ uid: after.metadata.uid, ip: after.status.podIP, node: after.spec.nodeName }).toEqual({
        uid: before.metadata.uid,
        ip: before.status.podIP,
        node: before.spec.nodeName,
      });
      expect(await starts()).toEqual(steps);
      expect(events.filter(({ type }) => type === 'slotEnded' || type === 'swapFailed' || type === 'lineEnded')).toEqual([]);
    },
  );

  needs('cluster').it('takes an order that is repeated once', async () => {
    await swap(0, 'clean', 'again');
    await swap(0, 'clean', 'again');
    await started('again');
    await swap(1, 'clean', 'behind');
    await started('behind');
    expect((await starts()).filter(({ step }) => step === 'again')).toHaveLength(1);
  });

  needs('cluster').it('tells why a stage cannot come when its image is nowhere, and the slot takes the next one', async () => {
    await swap(1, 'unpullable', 'no-image');
    const failed = await eventually('the failure', () =>
      events.find((event) => event.type === 'swapFailed' && event.step === 'no-image'),
    );
    expect(failed).toMatchObject({
      line,
      slot: 1,
      error: { code: 'PDL_SWAP_FAILED', message: expect.stringMatching(/ErrImagePull|ImagePullBackOff/) as string },
    });
    await swap(1, 'report', 'after-no-image');
    expect(await started('after-no-image')).toMatchObject({ slot: 1, stage: 'report' });
  });

  needs('cluster').it(
    'tells that a shim ends by itself, with its exit code, and the slot takes the next stage without a wait',
    async () => {
      await swap(0, 'crash', 'crashing');
      const failed = await eventually('the failure', () =>
        events.find((event) => event.type === 'swapFailed' && event.step === 'crashing'),
      );
      expect(failed).toMatchObject({
        slot: 0,
        error: { message: expect.stringMatching(/CrashLoopBackOff.*exit code 7/) as string },
      });
      await swap(0, 'load', 'after-crash');
      expect(await started('after-crash')).toMatchObject({ slot: 0, stage: 'load' });
    },
  );
});
