import { beforeEach, describe, expect, it, vi } from 'vitest';
import { KubeFailure } from '../../../runtime/cluster/kube.js';
import { KruiseDriver } from '../../../runtime/cluster/kruise-driver.js';
import type { DriverEvent } from '../../../runtime/contracts/driver.js';
import { pipelineSchema, type Pipeline } from '../../../runtime/contracts/manifest.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { container, FakeKube } from './fake-kube.js';

const digest = `sha256:${'0'.repeat(64)}`;
const manifest = pipelineSchema.parse({
  apiVersion: 'podline.dev/v1alpha1',
  kind: 'Pipeline',
  metadata: { name: 'flights' },
  spec: {
    stages: [
      { name: 'clean', uses: './clean.ts' },
      { name: 'score', command: ['score'], image: `tools/score@${digest}` },
    ],
  },
});
const pipeline: Pipeline = {
  name: 'flights',
  revision: 1,
  spec: manifest.spec,
  stages: manifest.spec.stages.map((stage) => ({ ...stage, after: ['input'], version: 'v' })),
  baseDir: '/',
};

let kube: FakeKube;
let driver: KruiseDriver;
let events: DriverEvent[];

beforeEach(async () => {
  kube = new FakeKube();
  driver = new KruiseDriver({
    kube,
    pods: {
      namespace: 'lines',
      image: `podline/runtime@${digest}`,
      coordinatorUrl: 'http://10.88.0.1:7000',
      tokenSecret: 'podline-lines',
      ssdHostPath: '/mnt/ssd',
      volume: { hostPath: '/mnt/volume' },
      user: 10_001,
    },
    token: 'secret',
    slotsOf: () => 2,
    logger: silentLogger,
    delay: () => Promise.resolve(),
    nowMs: () => 0,
    random: () => 0,
  });
  events = [];
  driver.subscribe((event) => events.push(event));
  await driver.start(pipeline, 2);
});

const slots = (...more: Parameters<typeof container>[1][]) => [
  container('agent'),
  container('slot-0', more[0]),
  container('slot-1', more[1]),
];
const order = (stage: string, step: string, slot = 0) => ({ line: 'flights-0', pipeline, slot, stage, step });

describe('the kruise driver', () => {
  it('brings up the token, the service and the StatefulSet of a pipeline', () => {
    expect(kube.applied.map((object) => object['kind'] ?? object['secret'])).toEqual(['podline-lines', 'Service', 'StatefulSet']);
  });

  it('tells of a line when its pod is first seen', () => {
    kube.put({ name: 'flights-0', containers: slots() });
    kube.put({ name: 'flights-0', containers: slots() });
    expect(events).toEqual([{ type: 'lineStarted', pipeline: 'flights', line: 'flights-0', group: 'default' }]);
  });

  it('puts the runtime image with a TypeScript stage, and a stage’s own image where it has one', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    await driver.swap(order('clean', 's1'));
    await driver.swap(order('score', 's2', 1));
    expect(kube.patches.map(({ patch }) => patch.spec.containers)).toEqual([
      [{ name: 'slot-0', image: `podline/runtime:s1@${digest}` }],
      [{ name: 'slot-1', image: `tools/score:s2@${digest}` }],
    ]);
  });

  it('refuses a stage that the pipeline has not, and a slot that the line has not', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    await expect(driver.swap(order('mine-bitcoin', 's1'))).rejects.toMatchObject({ code: 'PDL_SWAP_FAILED', retry: 'never' });
    await expect(driver.swap(order('clean', 's1', 2))).rejects.toMatchObject({ code: 'PDL_SWAP_FAILED', retry: 'never' });
    expect(kube.patches).toEqual([]);
  });

  it('does not take the restart that a swap brings for a slot that ended, but does so with any other', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    await driver.swap(order('clean', 's1'));
    kube.put({ name: 'flights-0', containers: slots({ restartCount: 1, ended: { reason: 'Completed', exitCode: 0 } }) });
    expect(events.filter(({ type }) => type === 'slotEnded')).toEqual([]);
    kube.put({ name: 'flights-0', containers: slots({ restartCount: 2, ended: { reason: 'OOMKilled', exitCode: 137 } }) });
    expect(events.at(-1)).toEqual({
      type: 'slotEnded',
      pipeline: 'flights',
      line: 'flights-0',
      slot: 0,
      reason: 'OOMKilled (exit code 137)',
    });
  });

  it('takes the restarts of two swaps that follow each other closely for theirs', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    await driver.swap(order('clean', 's1'));
    await driver.swap(order('score', 's2'));
    const restarted = (restartCount: number) => slots({ restartCount, ended: { reason: 'Completed', exitCode: 0 } });
    kube.put({ name: 'flights-0', containers: restarted(1) });
    kube.put({ name: 'flights-0', containers: restarted(2) });
    expect(events.filter(({ type }) => type === 'slotEnded')).toEqual([]);
    kube.put({ name: 'flights-0', containers: restarted(3) });
    expect(events.filter(({ type }) => type === 'slotEnded')).toHaveLength(1);
  });

  it('tells once that a swap cannot be carried out, with the reason, and again for another step', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    const failing = slots({ waiting: { reason: 'ImagePullBackOff', message: 'no such manifest' } });
    await driver.swap(order('clean', 's1'));
    kube.put({ name: 'flights-0', containers: failing });
    kube.put({ name: 'flights-0', containers: failing });
    const failures = () => events.filter((event) => event.type === 'swapFailed');
    expect(failures()).toMatchObject([
      {
        line: 'flights-0',
        slot: 0,
        step: 's1',
        error: { code: 'PDL_SWAP_FAILED', message: expect.stringContaining('no such manifest') as string },
      },
    ]);
    await driver.swap(order('clean', 's2'));
    expect(failures().map(({ step }) => step)).toEqual(['s1', 's2']);
  });

  it('does not hold the crash of the container before against a step whose own has not started', async () => {
    const failures = () => events.flatMap((event) => (event.type === 'swapFailed' ? [event.step] : []));
    const crashing = (restartCount: number) =>
      slots({ restartCount, waiting: { reason: 'CrashLoopBackOff', message: '' }, ended: { reason: 'Error', exitCode: 137 } });
    kube.put({ name: 'flights-0', containers: slots() });
    await driver.swap(order('clean', 's1'));
    kube.put({ name: 'flights-0', containers: slots({ restartCount: 1 }) });
    kube.put({ name: 'flights-0', containers: crashing(1) });
    expect(failures()).toEqual(['s1']);
    await driver.swap(order('clean', 's2'));
    kube.put({ name: 'flights-0', containers: crashing(1) });
    expect(failures()).toEqual(['s1']);
    kube.put({ name: 'flights-0', containers: crashing(2) });
    expect(failures()).toEqual(['s1', 's2']);
  });

  it('takes an order at once when a wait stands before it, and tells of its failure by an event', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    kube.failures.push(new KubeFailure(422, 'Forbidden'));
    const patient = { ...pipeline, spec: { ...pipeline.spec, swap: { gracePeriodSeconds: 5, resize: false } } };
    await driver.swap({ ...order('clean', 's1'), pipeline: patient });
    await vi.waitFor(() => {
      expect(events.at(-1)).toMatchObject({
        type: 'swapFailed',
        step: 's1',
        error: { message: expect.stringContaining('Forbidden') as string },
      });
    });
  });

  it('tells at once that the API server does not take a swap, and to whoever ordered it', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    for (let time = 0; time < 8; time += 1) kube.failures.push(new KubeFailure(500, 'failed calling webhook'));
    await expect(driver.swap(order('clean', 's1'))).rejects.toThrow('failed calling webhook');
    expect(events.at(-1)).toMatchObject({ type: 'swapFailed', step: 's1', error: { retry: 'later' } });
  });

  it('tells that a line ended when its pod is deleted or replaced; it is gone only beyond the number of lines', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    kube.put({ name: 'flights-1', containers: slots() });
    kube.put({ name: 'flights-0', uid: 'uid-2', containers: slots() });
    expect(events.slice(2)).toMatchObject([
      { type: 'lineEnded', line: 'flights-0', gone: false, reason: expect.stringContaining('scratch is gone') as string },
      { type: 'lineStarted', line: 'flights-0' },
    ]);
    await driver.scale('flights', 1);
    kube.remove('flights-1');
    expect(events.at(-1)).toMatchObject({ type: 'lineEnded', line: 'flights-1', gone: true });
  });

  it('refuses a swap in a pod that took the place of the one it knows', async () => {
    kube.put({ name: 'flights-0', containers: slots() });
    kube.pods.set('flights-0', { ...kube.put({ name: 'flights-0' }), uid: 'uid-2' });
    await expect(driver.swap(order('clean', 's1'))).rejects.toThrow(/another one now/);
  });

  it('deletes what it brought up when it stops, and may be stopped twice', async () => {
    await driver.stop();
    await driver.stop();
    expect(kube.applied.at(-1)).toEqual({ deleted: 'flights' });
    expect(kube.closed).toBe(true);
  });
});
