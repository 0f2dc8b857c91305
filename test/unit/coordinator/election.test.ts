import { expect, it, onTestFinished } from 'vitest';
import type { Candidate, LeaderLease } from '../../../runtime/contracts/leadership.js';
import { Election } from '../../../runtime/coordinator/election.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { openPostgresJournal } from '../../../runtime/journal/postgres/postgres-journal.js';
import { openPostgresLease } from '../../../runtime/journal/postgres/postgres-lease.js';
import { ManualClock } from '../../support/manual-clock.js';
import { testDatabase } from '../../support/postgres.js';
import { needs } from '../../support/require.js';

const database = testDatabase();
const [a, b]: [Candidate, Candidate] = [
  { id: 'a', address: 'http://a:1' },
  { id: 'b', address: 'http://b:1' },
];

/** Whoever `holder` says has it; it fails while `broken`. */
class FakeLease implements LeaderLease {
  readonly ttlMs = 4_000;
  holder: Candidate | undefined;
  broken = false;

  async hold(me: Candidate): Promise<Candidate> {
    if (this.broken) throw new Error('nobody answers');
    return (this.holder ??= me);
  }

  async release(me: Candidate): Promise<void> {
    if (this.holder?.id === me.id) this.holder = undefined;
  }

  async close(): Promise<void> {
    // Nothing is open.
  }
}

function candidate(
  lease: LeaderLease,
  lead: (clock: ManualClock) => Promise<void> = () => Promise.resolve(),
): {
  election: Election;
  clock: ManualClock;
  told: string[];
  advance: (ms: number) => Promise<void>;
} {
  const [clock, told] = [new ManualClock(), [] as string[]];
  const election = new Election({
    lease,
    me: a,
    clock,
    logger: silentLogger,
    lead: async () => {
      told.push('lead');
      await lead(clock);
    },
    follow: (address) => void told.push(`follow ${address ?? 'nobody'}`),
  });
  onTestFinished(() => election.close());
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { election, clock, told, advance: (ms) => clock.advance(ms, settle) };
}

it('leads while it has the lease, and follows who takes it', async () => {
  const lease = new FakeLease();
  const { election, told, advance } = candidate(lease);
  await election.start();
  await advance(3_000);
  expect(told).toEqual(['lead']);
  lease.holder = b;
  await advance(1_000);
  expect(told).toEqual(['lead', 'follow http://b:1']);
  lease.holder = undefined;
  await advance(1_000);
  expect(told.at(-1)).toBe('lead');
});

it('stands down when it cannot renew, before the lease can be another’s', async () => {
  const lease = new FakeLease();
  const { election, told, advance } = candidate(lease);
  await election.start();
  lease.broken = true;
  await advance(3_000);
  expect(told).toEqual(['lead']);
  await advance(2_000);
  expect(told.slice(0, 2)).toEqual(['lead', 'follow nobody']);
});

it('that cannot begin to lead follows, and lets another one try', async () => {
  const lease = new FakeLease();
  const { election, told } = candidate(lease, () => Promise.reject(new Error('its journal is full')));
  await election.start();
  expect(told).toEqual(['lead', 'follow nobody']);
  expect(lease.holder).toBeUndefined();
});

it('that takes longer to begin than the lease lasts does not lead', async () => {
  const lease = new FakeLease();
  const { election, told } = candidate(lease, async (clock) => {
    clock.stall(5_000);
  });
  await election.start();
  expect(told.at(-1)).toBe('follow nobody');
  expect(lease.holder).toBeUndefined();
});

it('lets the lease go when it closes', async () => {
  const lease = new FakeLease();
  const { election, told } = candidate(lease);
  await election.start();
  await election.close();
  expect(lease.holder).toBeUndefined();
  expect(told).toEqual(['lead', 'follow nobody']);
});

needs('postgres').it('has one holder at a time in PostgreSQL, until it is let go or says nothing for its time', async () => {
  const url = await database.url();
  const journal = await openPostgresJournal({ url });
  const [first, second] = [openPostgresLease({ url, ttlMs: 1_000 }), openPostgresLease({ url, ttlMs: 1_000 })];
  onTestFinished(async () => {
    await Promise.all([first.close(), second.close()]);
    await journal.close();
  });
  expect(await first.hold(a)).toEqual(a);
  expect(await second.hold(b)).toEqual(a);
  expect(await first.hold(a)).toEqual(a);
  await first.release(a);
  expect(await second.hold(b)).toEqual(b);
  await first.release(a);
  expect(await first.hold(a)).toEqual(b);
  await expect.poll(() => first.hold(a), { timeout: 10_000 }).toEqual(a);
});
