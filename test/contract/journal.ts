/** What every journal does. A store that passes this is one that a coordinator can be run on. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { PodlineError, type ErrorCode } from '../../runtime/contracts/errors.js';
import { limits } from '../../runtime/contracts/limits.js';
import type { Retention } from '../../runtime/journal/retention.js';
import type { Journal, LeaseQuery, Moment, PipelineRules } from '../../runtime/journal/journal.js';
import { completeOf, pipelineOf, shardOf, shardsOf } from '../support/journal.js';
import { completeAndLeaseContract } from './journal-complete-and-lease.js';
import { removalContract } from './journal-removal.js';

export interface JournalUnderTest {
  /** Opens the same store again: after `close`, or beside the one that is open. */
  open(options?: { retention?: Partial<Retention> }): Promise<Journal>;
}

const at = (ms: number): Moment => ({ ms, at: new Date(Date.UTC(2026, 0, 1) + ms).toISOString() });
const rules = (more: Partial<PipelineRules> = {}): PipelineRules => ({
  retries: { limit: 2, backoff: { initialMs: 1_000, factor: 2, maxMs: 10_000 } },
  timeLimits: {},
  pendingMax: 1_000_000,
  lostLeasesMax: 3,
  ...more,
});
const failure = (
  more: Partial<ReturnType<PodlineError['toWire']>> = {},
): { error: ReturnType<PodlineError['toWire']>; counts: boolean; stage: string } => ({
  error: { ...new PodlineError('PDL_STAGE_FAILED', 'division by zero', { logTail: 'Traceback' }).toWire(), ...more },
  counts: true,
  stage: 'clean',
});
const query = (more: Partial<LeaseQuery> = {}): LeaseQuery => ({
  pipeline: 'flights',
  line: 'line-0',
  group: 'default',
  instance: 'a',
  max: 1,
  freshMax: 256,
  prefer: [],
  reclaim: [],
  ...more,
});
const code = (expected: ErrorCode): unknown => expect.objectContaining({ code: expected });

export function journalContract(name: string, make: () => JournalUnderTest): void {
  removalContract(name, make);
  completeAndLeaseContract(name, make);
  const opened = async (
    given: Partial<PipelineRules> = {},
    options: { retention?: Partial<Retention> } = {},
  ): Promise<{ journal: Journal; under: JournalUnderTest }> => {
    const under = make();
    const journal = await under.open(options);
    onTestFinished(() => journal.close());
    await journal.applyPipeline(pipelineOf(), rules(given), at(0));
    return { journal, under };
  };
  const one = async (journal: Journal, key = 'a'): Promise<string> => {
    const [outcome] = await journal.submit('flights', [shardOf(key)], at(1));
    if (outcome?.outcome !== 'accepted') throw new Error('not accepted');
    return outcome.id;
  };
  const leaseOne = async (
    journal: Journal,
    ms = 10,
    more: Partial<LeaseQuery> = {},
  ): Promise<{ shardId: string; epoch: number }> => {
    const [lease] = (await journal.lease(query(more), at(ms))).leases;
    if (lease === undefined) throw new Error('nothing was leased');
    return { shardId: lease.shardId, epoch: lease.epoch };
  };

  describe(`${name}: pipelines`, () => {
    it('counts the revision up when a pipeline differs, and only then', async () => {
      const { journal } = await opened();
      expect(await journal.applyPipeline(pipelineOf(), rules(), at(1))).toMatchObject({
        changed: false,
        pipeline: { revision: 1 },
      });
      expect(await journal.applyPipeline(pipelineOf('flights', { description: 'other' }), rules(), at(2))).toMatchObject({
        changed: true,
        pipeline: { revision: 2 },
      });
      expect((await journal.events(0, 10)).map((event) => event.type)).toEqual(['pipeline.applied', 'pipeline.applied']);
    });

    it('leases nothing of a paused one, and goes on when it is resumed', async () => {
      const { journal } = await opened();
      await one(journal);
      expect(await journal.setPaused('flights', true, at(2))).toEqual({ changed: true });
      expect(await journal.setPaused('flights', true, at(2))).toEqual({ changed: false });
      expect(await journal.lease(query(), at(3))).toMatchObject({ leases: [], waiting: 1, paused: true });
      await journal.setPaused('flights', false, at(4));
      expect((await journal.lease(query(), at(5))).leases).toHaveLength(1);
    });

    it('refuses work for one that it does not know', async () => {
      const { journal } = await opened();
      await expect(journal.submit('nobody', [shardOf('a')], at(1))).rejects.toEqual(code('PDL_PIPELINE_UNKNOWN'));
      await expect(journal.lease(query({ pipeline: 'nobody' }), at(1))).rejects.toEqual(code('PDL_PIPELINE_UNKNOWN'));
    });
  });

  describe(`${name}: groups`, () => {
    const grouped = async (): Promise<Journal> => {
      const { journal } = await opened();
      const shards = [
        shardOf('a', { group: 'small' }),
        shardOf('b', { group: 'large', priority: 9 }),
        shardOf('c', { group: 'large', priority: 0 }),
        shardOf('d'),
      ];
      await journal.submit('flights', shards, at(1));
      return journal;
    };
    const keys = async (journal: Journal, more: Partial<LeaseQuery>): Promise<string[]> =>
      (await journal.lease(query({ max: 10, ...more }), at(10))).leases.map((lease) => lease.key);

    it('gives a line the shards of its group and no others, in the order of their priorities', async () => {
      const journal = await grouped();
      expect(await journal.queued('flights')).toEqual({ small: 1, large: 2, default: 1 });
      expect(await keys(journal, { line: 'l', group: 'large' })).toEqual(['c', 'b']);
      expect(await keys(journal, { line: 'l', group: 'large' })).toEqual([]);
      expect(await journal.queued('flights')).toEqual({ small: 1, default: 1 });
      expect(await keys(journal, { line: 'd' })).toEqual(['d']);
      expect(await keys(journal, { line: 's', group: 'small' })).toEqual(['a']);
    });

    it('says how many of the group wait, not how many of all', async () => {
      const journal = await grouped();
      expect(await journal.lease(query({ group: 'large', max: 1 }), at(2))).toMatchObject({ waiting: 1 });
      expect(await journal.lease(query({ group: 'nobody', max: 1 }), at(2))).toMatchObject({ leases: [], waiting: 0 });
    });

    it('does not give a line what it prefers of another group', async () => {
      const journal = await grouped();
      const { shards } = await journal.list({ pipeline: 'flights', max: 10 });
      expect(await keys(journal, { group: 'small', prefer: shards.map((shard) => shard.id) })).toEqual(['a']);
    });

    it('puts back what a line held before it came again in another group', async () => {
      const journal = await grouped();
      const { leases } = await journal.lease(query({ group: 'large', max: 1 }), at(2));
      const reclaim = leases.map((lease) => lease.shardId);
      expect(await keys(journal, { group: 'small', instance: 'b', reclaim })).toEqual(['a']);
      expect(await journal.queued('flights')).toEqual({ large: 2, default: 1 });
    });

    it('keeps the group through failure and retry', async () => {
      const journal = await grouped();
      const lease = await leaseOne(journal, 10, { group: 'small' });
      await journal.fail('line-0', lease, failure({ retry: 'never' }), at(11));
      await journal.retry(lease.shardId, at(12));
      expect(await journal.shard(lease.shardId)).toMatchObject({ group: 'small', state: 'pending' });
      expect(await keys(journal, { group: 'small' })).toEqual(['a']);
    });
  });

  describe(`${name}: submissions`, () => {
    it('takes the same key once, and names the shard that has it, also within one call', async () => {
      const { journal } = await opened();
      const [first, second] = await journal.submit('flights', [shardOf('a'), shardOf('a')], at(1));
      expect(first?.outcome).toBe('accepted');
      expect(second).toEqual({ outcome: 'duplicate', id: first?.outcome === 'accepted' ? first.id : '', state: 'pending' });
      await journal.applyPipeline(pipelineOf('other'), rules(), at(2));
      expect((await journal.submit('other', [shardOf('a')], at(3)))[0]?.outcome).toBe('accepted');
      expect((await journal.counts('flights')).pending).toBe(1);
    });

    it('keeps the shard as it was submitted', async () => {
      const { journal } = await opened();
      const [outcome] = await journal.submit(
        'flights',
        [
          shardOf('ключ/🔑 a', {
            parameters: { year: 2024, deep: true, who: 'x' },
            source: { inline: { rows: [1, null, 'z'] }, format: 'ndjson' },
            priority: 1,
          }),
        ],
        at(1),
      );
      expect(outcome?.outcome).toBe('accepted');
      const shard = await journal.shardByKey('flights', 'ключ/🔑 a');
      expect(shard).toMatchObject({
        key: 'ключ/🔑 a',
        state: 'pending',
        parameters: { year: 2024, deep: true, who: 'x' },
        source: { inline: { rows: [1, null, 'z'] }, format: 'ndjson' },
        priority: 1,
        epoch: 0,
        attempts: 0,
      });
    });

    it('says that the queue is full instead of growing without bound', async () => {
      const { journal } = await opened({ pendingMax: 2 });
      expect((await journal.submit('flights', shardsOf(3), at(1))).map(({ outcome }) => outcome)).toEqual([
        'accepted',
        'accepted',
        'full',
      ]);
      await leaseOne(journal);
      expect((await journal.submit('flights', [shardOf('late')], at(20))).map(({ outcome }) => outcome)).toEqual(['accepted']);
    });
  });

  describe(`${name}: leases`, () => {
    it('go by priority, then by age, but first to what lies on the line', async () => {
      const { journal } = await opened();
      await journal.submit(
        'flights',
        [shardOf('late', { priority: 9 }), shardOf('b'), shardOf('c'), shardOf('urgent', { priority: 0 })],
        at(1),
      );
      const resident = (await journal.shardByKey('flights', 'c'))?.id ?? '';
      expect(
        (await journal.lease(query({ max: 4, prefer: [resident, 'nothing'] }), at(2))).leases.map((lease) => lease.key),
      ).toEqual(['c', 'urgent', 'b', 'late']);
    });

    it('go up by one epoch each time, and name the line', async () => {
      const { journal } = await opened();
      const id = await one(journal);
      expect((await leaseOne(journal)).epoch).toBe(1);
      await journal.expire([{ shardId: id, epoch: 1 }], 'silent', at(20));
      expect((await leaseOne(journal, 30, { line: 'line-1' })).epoch).toBe(2);
      expect(await journal.shard(id)).toMatchObject({ state: 'running', line: 'line-1', epoch: 2, startedAt: at(10).at });
      expect(await journal.running()).toEqual([{ shardId: id, epoch: 2, pipeline: 'flights', line: 'line-1', instance: 'a' }]);
      expect(await journal.running('line-0')).toEqual([]);
    });

    it('give each shard to one of 64 lines that ask at once', async () => {
      const { journal } = await opened();
      await journal.submit('flights', shardsOf(300), at(1));
      const answers = await Promise.all(
        Array.from({ length: 64 }, (_, line) => journal.lease(query({ line: `line-${String(line)}`, max: 5 }), at(2))),
      );
      const ids = answers.flatMap((answer) => answer.leases.map((lease) => lease.shardId));
      expect(ids).toHaveLength(300);
      expect(new Set(ids).size).toBe(300);
      expect(await journal.counts('flights')).toEqual({ pending: 0, running: 300, completed: 0, failed: 0, cancelled: 0 });
    });

    it('come back to a line that was started anew, under the next epoch; what it does not take goes to others', async () => {
      const { journal } = await opened();
      await journal.submit('flights', shardsOf(3), at(1));
      const before = (await journal.lease(query({ max: 3 }), at(2))).leases.map((lease) => lease.shardId);
      const again = (await journal.lease(query({ instance: 'b', max: 2, freshMax: 0, reclaim: before }), at(3))).leases;
      expect(again.map(({ shardId, epoch }) => [shardId, epoch])).toEqual(before.slice(0, 2).map((id) => [id, 2]));
      expect((await journal.shard(before[2] ?? ''))?.state).toBe('pending');
      await expect(journal.complete('line-0', completeOf(before[0] ?? '', 1), at(4))).rejects.toEqual(code('PDL_LEASE_LOST'));
    });
  });

  describe(`${name}: endings`, () => {
    it('complete once; the same call again is answered, and nobody else’s is', async () => {
      const { journal } = await opened();
      const { shardId, epoch } = await leaseOne(journal, 10, (await one(journal), {}));
      const complete = completeOf(shardId, epoch);
      expect(await journal.complete('line-0', complete, at(40))).toMatchObject({
        changed: true,
        state: 'completed',
        waitedMs: 9,
        ranMs: 30,
      });
      expect(await journal.complete('line-0', complete, at(50))).toMatchObject({ changed: false, waitedMs: 9, ranMs: 30 });
      await expect(journal.complete('line-1', complete, at(50))).rejects.toEqual(code('PDL_LEASE_LOST'));
      await expect(journal.fail('line-0', complete, failure(), at(50))).rejects.toEqual(code('PDL_LEASE_LOST'));
      expect(await journal.shard(shardId)).toMatchObject({
        state: 'completed',
        result: complete.result,
        report: complete.report,
        stagesDone: ['clean', 'score'],
        endedAt: at(40).at,
      });
      expect((await journal.events(0, 100)).filter((event) => event.type === 'shard.completed')).toHaveLength(1);
    });

    it('refuse what comes under an older epoch', async () => {
      const { journal } = await opened();
      await one(journal);
      const late = await leaseOne(journal);
      await journal.expire([late], 'silent', at(20));
      const newer = await leaseOne(journal, 30);
      await expect(journal.complete('line-0', completeOf(late.shardId, late.epoch), at(40))).rejects.toEqual(
        code('PDL_LEASE_LOST'),
      );
      await expect(journal.fail('line-0', late, failure(), at(40))).rejects.toEqual(code('PDL_LEASE_LOST'));
      expect(await journal.expire([late], 'silent', at(40))).toEqual([]);
      expect(await journal.complete('line-0', completeOf(newer.shardId, newer.epoch), at(50))).toMatchObject({ changed: true });
    });

    it('back off longer after each failure, then become a dead letter with reason and log tail', async () => {
      const { journal } = await opened();
      const id = await one(journal);
      let ms = 10;
      for (const delayMs of [1_000, 2_000]) {
        const lease = await leaseOne(journal, ms);
        expect(await journal.fail('line-0', lease, failure(), at(ms))).toMatchObject({ changed: true, state: 'pending' });
        expect(await journal.fail('line-0', lease, failure(), at(ms))).toMatchObject({ changed: false });
        expect(await journal.queued('flights')).toEqual({});
        expect(await journal.nextDueMs()).toBe(ms + delayMs);
        expect((await journal.lease(query(), at(ms + delayMs - 1))).leases).toEqual([]);
        expect(await journal.advance(at(ms + delayMs - 1), 10)).toEqual({ woken: [], stopped: [], more: false });
        ms += delayMs;
        expect(await journal.advance(at(ms), 10)).toEqual({ woken: ['flights'], stopped: [], more: false });
        expect(await journal.queued('flights')).toEqual({ default: 1 });
      }
      expect(await journal.fail('line-0', await leaseOne(journal, ms), failure(), at(ms))).toMatchObject({ state: 'failed' });
      expect(await journal.shard(id)).toMatchObject({
        state: 'failed',
        attempts: 3,
        error: { code: 'PDL_STAGE_FAILED', place: 'stage clean', logTail: 'Traceback' },
      });
      expect(await journal.counts('flights')).toEqual({ pending: 0, running: 0, completed: 0, failed: 1, cancelled: 0 });
      expect((await journal.list({ pipeline: 'flights', state: 'failed', max: 10 })).shards.map((shard) => shard.id)).toEqual([
        id,
      ]);
    });

    it('fail at once with what would fail again', async () => {
      const { journal } = await opened();
      await one(journal);
      expect(
        await journal.fail('line-0', await leaseOne(journal), failure({ code: 'PDL_STAGE_OUTPUT', retry: 'never' }), at(20)),
      ).toMatchObject({ state: 'failed' });
    });

    it('count no attempt when a line gives a shard back', async () => {
      const { journal } = await opened();
      const id = await one(journal);
      await journal.fail('line-0', await leaseOne(journal), { ...failure(), counts: false }, at(20));
      expect(await journal.shard(id)).toMatchObject({ state: 'pending', attempts: 0 });
      expect((await leaseOne(journal, 20)).epoch).toBe(2);
    });

    it('give up a shard that outlives too many lines', async () => {
      const { journal } = await opened();
      const id = await one(journal);
      for (let lost = 1; lost <= 4; lost += 1)
        await journal.expire([await leaseOne(journal, lost * 10)], 'silent', at(lost * 10 + 5));
      expect(await journal.shard(id)).toMatchObject({ state: 'failed', attempts: 0, error: { code: 'PDL_STAGE_DIED' } });
    });
  });

  describe(`${name}: requests`, () => {
    it('cancel what is pending or running; a late complete is refused', async () => {
      const { journal } = await opened();
      const id = await one(journal);
      const lease = await leaseOne(journal);
      expect(await journal.cancel(id, at(20))).toMatchObject({ changed: true, state: 'cancelled' });
      expect(await journal.cancel(id, at(20))).toMatchObject({ changed: false });
      await expect(journal.complete('line-0', completeOf(id, lease.epoch), at(30))).rejects.toEqual(code('PDL_LEASE_LOST'));
      const waiting = await one(journal, 'b');
      await journal.cancel(waiting, at(40));
      expect((await journal.lease(query(), at(50))).leases).toEqual([]);
    });

    it('retry what failed with its attempts forgotten, and refuse it for what completed', async () => {
      const { journal } = await opened();
      const id = await one(journal);
      await journal.fail('line-0', await leaseOne(journal), failure({ retry: 'never' }), at(20));
      expect(await journal.retry(id, at(30))).toMatchObject({ changed: true, state: 'pending' });
      expect(await journal.retry(id, at(30))).toMatchObject({ changed: false });
      const shard = await journal.shard(id);
      expect(shard).toMatchObject({ state: 'pending', attempts: 0 });
      expect(shard?.error).toBeUndefined();
      const lease = await leaseOne(journal, 40);
      expect(lease.epoch).toBe(2);
      await journal.complete('line-0', completeOf(id, 2), at(50));
      await expect(journal.retry(id, at(60))).rejects.toEqual(code('PDL_SHARD_STATE'));
      await expect(journal.cancel(id, at(60))).rejects.toEqual(code('PDL_SHARD_STATE'));
      await expect(journal.retry('nothing', at(60))).rejects.toEqual(code('PDL_SHARD_UNKNOWN'));
    });

    it('resume a completed shard from a stage, which the leases name until it has completed again', async () => {
      const { journal } = await opened();
      const id = await one(journal);
      await journal.complete('line-0', completeOf(id, (await leaseOne(journal)).epoch), at(20));
      await journal.resume(id, 'score', at(30));
      const shard = await journal.shard(id);
      expect(shard).toMatchObject({ state: 'pending', resumeFrom: 'score', stagesDone: [] });
      expect(shard?.result).toBeUndefined();
      const [lease] = (await journal.lease(query(), at(40))).leases;
      expect(lease).toMatchObject({ resumeFrom: 'score', epoch: 2 });
      await expect(journal.resume(id, 'clean', at(45))).rejects.toEqual(code('PDL_SHARD_STATE'));
      await journal.complete('line-0', completeOf(id, 2), at(50));
      expect((await journal.shard(id))?.resumeFrom).toBeUndefined();
    });
  });

  describe(`${name}: time`, () => {
    it('fails what was pending too long, with the reason', async () => {
      const { journal } = await opened({ timeLimits: { pendingMs: 100 } });
      const id = await one(journal);
      expect(await journal.nextDueMs()).toBe(101);
      expect(await journal.advance(at(100), 10)).toEqual({ woken: [], stopped: [], more: false });
      await journal.advance(at(101), 10);
      expect(await journal.shard(id)).toMatchObject({
        state: 'failed',
        error: { code: 'PDL_TIME_LIMIT', place: 'spec.timeLimits.pending' },
      });
      expect(await journal.nextDueMs()).toBe(101 + limits.failedShardsKeptMs);
    });

    it('fails what ran too long, all its leases together', async () => {
      const { journal } = await opened({ timeLimits: { runningMs: 100 } });
      const id = await one(journal);
      await journal.fail('line-0', await leaseOne(journal, 10), { ...failure(), counts: false }, at(70));
      const lease = await leaseOne(journal, 1_000);
      expect(await journal.nextDueMs()).toBe(1_040);
      expect(await journal.advance(at(1_040), 10)).toEqual({ woken: [], stopped: [id], more: false });
      expect(await journal.shard(id)).toMatchObject({ state: 'failed', error: { code: 'PDL_TIME_LIMIT' } });
      await expect(journal.complete('line-0', completeOf(id, lease.epoch), at(1_041))).rejects.toEqual(code('PDL_LEASE_LOST'));
    });

    it('works off what is due in bounded steps, and forgets limits that a new revision took away', async () => {
      const { journal } = await opened({ timeLimits: { pendingMs: 100 } });
      await journal.submit('flights', shardsOf(5), at(0));
      expect((await journal.advance(at(100), 2)).more).toBe(true);
      expect((await journal.counts('flights')).failed).toBe(2);
      await journal.applyPipeline(pipelineOf('flights', { description: 'without a limit' }), rules(), at(101));
      expect((await journal.advance(at(102), 10)).more).toBe(false);
      expect(await journal.counts('flights')).toMatchObject({ pending: 3, failed: 2 });
      expect(await journal.nextDueMs()).toBe(100 + limits.failedShardsKeptMs);
    });

    it('never goes back, not over a restart either', async () => {
      const { journal, under } = await opened();
      await journal.submit('flights', shardsOf(1), at(5_000));
      await journal.submit('flights', shardsOf(1, 'other'), at(4_000));
      expect(await journal.clockMs()).toBe(5_000);
      await journal.close();
      const again = await under.open();
      onTestFinished(() => again.close());
      expect(await again.clockMs()).toBe(5_000);
    });
  });

  describe(`${name}: what is kept`, () => {
    it('lists in the order of submission, a page at a time, by state, without reports', async () => {
      const { journal } = await opened();
      await journal.submit('flights', shardsOf(25), at(1));
      const { shardId, epoch } = await leaseOne(journal);
      await journal.complete('line-0', completeOf(shardId, epoch), at(20));
      const keys: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await journal.list({ pipeline: 'flights', max: 10, cursor });
        expect(page.shards.length).toBeLessThanOrEqual(10);
        expect(page.shards.every((shard) => shard.report === undefined)).toBe(true);
        keys.push(...page.shards.map((shard) => shard.key));
        cursor = page.next;
      } while (cursor !== undefined);
      expect(keys).toEqual(shardsOf(25).map((shard) => shard.key));
      expect((await journal.list({ pipeline: 'flights', state: 'completed', max: 10 })).shards.map((shard) => shard.id)).toEqual([
        shardId,
      ]);
      expect((await journal.list({ pipeline: 'flights', state: 'pending', max: 100 })).shards).toHaveLength(24);
    });

    it('numbers events without gaps, tells them once and in order, and keeps as many as it is told to', async () => {
      const { journal } = await opened({}, { retention: { eventsMax: 1_500 } });
      const heard: number[] = [];
      const known = await journal.lastEventId();
      expect(known).toBe(1);
      const unsubscribe = journal.subscribe((events) => {
        for (const { id } of events) if (id > known) heard.push(id);
      });
      await Promise.all(
        Array.from({ length: 30 }, (_, group) => journal.submit('flights', shardsOf(100, `g${String(group)}`), at(1))),
      );
      expect(await journal.lastEventId()).toBe(3_001);
      await expect.poll(() => heard.at(-1)).toBe(3_001);
      unsubscribe();
      expect(heard).toEqual(Array.from({ length: 3_000 }, (_, index) => index + 2));
      expect((await journal.events(2_990, 100)).map((event) => event.id)).toEqual([
        2_991, 2_992, 2_993, 2_994, 2_995, 2_996, 2_997, 2_998, 2_999, 3_000, 3_001,
      ]);
      const [oldest] = await journal.events(0, 1);
      expect(oldest?.id).toBeGreaterThan(1);
      expect(oldest?.id).toBeLessThanOrEqual(3_001 - 1_500 + 1);
    });

    it('keeps the newest of what has ended, as many as it is told to, and forgets their keys', async () => {
      const { journal } = await opened({}, { retention: { doneMax: 3, failedMax: 1 } });
      await journal.submit('flights', shardsOf(8), at(1));
      const { leases } = await journal.lease(query({ max: 7 }), at(2));
      for (const [index, lease] of leases.entries()) {
        if (index < 5) await journal.complete('line-0', completeOf(lease.shardId, lease.epoch), at(10 + index));
        else await journal.fail('line-0', lease, failure({ retry: 'never' }), at(10 + index));
      }
      expect(await journal.counts('flights')).toMatchObject({ completed: 5, failed: 2, pending: 1 });
      expect(await journal.nextDueMs()).toBeLessThanOrEqual(at(20).ms);
      while ((await journal.advance(at(20), 2)).more);
      expect(await journal.counts('flights')).toEqual({ pending: 1, running: 0, completed: 3, failed: 1, cancelled: 0 });
      const ids = leases.map((lease) => lease.shardId);
      expect((await journal.list({ pipeline: 'flights', max: 10 })).shards.map((shard) => shard.id).slice(0, 4)).toEqual([
        ids[2],
        ids[3],
        ids[4],
        ids[6],
      ]);
      expect(await journal.shard(ids[0] ?? '')).toBeUndefined();
      expect(await journal.shardByKey('flights', 'shard-0')).toBeUndefined();
      expect(await journal.submit('flights', [shardOf('shard-0'), shardOf('shard-2')], at(21))).toMatchObject([
        { outcome: 'accepted' },
        { outcome: 'duplicate', id: ids[2] },
      ]);
      await expect(journal.retry(ids[5] ?? '', at(22))).rejects.toEqual(code('PDL_SHARD_UNKNOWN'));
      await journal.stateHash();
    });

    it('forgets what ended long ago, and events of long ago, but nothing that waits or runs', async () => {
      const { journal } = await opened({}, { retention: { doneMs: 1_000, failedMs: 5_000, eventsMs: 2_000 } });
      await journal.submit('flights', shardsOf(4), at(1));
      const [done, dead] = (await journal.lease(query({ max: 3 }), at(2))).leases;
      await journal.complete('line-0', completeOf(done?.shardId ?? '', 1), at(100));
      await journal.fail('line-0', dead ?? { shardId: '', epoch: 0 }, failure({ retry: 'never' }), at(200));
      expect(await journal.nextDueMs()).toBe(1_100);
      await journal.advance(at(1_099), 100);
      expect(await journal.counts('flights')).toMatchObject({ completed: 1, failed: 1 });
      await journal.advance(at(1_100), 100);
      expect(await journal.counts('flights')).toEqual({ pending: 1, running: 1, completed: 0, failed: 1, cancelled: 0 });
      expect(await journal.nextDueMs()).toBe(5_200);
      const last = await journal.lastEventId();
      await journal.advance(at(5_200), 100);
      expect(await journal.counts('flights')).toEqual({ pending: 1, running: 1, completed: 0, failed: 0, cancelled: 0 });
      expect(await journal.events(0, 100)).toEqual([]);
      await journal.submit('flights', [shardOf('new')], at(9_000));
      expect((await journal.events(0, 100)).map((event) => event.id)).toEqual([last + 1]);
      await journal.stateHash();
    });

    it('is the same after it was opened again', async () => {
      const { journal, under } = await opened();
      await journal.submit('flights', shardsOf(50), at(1));
      const leases = (await journal.lease(query({ max: 20 }), at(2))).leases;
      for (const [index, lease] of leases.entries()) {
        if (index % 4 === 0) await journal.complete('line-0', completeOf(lease.shardId, lease.epoch), at(10 + index));
        else if (index % 4 === 1) await journal.fail('line-0', lease, failure(), at(10 + index));
        else if (index % 4 === 2) await journal.cancel(lease.shardId, at(10 + index));
      }
      await journal.report(
        'line-0',
        leases.slice(3, 4).map((lease) => ({ ...lease, stagesDone: ['clean'] })),
        [],
        at(40),
      );
      const [hash, last, counts] = [await journal.stateHash(), await journal.lastEventId(), await journal.counts('flights')];
      await journal.close();
      const again = await under.open();
      onTestFinished(() => again.close());
      expect(await again.stateHash()).toBe(hash);
      expect(await again.lastEventId()).toBe(last);
      expect(await again.counts('flights')).toEqual(counts);
      expect(counts).toEqual({ pending: 35, running: 5, completed: 5, failed: 0, cancelled: 5 });
      await again.submit('flights', [shardOf('new')], at(50));
      expect(await again.stateHash()).not.toBe(hash);
    });

    it('is written by who took the newest term, and by nobody else', async () => {
      const { journal, under } = await opened();
      const id = await one(journal);
      const lease = await leaseOne(journal);
      const before = (await journal.leader())?.term ?? 0;
      const other = await under.open();
      onTestFinished(() => other.close());
      expect(await other.takeTerm('http://other:1')).toBeGreaterThan(before);
      const leader = await journal.leader();
      expect(leader).toMatchObject({ address: 'http://other:1' });
      const hash = await other.stateHash();
      const late: (() => Promise<unknown>)[] = [
        () => journal.submit('flights', [shardOf('late')], at(20)),
        () => journal.complete('line-0', completeOf(id, lease.epoch), at(20)),
        () => journal.fail('line-0', lease, failure(), at(20)),
        () => journal.cancel(id, at(20)),
        () => journal.applyPipeline(pipelineOf('flights', { description: 'late' }), rules(), at(20)),
      ];
      for (const write of late)
        await expect(write()).rejects.toEqual(expect.objectContaining({ code: 'PDL_NOT_LEADER', place: 'http://other:1' }));
      expect(await other.stateHash()).toBe(hash);
      expect(await journal.shard(id)).toMatchObject({ state: 'running' });
      expect(await other.complete('line-0', completeOf(id, lease.epoch), at(30))).toMatchObject({ changed: true });
      expect(await journal.takeTerm()).toBe((leader?.term ?? 0) + 1);
      expect((await journal.submit('flights', [shardOf('again')], at(40)))[0]?.outcome).toBe('accepted');
      await expect(other.submit('flights', [shardOf('late')], at(50))).rejects.toEqual(code('PDL_NOT_LEADER'));
    });

    it('refuses everything once it is closed, which it may be twice', async () => {
      const { journal } = await opened();
      await Promise.all([journal.close(), journal.close()]);
      await expect(journal.submit('flights', [shardOf('a')], at(1))).rejects.toEqual(code('PDL_JOURNAL'));
    });
  });
}
