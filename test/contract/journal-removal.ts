/** What every journal does when a pipeline is removed; a part of `journal.ts`. */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Journal, Moment, PipelineRules } from '../../runtime/journal/journal.js';
import { completeOf, pipelineOf, shardOf, shardsOf } from '../support/journal.js';
import type { JournalUnderTest } from './journal.js';

const at = (ms: number): Moment => ({ ms, at: new Date(Date.UTC(2026, 0, 1) + ms).toISOString() });
const rules: PipelineRules = {
  retries: { limit: 2, backoff: { initialMs: 1_000, factor: 2, maxMs: 10_000 } },
  timeLimits: {},
  pendingMax: 1_000,
  lostLeasesMax: 3,
};
const lease = (max: number, pipeline = 'flights') => ({
  ...{ pipeline, line: 'line-0', group: 'default', instance: 'a' },
  ...{ max, freshMax: 256, prefer: [], reclaim: [] },
});

export function removalContract(name: string, make: () => JournalUnderTest): void {
  const opened = async (): Promise<{ journal: Journal; under: JournalUnderTest }> => {
    const under = make();
    const journal = await under.open();
    onTestFinished(() => journal.close());
    for (const pipeline of ['flights', 'other']) await journal.applyPipeline(pipelineOf(pipeline), rules, at(0));
    return { journal, under };
  };

  describe(`${name}: pipelines that go`, () => {
    it('are refused while shards of them wait or run, and nothing is changed', async () => {
      const { journal } = await opened();
      await journal.submit('flights', [shardOf('a')], at(1));
      const hash = await journal.stateHash();
      await expect(journal.removePipeline('flights', false, 10, at(2))).rejects.toMatchObject({ code: 'PDL_PIPELINE_BUSY' });
      expect(await journal.stateHash()).toBe(hash);
      const { leases } = await journal.lease(lease(1), at(3));
      await expect(journal.removePipeline('flights', false, 10, at(4))).rejects.toMatchObject({ code: 'PDL_PIPELINE_BUSY' });
      await journal.complete('line-0', completeOf(leases[0]?.shardId ?? '', 1), at(5));
      expect(await journal.removePipeline('flights', false, 10, at(6))).toEqual({ cancelled: 0, removed: 1, more: false });
      await expect(journal.removePipeline('flights', false, 10, at(7))).rejects.toMatchObject({ code: 'PDL_PIPELINE_UNKNOWN' });
    });

    it('go in bounded steps with all of their shards, and leave others as they are', async () => {
      const { journal, under } = await opened();
      await journal.submit('other', shardsOf(5), at(1));
      await journal.submit('flights', shardsOf(25), at(1));
      const { leases } = await journal.lease(lease(6), at(2));
      for (const { shardId, epoch } of leases.slice(0, 3)) await journal.complete('line-0', completeOf(shardId, epoch), at(3));
      const [waits] = (await journal.list({ pipeline: 'flights', state: 'pending', max: 1 })).shards;
      expect(await journal.removePipeline('flights', true, 0, at(4))).toEqual({ cancelled: 0, removed: 0, more: true });
      const steps = [await journal.removePipeline('flights', true, 10, at(4))];
      // From the first step on it is there for nobody else.
      await expect(journal.submit('flights', [shardOf('late')], at(5))).rejects.toMatchObject({ code: 'PDL_PIPELINE_UNKNOWN' });
      await expect(journal.lease(lease(1), at(5))).rejects.toMatchObject({ code: 'PDL_PIPELINE_UNKNOWN' });
      await expect(journal.applyPipeline(pipelineOf(), rules, at(5))).rejects.toMatchObject({ code: 'PDL_PIPELINE_BUSY' });
      expect((await journal.pipeline('flights'))?.going).toBe(true);
      while (steps.at(-1)?.more === true) steps.push(await journal.removePipeline('flights', true, 10, at(6)));
      expect(steps.map(({ removed }) => removed)).toEqual([10, 10, 5]);
      expect(steps.reduce((sum, { cancelled }) => sum + cancelled, 0)).toBe(22);

      expect(await journal.pipeline('flights')).toBeUndefined();
      expect((await journal.pipelines()).map(({ pipeline }) => pipeline.name)).toEqual(['other']);
      expect(await journal.shard(waits?.id ?? '')).toBeUndefined();
      expect(await journal.shardByKey('flights', waits?.key ?? '')).toBeUndefined();
      expect(await journal.running()).toEqual([]);
      expect(await journal.counts('flights')).toEqual({ pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0 });
      expect(await journal.counts('other')).toMatchObject({ pending: 5 });
      const events = await journal.events(0, 1_000);
      const cancelled = events.filter(({ type }) => type === 'shard.cancelled');
      expect(cancelled).toHaveLength(22);
      expect(cancelled.find(({ shardId }) => shardId === waits?.id)?.data['key']).toBe(waits?.key);
      expect(events.at(-1)).toMatchObject({ type: 'pipeline.deleted', pipeline: 'flights' });

      const hash = await journal.stateHash();
      await journal.close();
      const again = await under.open();
      onTestFinished(() => again.close());
      expect(await again.stateHash()).toBe(hash);
    });

    it('goes on where another writer had begun, and a new one of the name begins anew', async () => {
      const { journal, under } = await opened();
      await journal.submit('flights', shardsOf(15), at(1));
      await journal.removePipeline('flights', true, 10, at(2));
      const other = await under.open();
      onTestFinished(() => other.close());
      await other.takeTerm();
      expect((await other.pipelines()).map(({ pipeline, going }) => [pipeline.name, going === true])).toEqual([
        ['flights', true],
        ['other', false],
      ]);
      expect(await other.removePipeline('flights', false, 10, at(3))).toEqual({ cancelled: 5, removed: 5, more: false });
      expect(await other.applyPipeline(pipelineOf(), rules, at(4))).toMatchObject({ changed: true, pipeline: { revision: 1 } });
      const [outcome] = await other.submit('flights', [shardOf('shard-0')], at(5));
      expect(outcome?.outcome).toBe('accepted');
      expect(await other.shardByKey('flights', 'shard-0')).toMatchObject({ state: 'pending' });
      expect((await other.lease(lease(5), at(6))).leases.map(({ key }) => key)).toEqual(['shard-0']);
    });
  });

  describe(`${name}: what comes with a shard`, () => {
    it('trace and callback are kept with it over a restart, go with its leases and into its end', async () => {
      const { journal, under } = await opened();
      const trace = { traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`, tracestate: 'a=b' };
      const callback = { url: 'https://hooks.example.org/done' };
      await journal.submit('flights', [shardOf('a', { trace, callback }), shardOf('b')], at(1));
      await journal.close();
      const again = await under.open();
      onTestFinished(() => again.close());
      await again.takeTerm();
      const { leases } = await again.lease(lease(2), at(2));
      expect(leases.map((one) => one.trace)).toEqual([trace, undefined]);
      for (const { shardId, epoch } of leases) await again.complete('line-0', completeOf(shardId, epoch), at(3));
      expect(await again.shardByKey('flights', 'a')).toMatchObject({ trace, callback });
      const ends = (await again.events(0, 100)).filter(({ type }) => type === 'shard.completed');
      expect(ends.map(({ data }) => [data['trace'], data['callback']])).toEqual([
        [trace, callback.url],
        [undefined, undefined],
      ]);
    });
  });
}
