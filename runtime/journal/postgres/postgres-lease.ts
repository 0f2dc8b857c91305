/**
 * The lease of the leader in the database of the journal: for coordinators without Kubernetes. Its time is the database's, so
 * that clocks of machines do not matter.
 */
import type { Sql } from 'postgres';
import type { Candidate, LeaderLease } from '../../contracts/leadership.js';
import { PodlineError } from '../../contracts/errors.js';
import { connectionOf } from './connection.js';
import { Database } from './database.js';
import { faultOf } from './faults.js';

export interface PostgresLeaseOptions {
  /** That of the journal, whose schema must be there. */
  url: string;
  /** Coordinators of one name are replicas of each other. */
  name?: string | undefined;
  ttlMs?: number | undefined;
}

/** A leader that was killed is followed after this long at most, and the time between two looks. */
const defaultTtlMs = 5_000;

export function openPostgresLease({
  url: address,
  name = 'coordinator',
  ttlMs = defaultTtlMs,
}: PostgresLeaseOptions): LeaderLease {
  const connection = connectionOf(address);
  const answerMs = Math.ceil(ttlMs / 2);
  const settings = { ...connection.settings, statement_timeout: answerMs, lock_timeout: answerMs };
  const database = new Database({ ...connection, settings }, { connectionsMax: 1, answerMs, connectMs: answerMs });
  return {
    ttlMs,
    hold: (me) =>
      database
        .ask((sql) => hold(sql, name, ttlMs, me))
        .catch((thrown: unknown) => {
          throw faultOf(thrown).error;
        }),
    release: async (me) => {
      await database.ask((sql) => sql`DELETE FROM leases WHERE name = ${name} AND holder = ${me.id}`);
    },
    close: () => database.close(),
  };
}

async function hold(sql: Sql, name: string, ttlMs: number, me: Candidate): Promise<Candidate> {
  const [row] = await sql<{ holder: string; address: string }[]>`
    WITH mine AS (
      INSERT INTO leases (name, holder, address, expires_at)
      VALUES (${name}, ${me.id}, ${me.address}, clock_timestamp() + make_interval(secs => ${ttlMs / 1_000}))
      ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, address = excluded.address, expires_at = excluded.expires_at
        WHERE leases.holder = excluded.holder OR leases.expires_at < clock_timestamp()
      RETURNING holder, address
    )
    SELECT holder, address FROM mine
    UNION ALL SELECT holder, address FROM leases WHERE name = ${name} AND NOT EXISTS (SELECT 1 FROM mine)`;
  if (row === undefined) throw new PodlineError('PDL_JOURNAL', 'the lease of the leader was let go at this moment');
  return { id: row.holder, address: row.address };
}
