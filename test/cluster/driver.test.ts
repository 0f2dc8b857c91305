/** The swap driver on a real API server, OpenKruise and kubelet: the pod, its memory and its address stay, and each step starts once. */
import { afterAll, beforeAll, expect } from 'vitest';
import { needs } from '../support/require.js';
import { kubectl, type Pod } from './support/cluster.js';
import { ProbeLines } from './support/probe-lines.js';

const stageNames = ['load', 'clean', 'join', 'report', 'crash'];
const line = 'probe-0';

needs('cluster').describe('the kruise driver on a real cluster', () => {
  let probes: ProbeLines;
  let pod: Pod;

  const starts = async () => (await probes.starts(pod)).map(({ slot, stage, step }) => ({ slot, stage, step }));
  const swapped = async (slot: number, stage: string, step: string): Promise<void> => {
    await probes.swap(line, { slot, stage, step });
    expect(await probes.started(pod, step)).toMatchObject({ slot, stage, step });
  };

  beforeAll(async () => {
    probes = await ProbeLines.start(`driver-${String(process.pid)}`, 1, [
      ...stageNames.map((name) => ({ name, uses: './stage.ts' })),
      { name: 'unpullable', command: ['x'], image: `registry.local:5000/podline/nowhere@sha256:${'0'.repeat(64)}` },
    ]);
    pod = await probes.pod(line);
  });

  afterAll(async () => {
    await probes?.close();
  });

  needs('cluster').it('makes a pod whose slots are empty and whose agent knows its line, pod and node', async () => {
    // A slot without a stage parks in the static shim: nothing of an image is run.
    expect(await starts()).toEqual([]);
    expect(await probes.environment(pod)).toMatchObject({
      PODLINE_LINE: line,
      PODLINE_INSTANCE: pod.metadata.uid,
      PODLINE_NODE: pod.spec.nodeName,
      PODLINE_PIPELINE: 'probe',
      PODLINE_SLOTS: '2',
      PODLINE_TOKEN: 'a-token',
    });
    expect(probes.events).toContainEqual({ type: 'lineStarted', pipeline: 'probe', line, group: 'default' });
  });

  needs('cluster').it('finds nothing to change when it is started again', async () => {
    const fields = ['get', 'statefulset.apps.kruise.io/probe', '-o', 'jsonpath={.metadata.generation}'];
    const generation = () => kubectl('-n', probes.namespace, ...fields);
    const before = await generation();
    await probes.driver.start(probes.pipeline, 1);
    expect(await generation()).toBe(before);
  });

  needs('cluster').it(
    'swaps twelve stages through two slots: each starts once, the pod, its address and its memory stay',
    async () => {
      const steps = Array.from({ length: 12 }, (_, number) => ({
        slot: number % 2,
        stage: stageNames[number % 4] ?? '',
        step: `s${String(number)}`,
      }));
      for (const { slot, stage, step } of steps) await swapped(slot, stage, step);
      const after = await probes.pod(line);
      expect({ uid: after.metadata.uid, ip: after.status.podIP, node: after.spec.nodeName }).toEqual({
        uid: pod.metadata.uid,
        ip: pod.status.podIP,
        node: pod.spec.nodeName,
      });
      expect(await starts()).toEqual(steps);
      expect(probes.troubles).toEqual([]);
    },
  );

  needs('cluster').it('takes an order that is repeated once', async () => {
    await probes.swap(line, { slot: 0, stage: 'clean', step: 'again' });
    await swapped(0, 'clean', 'again');
    await swapped(1, 'clean', 'behind');
    expect((await starts()).filter(({ step }) => step === 'again')).toHaveLength(1);
  });

  needs('cluster').it('tells why a stage cannot come when its image is nowhere, and the slot takes the next one', async () => {
    await probes.swap(line, { slot: 1, stage: 'unpullable', step: 'no-image' });
    expect(await probes.failed('no-image')).toMatchObject({
      line,
      slot: 1,
      error: { code: 'PDL_SWAP_FAILED', message: expect.stringMatching(/ErrImagePull|ImagePullBackOff/) as string },
    });
    await swapped(1, 'report', 'after-no-image');
  });

  needs('cluster').it(
    'tells that a shim ends by itself, with its exit code, and the slot takes the next stage without a wait',
    async () => {
      await probes.swap(line, { slot: 0, stage: 'crash', step: 'crashing' });
      expect(await probes.failed('crashing')).toMatchObject({
        slot: 0,
        error: { message: expect.stringMatching(/CrashLoopBackOff.*exit code 7/) as string },
      });
      await swapped(0, 'load', 'after-crash');
    },
  );
});
