import { beforeEach, describe, expect, it } from 'vitest';
import { KubeFailure } from '../../../runtime/cluster/kube.js';
import { PodSwapper } from '../../../runtime/cluster/pod-swapper.js';
import { Turns } from '../../../runtime/cluster/turns.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { container, FakeKube } from './fake-kube.js';

const image = `registry.local:5000/podline/flights@sha256:${'0'.repeat(64)}`;
const target = (step: string, slot = 0) => ({ slot, stage: 'clean', step, image });

let kube: FakeKube;
let delays: number[];
let random: number;
let turns: Turns;
let rate: { wait: () => Promise<void> };
const swapper = (gracePeriodMs = 0) =>
  new PodSwapper({
    kube,
    logger: silentLogger,
    gracePeriodMs,
    delay: async (ms) => {
      delays.push(ms);
    },
    random: () => random,
    turns,
    rate,
  });

beforeEach(() => {
  kube = new FakeKube();
  kube.put({ name: 'flights-0' });
  delays = [];
  turns = new Turns(8);
  rate = { wait: () => Promise.resolve() };
  random = 0.5;
});

describe('a swap', () => {
  it('is one patch with stage, step and an image string of that step', async () => {
    await swapper().swap('flights-0', target('s1', 1));
    expect(kube.patches).toEqual([
      {
        pod: 'flights-0',
        patch: {
          metadata: {
            uid: 'uid-1',
            resourceVersion: '1',
            annotations: { 'podline.dev/slot-1.stage': 'clean', 'podline.dev/slot-1.step': 's1' },
          },
          spec: { containers: [{ name: 'slot-1', image: image.replace('@', ':s1@') }] },
        },
      },
    ]);
  });

  it('is not patched again when the pod asks for the step already', async () => {
    const one = swapper();
    await one.swap('flights-0', target('s1'));
    await one.swap('flights-0', target('s1'));
    expect(kube.patches).toHaveLength(1);
  });

  it('reads the pod again when it changed between reading and patching', async () => {
    let changes = 2;
    kube.beforePatch = () => {
      if ((changes -= 1) >= 0) kube.put({ name: 'flights-0' });
    };
    await swapper().swap('flights-0', target('s1'));
    expect(kube.patches.map(({ patch }) => patch.metadata.resourceVersion)).toEqual(['3']);
  });

  it('is tried again with growing, random waits while the API server or its webhooks fail', async () => {
    kube.failures.push(
      new KubeFailure(500, 'failed calling webhook'),
      new KubeFailure(undefined, 'connection refused'),
      new KubeFailure(429, 'slow down'),
    );
    await swapper().swap('flights-0', target('s1'));
    expect(kube.patches).toHaveLength(1);
    expect(delays).toEqual([150, 300, 600]);
    random = 0;
    kube.failures.push(new KubeFailure(503, 'unavailable'));
    await swapper().swap('flights-0', target('s2'));
    expect(delays.at(-1)).toBe(100);
  });

  it('ends with the last failure after a bounded number of tries', async () => {
    for (let i = 0; i < 20; i += 1) kube.failures.push(new KubeFailure(500, `webhook is away, ${String(i)}`));
    await expect(swapper().swap('flights-0', target('s1'))).rejects.toMatchObject({
      code: 'PDL_SWAP_NOT_TAKEN',
      retry: 'later',
      message: expect.stringContaining('8 tries: webhook is away, 7') as string,
    });
  });

  it('is given up at once when the API server refuses the object', async () => {
    kube.failures.push(new KubeFailure(422, 'spec.containers[0].image: Forbidden'));
    await expect(swapper().swap('flights-0', target('s1'))).rejects.toMatchObject({
      code: 'PDL_SWAP_FAILED',
      retry: 'never',
      message: expect.stringContaining('Forbidden') as string,
    });
    expect(delays).toEqual([]);
  });

  it('is not taken when the pod is gone, is going, or is another one, which is no fault of the stage', async () => {
    const notTaken = (words: string): object => ({
      code: 'PDL_SWAP_NOT_TAKEN',
      retry: 'later',
      message: expect.stringContaining(words) as string,
    });
    await expect(swapper().swap('flights-1', target('s1'))).rejects.toMatchObject(notTaken('flights-1 is not there'));
    await expect(swapper().swap('flights-0', target('s1'), 'uid-0')).rejects.toMatchObject(
      notTaken('another one now (uid-1, not uid-0)'),
    );
    kube.put({ name: 'flights-0', deleting: true });
    await expect(swapper().swap('flights-0', target('s1'))).rejects.toMatchObject(notTaken('being deleted'));
    expect(kube.patches).toEqual([]);
    expect(delays).toEqual([]);
  });

  it('waits for the one before on the same pod, not for those on other pods', async () => {
    kube.put({ name: 'flights-1' });
    const one = swapper();
    await Promise.all([one.swap('flights-0', target('s1')), one.swap('flights-0', target('s2', 1))]);
    expect(kube.inFlightMax).toBe(1);
    await Promise.all([one.swap('flights-0', target('s3')), one.swap('flights-1', target('s4'))]);
    expect(kube.inFlightMax).toBe(2);
    expect(kube.patches.map(({ patch }) => Object.values(patch.metadata.annotations)[1])).toEqual(['s1', 's2', 's3', 's4']);
  });

  it('is one of a bounded number that are under way at once, over all pods', async () => {
    turns = new Turns(2);
    const names = Array.from({ length: 7 }, (_, number) => `flights-${String(number)}`);
    for (const name of names) kube.put({ name });
    kube.failures.push(undefined, new KubeFailure(422, 'invalid'));
    const one = swapper();
    const ended = await Promise.allSettled(names.map((name) => one.swap(name, target(`of ${name}`))));
    expect(ended.map(({ status }) => status)).toEqual(names.map((_, number) => (number === 1 ? 'rejected' : 'fulfilled')));
    expect(kube.inFlightMax).toBe(2);
  });

  it('waits for the rate before each try, the first and those that are made again', async () => {
    const waited: number[] = [];
    rate = {
      wait: () => {
        waited.push(kube.patches.length);
        return Promise.resolve();
      },
    };
    kube.failures.push(new KubeFailure(503, 'unavailable'));
    const one = swapper();
    await one.swap('flights-0', target('s1'));
    await one.swap('flights-0', target('s2'));
    expect(waited).toEqual([0, 0, 1]);
  });

  it('gives way to a newer order for the same slot while it waits', async () => {
    const one = swapper();
    const [first, second, third] = await Promise.all([
      one.swap('flights-0', target('s1')),
      one.swap('flights-0', target('s2')),
      one.swap('flights-0', target('s3')),
    ]);
    expect([first?.name, second, third?.name]).toEqual([undefined, undefined, 'flights-0']);
    expect(kube.patches.map(({ patch }) => patch.metadata.annotations['podline.dev/slot-0.step'])).toEqual(['s3']);
  });

  it('is tried again where the API server has only just begun and knows nobody’s rights yet', async () => {
    kube.failures.push(new KubeFailure(401, 'Unauthorized'), new KubeFailure(403, 'pods "flights-0" is forbidden'));
    await swapper().swap('flights-0', target('s1'));
    expect(kube.patches).toHaveLength(1);
    expect(delays).toHaveLength(2);
  });

  it('goes ahead after one that failed', async () => {
    kube.failures.push(new KubeFailure(422, 'invalid'));
    const one = swapper();
    const [first, second] = await Promise.allSettled([
      one.swap('flights-0', target('s1')),
      one.swap('flights-0', target('s2', 1)),
    ]);
    expect([first.status, second.status]).toEqual(['rejected', 'fulfilled']);
  });

  it('honours the wait before a container is reloaded', async () => {
    await swapper(2_000).swap('flights-0', target('s1'));
    expect(delays).toEqual([2_000]);
  });
});

describe('a pod that is resized with its swaps', () => {
  const mib = 2 ** 20;
  const needs: Record<string, number> = { clean: 256 * mib, join: 512 * mib };
  const sizes = (held: readonly (string | undefined)[]) =>
    held.map((stage) => ({ memoryBytes: needs[stage ?? ''] ?? 64 * mib, cpu: stage === 'join' ? 0.5 : 0 }));
  const sized = (step: string, slot: number, stage = 'clean') => ({ slot, stage, step, image, sizes });

  beforeEach(() => {
    kube.put({
      name: 'flights-0',
      requests: { 'slot-0': { memory: '512Mi', cpu: '500m' }, 'slot-1': { memory: '64Mi' } },
      containers: [container('agent'), container('slot-0'), container('slot-1')],
    });
  });

  it('asks for what the stages need that its slots will hold, before it is swapped, and only where that changes', async () => {
    const one = swapper();
    await one.swap('flights-0', sized('s1', 0));
    expect(kube.resizes).toEqual([{ pod: 'flights-0', requests: { 'slot-0': { cpu: '0', memory: '256Mi' } } }]);
    await one.swap('flights-0', sized('s2', 0));
    expect(kube.resizes).toHaveLength(1);
    await one.swap('flights-0', sized('s3', 1, 'join'));
    expect(kube.resizes[1]?.requests).toEqual({ 'slot-1': { cpu: '500m', memory: '512Mi' } });
    expect(kube.patches.map(({ patch }) => Object.values(patch.metadata.annotations)[1])).toEqual(['s1', 's2', 's3']);
  });

  it('is swapped all the same where the cluster cannot resize', async () => {
    kube.failures.push(new KubeFailure(404, 'the server could not find the requested resource'));
    await swapper().swap('flights-0', sized('s1', 0));
    expect([kube.resizes.length, kube.patches.length]).toEqual([0, 1]);
  });

  it('is read again when it changed meanwhile', async () => {
    kube.failures.push(new KubeFailure(409, 'the object has been modified'));
    await swapper().swap('flights-0', sized('s1', 0));
    expect([kube.resizes.length, kube.patches.length]).toEqual([1, 1]);
  });
});
