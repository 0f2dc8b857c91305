/** What every journal does when a completion and the next leases are one transition; a part of `journal.ts`. */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Journal, LeaseQuery, Moment, PipelineRules } from '../../runtime/journal/journal.js';
import { completeOf, pipelineOf, shardsOf } from '../support/journal.js';
import type { JournalUnderTest } from './journal.js';

const at = (ms: number): Moment => ({ ms, at: new Date(Date.UTC(2026, 0, 1) + ms).toISOString() });
const rules: PipelineRules = {
  retries: { limit: 2, backoff: { initialMs: 1_000, factor: 2, maxMs: 10_000 } },
  timeLimits: {},
  pendingMax: 1_000,
  lostLeasesMax: 3,
};
const query = (more: Partial<LeaseQuery> = {}): LeaseQuery => ({
  ...{ pipeline: 'flights', line: 'line-0', group: 'default', instance: 'a' },
  ...{ max: 1, freshMax: 256, prefer: [], reclaim: [], ...more },
});

export function completeAndLeaseContract(name: string, make: () => JournalUnderTest): void {
  /** With shards that wait, the first of which is leased. */
  const begun = async (count = 3): Promise<{ journal: Journal; under: JournalUnderTest; ids: string[] }> => {
    const under = make();
    const journal = await under.open();
    onTestFinished(() => journal.close());
    await journal.applyPipeline(pipelineOf(), rules, at(0));
    const outcomes = await journal.submit('flights', shardsOf(count), at(1));
    await journal.lease(query(), at(10));
    return { journal, under, ids: outcomes.map((outcome) => ('id' in outcome ? outcome.id : '')) };
  };

  describe(`${name}: a completion with the next leases`, () => {
    it('completes, then leases, in one transition with the events of both in that order', async () => {
      const { journal, ids } = await begun();
      const [first = '', second = ''] = ids;
      const last = await journal.lastEventId();
      expect(await journal.completeAndLease('line-0', completeOf(first, 1), query(), at(40))).toMatchObject({
        completed: { changed: true, state: 'completed', waitedMs: 9, ranMs: 30 },
        leased: { leases: [{ shardId: second, epoch: 1, attempts: 0 }], waiting: 1, paused: false },
      });
      expect(await journal.counts('flights')).toMatchObject({ pending: 1, running: 1, completed: 1 });
      expect(await journal.shard(first)).toMatchObject({ state: 'completed', result: { hash: 'bb' } });
      expect((await journal.events(last, 10)).map(({ id, type, shardId }) => [id - last, type, shardId])).toEqual([
        [1, 'shard.completed', first],
        [2, 'shard.leased', second],
      ]);
    });

    it('leases nothing where the completion is refused', async () => {
      const { journal, ids } = await begun();
      const [first = ''] = ids;
      const [hash, last] = [await journal.stateHash(), await journal.lastEventId()];
      const lost = { code: 'PDL_LEASE_LOST' };
      await expect(journal.completeAndLease('line-0', completeOf(first, 2), query(), at(40))).rejects.toMatchObject(lost);
      await expect(
        journal.completeAndLease('line-1', completeOf(first, 1), query({ line: 'line-1' }), at(40)),
      ).rejects.toMatchObject(lost);
      expect(await journal.stateHash()).toBe(hash);
      expect(await journal.lastEventId()).toBe(last);
    });

    it('the same call again leases anew and completes nothing twice', async () => {
      const { journal, ids } = await begun();
      const [first = '', second = '', third = ''] = ids;
      await journal.completeAndLease('line-0', completeOf(first, 1), query(), at(40));
      expect(await journal.completeAndLease('line-0', completeOf(first, 1), query(), at(50))).toMatchObject({
        completed: { changed: false, state: 'completed', ranMs: 30 },
        leased: { leases: [{ shardId: third, epoch: 1 }], waiting: 0 },
      });
      expect((await journal.events(0, 100)).filter(({ type }) => type === 'shard.completed')).toHaveLength(1);
      expect(await journal.shard(second)).toMatchObject({ state: 'running' });
    });

    it('takes what the line prefers and reclaims, and never the shard that it completes', async () => {
      const { journal, ids } = await begun(4);
      const [first = '', second = '', third = '', fourth = ''] = ids;
      await journal.lease(query(), at(11));
      const next = query({ instance: 'b', max: 2, prefer: [first, fourth], reclaim: [first, second] });
      const { leased } = await journal.completeAndLease('line-0', completeOf(first, 1), next, at(40));
      expect(leased?.leases.map(({ shardId, epoch }) => [shardId, epoch])).toEqual([
        [second, 2],
        [fourth, 1],
      ]);
      expect(await journal.shard(first)).toMatchObject({ state: 'completed', epoch: 1 });
      expect(await journal.shard(third)).toMatchObject({ state: 'pending' });
    });

    it('completes alone while the pipeline is paused, while it goes, and where there is none of the name', async () => {
      const { journal, ids } = await begun();
      const [first = '', second = ''] = ids;
      await journal.lease(query(), at(11));
      await journal.setPaused('flights', true, at(12));
      expect(await journal.completeAndLease('line-0', completeOf(first, 1), query(), at(20))).toMatchObject({
        completed: { changed: true },
        leased: { leases: [], waiting: 1, paused: true },
      });
      const elsewhere = query({ pipeline: 'nobody' });
      expect(await journal.completeAndLease('line-0', completeOf(first, 1), elsewhere, at(21))).toEqual({
        completed: { changed: false, pipeline: 'flights', state: 'completed', waitedMs: 9, ranMs: 10 },
        leased: undefined,
      });
      await journal.setPaused('flights', false, at(22));
      await journal.removePipeline('flights', true, 0, at(23));
      expect(await journal.completeAndLease('line-0', completeOf(second, 1), query(), at(24))).toMatchObject({
        completed: { changed: true, state: 'completed' },
        leased: undefined,
      });
    });

    it('of many that share a commit, each gets shards of its own, and one that is refused harms nobody', async () => {
      const { journal, under } = await begun(1);
      await journal.submit('flights', shardsOf(40, 'more'), at(12));
      const lines = Array.from({ length: 20 }, (_, index) => `line-${String(index + 1)}`);
      const held = await Promise.all(lines.map(async (line) => (await journal.lease(query({ line }), at(13))).leases[0]));
      const answers = await Promise.allSettled(
        lines.map((line, index) => {
          const epoch = index === 7 ? 2 : 1;
          return journal.completeAndLease(line, completeOf(held[index]?.shardId ?? '', epoch), query({ line }), at(20));
        }),
      );
      expect(answers.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([7]);
      const given = answers.flatMap((answer) => (answer.status === 'fulfilled' ? (answer.value.leased?.leases ?? []) : []));
      expect(new Set(given.map(({ shardId }) => shardId)).size).toBe(19);
      expect(await journal.counts('flights')).toMatchObject({ completed: 19, running: 21, pending: 1 });
      const hash = await journal.stateHash();
      await journal.close();
      const again = await under.open();
      onTestFinished(() => again.close());
      expect(await again.stateHash()).toBe(hash);
    });

    it('is refused as a whole to who took an older term', async () => {
      const { journal, under, ids } = await begun();
      const other = await under.open();
      onTestFinished(() => other.close());
      await other.takeTerm();
      const hash = await other.stateHash();
      await expect(journal.completeAndLease('line-0', completeOf(ids[0] ?? '', 1), query(), at(20))).rejects.toMatchObject({
        code: 'PDL_NOT_LEADER',
      });
      expect(await other.stateHash()).toBe(hash);
    });
  });
}
