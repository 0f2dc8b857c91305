import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openKubeLease } from '../../../runtime/cluster/kube-lease.js';
import { openKubeRest, type KubeRest } from '../../../runtime/cluster/kube-rest.js';
import type { LeaderLease } from '../../../runtime/contracts/leadership.js';
import { ManualClock } from '../../support/manual-clock.js';
import { FakeApiServer } from './fake-api-server.js';

const path = '/apis/coordination.k8s.io/v1/namespaces/podline/leases/podline-coordinator';
const [a, b] = [
  { id: 'a', address: 'http://10.0.0.1:8080' },
  { id: 'b', address: 'http://10.0.0.2:8080' },
];
const ttlMs = 6_000;

let server: FakeApiServer;
let rest: KubeRest;
/** Each has a clock of its own, and they do not agree. */
let clocks: { a: ManualClock; b: ManualClock };
let leases: { a: LeaderLease; b: LeaderLease };

beforeEach(async () => {
  server = await FakeApiServer.start();
  rest = openKubeRest({ kubeconfig: server.kubeconfig });
  clocks = { a: new ManualClock(), b: new ManualClock() };
  await clocks.b.advance(1_000_000, async () => undefined);
  const open = (clock: ManualClock): LeaderLease => openKubeLease({ rest, namespace: 'podline', ttlMs, clock });
  leases = { a: open(clocks.a), b: open(clocks.b) };
});
afterEach(async () => {
  await Promise.all([leases.a.close(), leases.b.close()]);
  rest.close();
  await server.close();
});
const pass = (ms: number): Promise<unknown> =>
  Promise.all([clocks.a, clocks.b].map((clock) => clock.advance(ms, async () => undefined)));
const specOf = (): Record<string, unknown> => server.get(path)?.spec as Record<string, unknown>;

describe('a Lease of Kubernetes', () => {
  it('is whose who takes it first, and says where that one is', async () => {
    expect(await leases.a.hold(a)).toEqual(a);
    expect(await leases.b.hold(b)).toEqual(a);
    expect(specOf()).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 6, leaseTransitions: 0 });
    expect(specOf()['renewTime']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  });

  it('stays its holder’s as long as that one renews it, whatever clocks say', async () => {
    await leases.a.hold(a);
    for (let turn = 0; turn < 5; turn += 1) {
      expect(await leases.b.hold(b)).toEqual(a);
      await pass(ttlMs - 1);
      await leases.a.hold(a);
    }
    expect(await leases.b.hold(b)).toEqual(a);
  });

  it('is another’s when its holder has said nothing for its time, counted from when that was first seen', async () => {
    await leases.a.hold(a);
    await pass(10 * ttlMs);
    expect(await leases.b.hold(b)).toEqual(a);
    await pass(ttlMs - 1);
    expect(await leases.b.hold(b)).toEqual(a);
    await pass(1);
    expect(await leases.b.hold(b)).toEqual(b);
    expect(await leases.a.hold(a)).toEqual(b);
    expect(specOf()['leaseTransitions']).toBe(1);
  });

  it('is one’s alone when two take it at once', async () => {
    await leases.a.hold(a);
    await leases.a.release(a);
    const holders = await Promise.all([leases.a.hold(a), leases.b.hold(b)]);
    expect(new Set(holders.map(({ id }) => id)).size).toBe(1);
    expect(specOf()['holderIdentity']).toBe(holders[0].id);
  });

  it('is free at once when it was let go, and nobody else’s to let go', async () => {
    await leases.a.hold(a);
    await leases.b.release(b);
    expect(await leases.b.hold(b)).toEqual(a);
    await leases.a.release(a);
    expect(await leases.b.hold(b)).toEqual(b);
  });

  it('keeps what others have written beside it', async () => {
    await leases.a.hold(a);
    const seen = server.get(path);
    if (seen === undefined) throw new Error('there is no lease');
    server.put(path, { ...seen, metadata: { ...seen.metadata, labels: { team: 'a' } } });
    await leases.a.hold(a);
    expect(server.get(path)?.metadata.labels).toEqual({ team: 'a' });
  });
});
