import postgres from 'postgres';
import { expect, onTestFinished } from 'vitest';
import { connectionOf } from '../../../runtime/journal/postgres/connection.js';
import type { Journal } from '../../../runtime/journal/journal.js';
import { openPostgresJournal, type PostgresJournalOptions } from '../../../runtime/journal/postgres/postgres-journal.js';
import { journalContract } from '../../contract/journal.js';
import { pipelineOf, shardOf } from '../../support/journal.js';
import { testDatabase } from '../../support/postgres.js';
import { needs } from '../../support/require.js';

const database = testDatabase();

needs('postgres').describe('PostgreSQL', () => {
  journalContract('the PostgreSQL journal', () => {
    const url = database.url();
    return {
      open: async (options = {}) => {
        const journal = await openPostgresJournal({ url: await url, ...options });
        await journal.takeTerm();
        return journal;
      },
    };
  });
});

const { describe, it } = needs('postgres');
describe('the PostgreSQL journal, when its database', () => {
  const now = { ms: 1, at: '2026-01-01T00:00:00.000Z' };
  const rules = {
    retries: { limit: 0, backoff: { initialMs: 1, factor: 1, maxMs: 1 } },
    timeLimits: {},
    pendingMax: 1_000_000,
    lostLeasesMax: 1,
  };
  const opened = async (patienceMs: number, more: Partial<PostgresJournalOptions> = {}): Promise<Journal> => {
    const journal = await openPostgresJournal({ url: await database.url(), patienceMs, ...more });
    onTestFinished(() => journal.close());
    await journal.takeTerm();
    await journal.applyPipeline(pipelineOf(), rules, now);
    return journal;
  };

  /** A client of its own on the schema of a journal. */
  const another = (url: string): postgres.Sql => {
    const { url: address, host, schema } = connectionOf(url);
    const sql = postgres(address, { host: host ?? '', max: 2, connection: { search_path: schema } });
    onTestFinished(() => sql.end());
    return sql;
  };

  it('refuses a record, fails the call that brought it and no other of its group', async () => {
    const journal = await opened(10_000);
    const answers = await Promise.allSettled(['a', 'n\0l', 'b'].map((key) => journal.submit('flights', [shardOf(key)], now)));
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(answers[1]).toMatchObject({ reason: { code: 'PDL_JOURNAL' } });
    expect((await journal.counts('flights')).pending).toBe(2);
  });

  it('is killed again and again under load, loses nothing that was answered, and takes nothing twice', async () => {
    const journal = await opened(60_000);
    const server = await database.server();
    let isOver = false as boolean;
    const accepted = new Map<string, string>();
    const submitter = async (name: string): Promise<void> => {
      for (let count = 0; !isOver; count += 1) {
        const key = `${name}-${String(count)}`;
        const [answer] = await journal.submit('flights', [shardOf(key)], now);
        // It is run again when it was not written, and answered when it was: never told as a duplicate of itself.
        expect(answer?.outcome).toBe('accepted');
        if (answer?.outcome === 'accepted') accepted.set(key, answer.id);
      }
    };
    const load = Promise.all(Array.from({ length: 16 }, (_, client) => submitter(String(client))));
    for (let kills = 0; kills < 3; kills += 1) {
      const before = accepted.size;
      await expect.poll(() => accepted.size, { timeout: 30_000 }).toBeGreaterThan(before + 100);
      await server.end('immediate');
      await server.begin();
    }
    isOver = true;
    await load;
    for (const [key, id] of accepted) expect((await journal.shardByKey('flights', key))?.id).toBe(id);
    expect((await journal.counts('flights')).pending).toBe(accepted.size);
    const events = await journal.events(0, 100_000);
    expect(events.map((event) => event.id)).toEqual(Array.from({ length: events.length }, (_, index) => index + 1));
    expect(events).toHaveLength(accepted.size + 1);
  }, 120_000);

  it('is handed a group when its writer has counted on without it, refuses the group', async () => {
    const url = await database.url();
    const journal = await opened(10_000, { url });
    await journal.submit('flights', [shardOf('a')], now);
    const other = another(url);
    const [before] = await other`SELECT term, commits, numbers FROM journal`;
    // After a fault it learns anew what there is, and writes nothing.
    await expect(journal.submit('flights', [shardOf('n\0l')], now)).rejects.toMatchObject({ code: 'PDL_JOURNAL' });
    expect(await journal.submit('flights', [shardOf('a')], now)).toMatchObject([{ outcome: 'duplicate' }]);
    const late = JSON.stringify({ ...before?.['numbers'], commits: Number(before?.['commits']) + 1 });
    const nothing = Array.from({ length: 8 }, () => 'NULL').join();
    await expect(
      other.unsafe(`SELECT write_group($1::text::bigint, $2::text::json, ${nothing}, 1, NULL, NULL)`, [before?.['term'], late]),
    ).rejects.toMatchObject({ code: 'PDL02' });
    await journal.submit('flights', [shardOf('b')], now);
  });

  it('writes a group after it was given up for lost, takes it once', async () => {
    const url = await database.url();
    const journal = await opened(60_000, { url, answerMs: 300 });
    const other = another(url);
    let accepted: Promise<unknown> | undefined;
    await other.begin(async (transaction) => {
      await transaction`SELECT term FROM journal FOR UPDATE`;
      accepted = journal.submit('flights', [shardOf('a')], now);
      // The group waits for the row, its connection is given up, and so is that of the first question after it.
      const waiting = async (): Promise<number> =>
        (
          await other`SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
          WHERE NOT l.granted AND (a.query LIKE '%write_group%' OR a.query LIKE '%commits%')`
        ).length;
      await expect.poll(waiting, { timeout: 10_000 }).toBeGreaterThan(1);
    });
    await expect(accepted).resolves.toMatchObject([{ outcome: 'accepted' }]);
    await journal.submit('flights', [shardOf('b')], now);
    expect((await journal.counts('flights')).pending).toBe(2);
    expect((await journal.events(0, 10)).map(({ id }) => id)).toEqual([1, 2, 3]);
  });

  it('is away for longer than it is waited for, says so, and goes on when it is back', async () => {
    const journal = await opened(300);
    const server = await database.server();
    await server.end();
    try {
      await expect(journal.submit('flights', [shardOf('a')], now)).rejects.toMatchObject({ code: 'PDL_JOURNAL', retry: 'later' });
      await expect(journal.counts('flights')).rejects.toMatchObject({ code: 'PDL_JOURNAL' });
    } finally {
      await server.begin();
    }
    await expect
      .poll(() => journal.submit('flights', [shardOf('b')], now).catch(() => []))
      .toMatchObject([{ outcome: 'accepted' }]);
  });
});
