import { beforeEach, describe, expect, it } from 'vitest';
import { KubeFailure } from '../../../runtime/cluster/kube.js';
import type { KubeObject, KubeRest } from '../../../runtime/cluster/kube-rest.js';
import { PinnedLines } from '../../../runtime/cluster/pinned-lines.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { ManualClock } from '../../support/manual-clock.js';

const elsewhere =
  "0/2 nodes are available: 1 node(s) were unschedulable, 1 node(s) didn't match PersistentVolume's node affinity.";
const pod = (message: string | undefined, uid = 'uid-1'): KubeObject => ({
  metadata: { name: 'flights-0', namespace: 'lines', uid },
  status: {
    conditions: message === undefined ? [] : [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }],
  },
});

let clock: ManualClock;
let asked: string[];
let answer: () => void;
let pinned: PinnedLines;

beforeEach(() => {
  clock = new ManualClock();
  asked = [];
  answer = () => undefined;
  const rest: Pick<KubeRest, 'request'> = {
    request: <T>(method: string, path: string, { body }: { body?: unknown } = {}) => {
      const { preconditions } = body as { preconditions?: { uid: string } };
      asked.push(
        [method, path.replace('/api/v1/namespaces/lines/', ''), ...(preconditions ? [preconditions.uid] : [])].join(' '),
      );
      answer();
      return Promise.resolve({} as T);
    },
  };
  pinned = new PinnedLines({ rest: rest as KubeRest, clock, logger: silentLogger });
});

describe('a line that its SSD’s claim keeps from every node', () => {
  it('waits as long as for a node that is away, and then claims another one', async () => {
    expect(await pinned.release([pod(elsewhere)])).toBe(30_000);
    clock.step(29_999);
    expect(await pinned.release([pod(elsewhere)])).toBe(1);
    expect(asked).toEqual([]);
    clock.step(1);
    expect(await pinned.release([pod(elsewhere)])).toBeUndefined();
    expect(asked).toEqual(['DELETE persistentvolumeclaims/ssd-flights-0', 'DELETE pods/flights-0 uid-1']);
  });

  it('is one by the words of older schedulers, too', async () => {
    expect(await pinned.release([pod('0/2 nodes are available: 2 node(s) had volume node affinity conflict.')])).toBe(30_000);
  });

  it('begins to wait anew where it had a node meanwhile, or is another pod', async () => {
    await pinned.release([pod(elsewhere)]);
    clock.step(20_000);
    await pinned.release([pod(undefined)]);
    clock.step(20_000);
    expect(await pinned.release([pod(elsewhere)])).toBe(30_000);
    clock.step(20_000);
    pinned.forget(pod(elsewhere));
    expect(await pinned.release([pod(elsewhere, 'uid-2')])).toBe(30_000);
    expect(asked).toEqual([]);
  });

  it('is not one that waits for room alone', async () => {
    const full = pod('0/2 nodes are available: 2 Insufficient memory.');
    expect(await pinned.release([full])).toBeUndefined();
    clock.step(600_000);
    expect(await pinned.release([full])).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it('may be freed by somebody else at the same time', async () => {
    await pinned.release([pod(elsewhere)]);
    clock.step(30_000);
    answer = () => {
      throw new KubeFailure(404, 'not found');
    };
    await pinned.release([pod(elsewhere)]);
    expect(asked).toHaveLength(2);
  });
});
