import { mkdirSync } from 'node:fs';
import { open } from 'lmdb';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openStores } from '../../../runtime/journal/lmdb/layout.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import type { Numbers } from '../../../runtime/journal/tables.js';
import { journalContract } from '../../contract/journal.js';
import { folder, pipelineOf, shardOf } from '../../support/journal.js';

journalContract('the LMDB journal', () => {
  const dir = folder();
  return { open: async (options = {}) => openLmdbJournal({ dir, ...options }) };
});

journalContract('the LMDB journal that settles as often as it can', () => {
  const dir = folder();
  return { open: async (options = {}) => openLmdbJournal({ dir, settleAtBytes: 1, ...options }) };
});

describe('the LMDB journal', () => {
  const rules = {
    retries: { limit: 0, backoff: { initialMs: 1, factor: 1, maxMs: 1 } },
    timeLimits: {},
    pendingMax: 1_000_000,
    lostLeasesMax: 1,
  };
  const now = { ms: 1, at: '2026-01-01T00:00:00.000Z' };

  it('lets 64 clients share their commits', async () => {
    const dir = folder();
    const journal = openLmdbJournal({ dir });
    await journal.applyPipeline(pipelineOf(), rules, now);
    const each = 50;
    await Promise.all(
      Array.from({ length: 64 }, async (_, client) => {
        for (let count = 0; count < each; count += 1)
          await journal.submit('flights', [shardOf(`${String(client)}-${String(count)}`)], now);
      }),
    );
    expect((await journal.counts('flights')).pending).toBe(64 * each);
    await journal.close();
    const store = open({ path: dir, maxDbs: 16 });
    onTestFinished(() => store.close());
    const { commits } = openStores(store).meta.get('numbers') as Numbers;
    // Each client waits for its own answer, so there are at least `each` groups; far fewer than submissions is the point.
    expect(commits).toBeGreaterThanOrEqual(each);
    expect(commits).toBeLessThan((64 * each) / 8);
  });

  it('leases from the front of a long queue without reading the rest of it', async () => {
    const journal = openLmdbJournal({ dir: folder() });
    onTestFinished(() => journal.close());
    await journal.applyPipeline(pipelineOf(), rules, now);
    for (let group = 0; group < 10; group += 1)
      await journal.submit(
        'flights',
        Array.from({ length: 5_000 }, (_, index) => shardOf(`${String(group)}-${String(index)}`)),
        now,
      );
    const { leases, waiting } = await journal.lease(
      { pipeline: 'flights', line: 'l', instance: 'i', max: 3, freshMax: 3, group: 'default', prefer: [], reclaim: [] },
      now,
    );
    expect(leases.map((lease) => lease.key)).toEqual(['0-0', '0-1', '0-2']);
    expect(waiting).toBe(49_997);
  });

  it('names shards of two journals differently', async () => {
    const ids = await Promise.all(
      ['aaa', 'bbb'].map(async (idPrefix) => {
        const journal = openLmdbJournal({ dir: folder(), idPrefix });
        onTestFinished(() => journal.close());
        await journal.applyPipeline(pipelineOf(), rules, now);
        const [outcome] = await journal.submit('flights', [shardOf('same')], now);
        return outcome?.outcome === 'accepted' ? outcome.id : '';
      }),
    );
    expect(ids).toEqual(['aaa-0000001', 'bbb-0000001']);
  });

  it('does not touch a journal of another layout', async () => {
    const dir = folder();
    mkdirSync(dir, { recursive: true });
    const store = open({ path: dir, maxDbs: 16 });
    await store.openDB('meta', { encoding: 'msgpack' }).put('version', 99);
    await store.close();
    expect(() => openLmdbJournal({ dir })).toThrow(expect.objectContaining({ code: 'PDL_JOURNAL', retry: 'never' }));
  });
});
