import { beforeEach, describe, expect, it } from 'vitest';
import { KubeFailure } from '../../../runtime/cluster/kube.js';
import type { KubeObject, KubeRest } from '../../../runtime/cluster/kube-rest.js';
import { LostPods } from '../../../runtime/cluster/lost-pods.js';
import { limits } from '../../../runtime/contracts/limits.js';
import type { LineView } from '../../../runtime/contracts/views.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { ManualClock } from '../../support/manual-clock.js';

const graceMs = 10_000;
const pod = (deleted: boolean): KubeObject => ({
  metadata: {
    name: 'flights-0',
    namespace: 'lines',
    uid: 'uid-1',
    ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: graceMs / 1_000 } : {}),
  },
  spec: { nodeName: 'dead' },
});

let clock: ManualClock;
let removed: unknown[];
let answer: () => unknown;
/** When the agent of the pod spoke last. */
let heardAtMs: number;
let lost: LostPods;

beforeEach(() => {
  clock = new ManualClock();
  removed = [];
  answer = () => ({});
  heardAtMs = clock.nowMs();
  const rest: Pick<KubeRest, 'request'> = {
    request: async <T>(method: string, path: string, options: { body?: unknown } = {}) => {
      removed.push({ method, path, body: options.body });
      return Promise.resolve(answer() as T);
    },
  };
  const view = (): Partial<LineView> => {
    const silentMs = clock.nowMs() - heardAtMs;
    return { line: 'flights-0', instance: 'uid-1.abc', silentMs, state: silentMs < limits.leaseTtlMs ? 'active' : 'silent' };
  };
  lost = new LostPods({
    rest: rest as KubeRest,
    desk: { lines: () => Promise.resolve([view() as LineView]) },
    clock,
    logger: silentLogger,
  });
});

/** Looks as often as it is told to, for so long. */
async function lookFor(ms: number, perLook: () => void = () => undefined): Promise<void> {
  const endMs = clock.nowMs() + ms;
  while (clock.nowMs() < endMs) {
    perLook();
    const waitMs = (await lost.remove([pod(true)])) ?? ms;
    clock.step(Math.min(waitMs, endMs - clock.nowMs()));
  }
}

describe('a pod that its node does not end', () => {
  it('is nobody’s business while nobody has deleted it', async () => {
    expect(await lost.remove([pod(false)])).toBeUndefined();
    clock.step(3_600_000);
    expect(await lost.remove([pod(false)])).toBeUndefined();
    expect(removed).toEqual([]);
  });

  it('has its whole grace and a lease time more, and then goes by force, by its uid', async () => {
    await lookFor(graceMs + limits.leaseTtlMs - 1);
    expect(removed).toEqual([]);
    await lookFor(2);
    expect(removed).toEqual([
      {
        method: 'DELETE',
        path: '/api/v1/namespaces/lines/pods/flights-0',
        body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid: 'uid-1' } },
      },
    ]);
  });

  it('stays as long as its agent is heard, however long that is, and a lease time after its last word', async () => {
    await lookFor(10 * limits.leaseTtlMs, () => {
      heardAtMs = clock.nowMs();
    });
    const silentMs = clock.nowMs() - heardAtMs;
    await lookFor(limits.leaseTtlMs - silentMs - 1);
    expect(removed).toEqual([]);
    await lookFor(2);
    expect(removed).toHaveLength(1);
  });

  it('may have gone meanwhile, or given its name to another one', async () => {
    for (const status of [404, 409]) {
      answer = () => {
        throw new KubeFailure(status, 'not this one');
      };
      await lookFor(graceMs + limits.leaseTtlMs + 1);
    }
    expect(removed.length).toBeGreaterThanOrEqual(2);
  });
});
