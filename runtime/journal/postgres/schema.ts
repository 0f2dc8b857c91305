/**
 * What lies in the database. Records are JSON as the transitions made them; beside them stand the columns by which they are found.
 *
 * `write_group` writes a whole group of transitions: one call of one function is a transaction by itself, whatever becomes of
 * the connection, and costs one round trip.
 *
 * Invariants
 *  1. A migration that was released is never changed; the next one follows it.
 *  2. `write_group` refuses a writer whose term is not the newest, before it has written anything.
 *  3. `commits` goes up by one at a time: a group that comes late, after its writer has counted on without it, is refused.
 */
import type { Sql } from 'postgres';
import { PodlineError } from '../../contracts/errors.js';

/** A number that stands for Podline among those who lock. */
const migrationLock = 7_063_514;

const migrations: readonly string[] = [
  `
  CREATE TABLE journal (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    term bigint NOT NULL,
    address text,
    commits bigint NOT NULL,
    numbers json NOT NULL
  );
  CREATE TABLE pipelines (name text COLLATE "C" PRIMARY KEY, record json NOT NULL);
  CREATE TABLE counts (pipeline text COLLATE "C" PRIMARY KEY, counts json NOT NULL);
  CREATE TABLE bodies (
    seq bigint PRIMARY KEY,
    pipeline text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    body json NOT NULL,
    UNIQUE (pipeline, key)
  );
  -- place: the priority of what may be leased, then 10 delayed, 11 running, 12 completed, 13 failed, 14 cancelled
  CREATE TABLE shards (
    seq bigint PRIMARY KEY,
    pipeline text COLLATE "C" NOT NULL,
    in_group text COLLATE "C" NOT NULL,
    place smallint NOT NULL,
    due_ms double precision,
    ended text COLLATE "C",
    ended_ms double precision,
    state json NOT NULL
  ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000);
  CREATE INDEX ON shards (pipeline, place, seq);
  CREATE INDEX ON shards (pipeline, in_group, place, seq) WHERE place < 10;
  CREATE INDEX ON shards (due_ms, seq) WHERE due_ms IS NOT NULL;
  CREATE INDEX ON shards (ended, ended_ms, seq) WHERE ended IS NOT NULL;
  CREATE TABLE outcomes (seq bigint PRIMARY KEY, outcome json NOT NULL);
  CREATE TABLE events (id bigint PRIMARY KEY, ms double precision NOT NULL, event json NOT NULL);
  CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    address text NOT NULL,
    expires_at timestamptz NOT NULL
  );

  CREATE FUNCTION write_group(writer bigint, new_numbers json, new_pipelines json, new_counts json, new_bodies json,
    new_shards json, new_outcomes json, removed_outcomes json, removed json, new_events json, event_ms double precision,
    dropped_events bigint, channel text) RETURNS void LANGUAGE plpgsql AS $$
  BEGIN
    UPDATE journal SET commits = (new_numbers->>'commits')::bigint, numbers = new_numbers WHERE term = writer;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'the writer of term % is not the leader', writer USING ERRCODE = 'PDL01';
    END IF;
    IF new_pipelines IS NOT NULL THEN
      INSERT INTO pipelines SELECT x.name, x.record FROM json_to_recordset(new_pipelines) AS x(name text, record json)
        ON CONFLICT (name) DO UPDATE SET record = excluded.record;
    END IF;
    IF new_counts IS NOT NULL THEN
      INSERT INTO counts SELECT x.pipeline, x.counts FROM json_to_recordset(new_counts) AS x(pipeline text, counts json)
        ON CONFLICT (pipeline) DO UPDATE SET counts = excluded.counts;
    END IF;
    IF removed IS NOT NULL THEN
      DELETE FROM shards WHERE seq IN (SELECT value::bigint FROM json_array_elements_text(removed));
      DELETE FROM bodies WHERE seq IN (SELECT value::bigint FROM json_array_elements_text(removed));
      DELETE FROM outcomes WHERE seq IN (SELECT value::bigint FROM json_array_elements_text(removed));
    END IF;
    IF new_bodies IS NOT NULL THEN
      INSERT INTO bodies SELECT x.seq, x.pipeline, x.key, x.body
        FROM json_to_recordset(new_bodies) AS x(seq bigint, pipeline text, key text, body json);
    END IF;
    IF new_shards IS NOT NULL THEN
      INSERT INTO shards SELECT x.seq, x.pipeline, x.in_group, x.place, x.due_ms, x.ended, x.ended_ms, x.state
        FROM json_to_recordset(new_shards)
          AS x(seq bigint, pipeline text, in_group text, place smallint, due_ms double precision, ended text, ended_ms double precision, state json)
        ON CONFLICT (seq) DO UPDATE SET place = excluded.place, due_ms = excluded.due_ms, ended = excluded.ended,
          ended_ms = excluded.ended_ms, state = excluded.state;
    END IF;
    IF removed_outcomes IS NOT NULL THEN
      DELETE FROM outcomes WHERE seq IN (SELECT value::bigint FROM json_array_elements_text(removed_outcomes));
    END IF;
    IF new_outcomes IS NOT NULL THEN
      INSERT INTO outcomes SELECT x.seq, x.outcome FROM json_to_recordset(new_outcomes) AS x(seq bigint, outcome json)
        ON CONFLICT (seq) DO UPDATE SET outcome = excluded.outcome;
    END IF;
    IF dropped_events IS NOT NULL THEN
      DELETE FROM events WHERE id < dropped_events;
    END IF;
    IF new_events IS NOT NULL THEN
      INSERT INTO events SELECT (value->>'id')::bigint, event_ms, value FROM json_array_elements(new_events);
      PERFORM pg_notify(channel, new_numbers->>'lastEventId');
    END IF;
  END $$;
  `,
  `
  CREATE FUNCTION refuse_late() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    RAISE EXCEPTION 'group % comes after %', NEW.commits, OLD.commits USING ERRCODE = 'PDL02';
  END $$;
  CREATE TRIGGER refuse_late BEFORE UPDATE OF commits ON journal
    FOR EACH ROW WHEN (NEW.commits <> OLD.commits + 1) EXECUTE FUNCTION refuse_late();
  `,
  // A pipeline is removed by writing its name without a record.
  `
  CREATE FUNCTION forget_pipeline() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    DELETE FROM counts WHERE pipeline = NEW.name;
    DELETE FROM pipelines WHERE name = NEW.name;
    RETURN NULL;
  END $$;
  CREATE TRIGGER forget_pipeline BEFORE INSERT ON pipelines
    FOR EACH ROW WHEN (NEW.record IS NULL) EXECUTE FUNCTION forget_pipeline();
  `,
];

/** Makes the schema, or brings it up to date. Throws PDL_JOURNAL when it is of a newer Podline. */
export async function migrate(sql: Sql, schema: string, numbers: unknown): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction`SELECT pg_advisory_xact_lock(${migrationLock})`;
    await transaction`CREATE SCHEMA IF NOT EXISTS ${transaction(schema)}`;
    await transaction`CREATE TABLE IF NOT EXISTS migrations (version int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())`;
    const [row] = await transaction<{ version: number | null }[]>`SELECT max(version) AS version FROM migrations`;
    const version = row?.version ?? 0;
    if (version > migrations.length) {
      throw new PodlineError(
        'PDL_JOURNAL',
        `the schema ${schema} is of version ${String(version)}; this Podline knows up to ${String(migrations.length)}`,
        { hint: 'Use the Podline that wrote it, or another schema.', retry: 'never' },
      );
    }
    for (const [index, statements] of migrations.slice(version).entries()) {
      await transaction.unsafe(statements);
      await transaction`INSERT INTO migrations (version) VALUES (${version + index + 1})`;
    }
    const text = JSON.stringify(numbers);
    await transaction`INSERT INTO journal (term, commits, numbers) VALUES (0, 0, ${text}::text::json) ON CONFLICT DO NOTHING`;
  });
}
