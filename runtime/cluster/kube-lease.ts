/**
 * The lease of the leader as a Lease of Kubernetes: kept by whoever writes it, with the version that was seen, so that of two who take it
 * at once one is refused.
 *
 * Invariants
 *  1. Whether it is over is judged by our own monotonic clock, from when we first saw it as it is: clocks of machines do not matter.
 *  2. Every write names the version that was read; a refused one is answered by reading again, and by whose it is then.
 */
import type { Candidate, LeaderLease } from '../contracts/leadership.js';
import type { Clock } from '../platform/clock.js';
import { isStatus, type KubeObject, type KubeRest } from './kube-rest.js';
import { apiVersionOf, collectionPath, objectPath } from './resources.js';

export interface KubeLeaseOptions {
  rest: Pick<KubeRest, 'request'>;
  namespace: string;
  /** Coordinators of one name are replicas of each other. */
  name?: string | undefined;
  ttlMs?: number | undefined;
  clock: Clock;
}

interface LeaseSpec {
  holderIdentity?: string | null;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
}
type Lease = KubeObject & { spec?: LeaseSpec };

/** A leader that was killed is followed after this long at most, and the time between two looks. */
const defaultTtlMs = 6_000;
const triesMax = 3;
const addressOf = 'podline.dev/address';

export function openKubeLease(options: KubeLeaseOptions): LeaderLease {
  return new KubeLease(options);
}

class KubeLease implements LeaderLease {
  readonly ttlMs: number;
  readonly #place: { namespace: string; name: string };
  /** As it was seen last, and when for the first time. */
  #seen: { version: string | undefined; sinceMs: number } = { version: undefined, sinceMs: Number.NEGATIVE_INFINITY };
  readonly #ending = new AbortController();

  constructor(private readonly options: KubeLeaseOptions) {
    this.ttlMs = options.ttlMs ?? defaultTtlMs;
    this.#place = { namespace: options.namespace, name: options.name ?? 'podline-coordinator' };
  }

  async hold(me: Candidate): Promise<Candidate> {
    for (let tries = 1; ; tries += 1) {
      try {
        const lease = await this.#read();
        if (lease !== undefined && !this.#mayTake(lease, me)) return holderOf(lease);
        await this.#write(lease, me);
        return me;
      } catch (thrown) {
        // Somebody else wrote meanwhile.
        if (!isStatus(thrown, 409) || tries >= triesMax) throw thrown;
      }
    }
  }

  async release(me: Candidate): Promise<void> {
    const lease = await this.#read();
    if (lease?.spec?.holderIdentity !== me.id) return;
    await this.#put({ ...lease, spec: { ...lease.spec, holderIdentity: null } });
  }

  async close(): Promise<void> {
    this.#ending.abort();
  }

  #mayTake(lease: Lease, me: Candidate): boolean {
    const { holderIdentity } = lease.spec ?? {};
    if (holderIdentity === me.id || (holderIdentity ?? '') === '') return true;
    const nowMs = this.options.clock.nowMs();
    if (this.#seen.version !== lease.metadata.resourceVersion)
      this.#seen = { version: lease.metadata.resourceVersion, sinceMs: nowMs };
    // Its holder may have been promised more than we are.
    const itsTtlMs = (lease.spec?.leaseDurationSeconds ?? 0) * 1_000;
    return nowMs - this.#seen.sinceMs >= Math.max(itsTtlMs, this.ttlMs);
  }

  async #write(before: Lease | undefined, me: Candidate): Promise<void> {
    // Microseconds, as Kubernetes wants them.
    const now = this.options.clock.wall().replace(/Z$/, '000Z');
    const again = before?.spec?.holderIdentity === me.id;
    const spec: LeaseSpec = {
      holderIdentity: me.id,
      leaseDurationSeconds: Math.ceil(this.ttlMs / 1_000),
      acquireTime: again ? (before.spec?.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (before?.spec?.leaseTransitions ?? 0) + (again || before === undefined ? 0 : 1),
    };
    const lease: Lease = {
      apiVersion: apiVersionOf('Lease'),
      kind: 'Lease',
      ...before,
      metadata: {
        ...this.#place,
        ...before?.metadata,
        annotations: { ...before?.metadata.annotations, [addressOf]: me.address },
      },
      spec,
    };
    if (before !== undefined) await this.#put(lease);
    else
      await this.options.rest.request('POST', collectionPath('Lease', this.#place.namespace), {
        body: lease,
        signal: this.#inTime(),
      });
  }

  async #put(body: Lease): Promise<void> {
    await this.options.rest.request('PUT', objectPath('Lease', this.#place), { body, signal: this.#inTime() });
  }

  /** An answer that comes later than this is of no use. */
  #inTime(): AbortSignal {
    return AbortSignal.any([this.#ending.signal, AbortSignal.timeout(this.ttlMs / 2)]);
  }

  async #read(): Promise<Lease | undefined> {
    try {
      return await this.options.rest.request<Lease>('GET', objectPath('Lease', this.#place), { signal: this.#inTime() });
    } catch (thrown) {
      if (isStatus(thrown, 404)) return undefined;
      throw thrown;
    }
  }
}

const holderOf = ({ spec, metadata }: Lease): Candidate => ({
  id: spec?.holderIdentity ?? '',
  address: metadata.annotations?.[addressOf] ?? '',
});
