/**
 * The journal in PostgreSQL: for several coordinators, of which one writes. It opens as a reader; `takeTerm` makes it the writer.
 *
 * Events reach readers by NOTIFY, which carries the id of the last one; what is missing in between is read from the table.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from 'postgres';
import { PodlineError } from '../../contracts/errors.js';
import type { PodlineEvent } from '../../contracts/events.js';
import type { Shard } from '../../contracts/shard.js';
import type { Journal, PipelineRecord, RunningShard } from '../journal.js';
import { idOf, placesOf, seqOf } from '../places.js';
import { toShard, type BodyRecord, type OutcomeRecord, type StateRecord } from '../records.js';
import { defaultRetention, endedKinds, removalDueMs, type Retention } from '../retention.js';
import { canonicalLine } from '../state-hash.js';
import { newNumbers, noCounts, type CountsRecord, type Numbers } from '../tables.js';
import { transitionsOf } from '../transitions/index.js';
import { connectionOf } from './connection.js';
import { Database } from './database.js';
import { EventFeed } from './event-feed.js';
import { faultOf } from './faults.js';
import { migrate } from './schema.js';
import { Store, readLeader } from './store.js';

export interface PostgresJournalOptions {
  /** `postgres://user:password@host:port/database?schema=podline`; a unix socket's folder as `?host=/folder`. */
  url: string;
  retention?: Partial<Retention> | undefined;
  /** What ids of shards begin with. Only used when the journal is made. */
  idPrefix?: string | undefined;
  /** How long a database that does not answer is tried before a call fails. */
  patienceMs?: number | undefined;
  /** After which a question to the database counts as lost. */
  answerMs?: number | undefined;
}

/** Of questions that read everything, or make the schema. */
const longAnswerMs = 600_000;

const rowsText =
  'SELECT s.seq, b.body, s.state, o.outcome FROM shards s JOIN bodies b USING (seq) LEFT JOIN outcomes o USING (seq)';

interface Row {
  seq: string;
  body: BodyRecord;
  state: StateRecord;
  outcome: OutcomeRecord | null;
}

/** Connects, and makes or updates the schema. Throws PDL_JOURNAL. */
export async function openPostgresJournal(options: PostgresJournalOptions): Promise<Journal> {
  const connection = connectionOf(options.url);
  const retention = { ...defaultRetention, ...options.retention };
  const writer = new Database(connection, { connectionsMax: 1, answerMs: options.answerMs });
  const reader = new Database(connection, { connectionsMax: 4, answerMs: options.answerMs });
  const listeners = new Set<(events: readonly PodlineEvent[]) => void>();
  const tell = (events: readonly PodlineEvent[]): void => {
    for (const listener of listeners) listener(events);
  };
  let idPrefix: string;
  let feed: EventFeed;
  try {
    const first = newNumbers(options.idPrefix ?? randomBytes(3).toString('hex'));
    await writer.ask((sql) => migrate(sql, connection.schema, first), longAnswerMs);
    ({ idPrefix } = await numbers(reader));
    feed = await EventFeed.open(connection, reader, tell);
  } catch (thrown) {
    await Promise.all([writer.close(), reader.close()]);
    throw faultOf(thrown).error;
  }
  const patienceMs = options.patienceMs ?? 10_000;
  const store = new Store({
    writer,
    channel: connection.channel,
    retention,
    patienceMs,
    onEvents: (events) => {
      feed.told(events);
    },
  });

  const shardOf = ({ seq, body, state, outcome }: Row, withReport: boolean): Shard =>
    toShard(idOf({ idPrefix }, Number(seq)), body, state, outcome ?? undefined, withReport);
  const rows = (condition: string, values: (string | number)[]): Promise<Row[]> =>
    reader.ask((sql) => sql.unsafe<Row[]>(`${rowsText} ${condition}`, values, { prepare: true }));
  const countsOf = async (pipeline: string): Promise<CountsRecord> => {
    const [row] = await reader.ask(
      (sql) => sql<{ counts: CountsRecord }[]>`SELECT counts FROM counts WHERE pipeline = ${pipeline}`,
    );
    return row?.counts ?? noCounts();
  };

  let closed: Promise<void> | undefined;
  return guarded({
    clockMs: async () => (await numbers(reader)).clockMs,
    takeTerm: (address) => store.takeTerm(address),
    leader: () => reader.ask(readLeader),

    ...transitionsOf((nowMs, run, reads) => store.transact(nowMs, run, reads)),
    pipeline: async (name) => {
      const [row] = await reader.ask(
        (sql) => sql<{ record: PipelineRecord }[]>`SELECT record FROM pipelines WHERE name = ${name}`,
      );
      return row?.record;
    },
    pipelines: async () => {
      const all = await reader.ask((sql) => sql<{ record: PipelineRecord }[]>`SELECT record FROM pipelines ORDER BY name`);
      return all.map(({ record }) => record);
    },

    nextDueMs: async () => {
      const [row] = await reader.ask(
        (sql) => sql<{ numbers: Numbers; due: number | null; done: number | null; failed: number | null }[]>`
          SELECT numbers, (SELECT min(due_ms) FROM shards WHERE due_ms IS NOT NULL) AS due,
            (SELECT min(ended_ms) FROM shards WHERE ended = 'done') AS done,
            (SELECT min(ended_ms) FROM shards WHERE ended = 'failed') AS failed FROM journal`,
      );
      if (row === undefined) return undefined;
      const due = [
        row.due ?? undefined,
        ...endedKinds.map((kind) => removalDueMs(retention, kind, row.numbers, row[kind] ?? undefined)),
      ].filter((ms) => ms !== undefined);
      return due.length === 0 ? undefined : Math.min(...due);
    },

    shard: async (id) => {
      const seq = seqOf({ idPrefix }, id);
      const [row] = seq === undefined ? [] : await rows('WHERE s.seq = $1', [seq]);
      return row === undefined ? undefined : shardOf(row, true);
    },
    shardByKey: async (pipeline, key) => {
      const [row] = await rows('WHERE b.pipeline = $1 AND b.key = $2', [pipeline, key]);
      return row === undefined ? undefined : shardOf(row, true);
    },
    list: async ({ pipeline, state, cursor, max }) => {
      const after = cursor === undefined ? 0 : Number.parseInt(cursor, 36);
      // One look into the index for each place; no more rows than a page from each.
      const found = await rows(
        `JOIN (SELECT l.seq FROM unnest(ARRAY[${placesOf(state).join()}]::smallint[]) AS p(place),
          LATERAL (SELECT seq FROM shards WHERE pipeline = $1 AND place = p.place AND seq > $2 ORDER BY seq LIMIT $3) l
          ORDER BY l.seq LIMIT $3) page USING (seq) ORDER BY s.seq`,
        [pipeline, after, max + 1],
      );
      const page = found.slice(0, max);
      const last = page.at(-1);
      return {
        shards: page.map((row) => shardOf(row, false)),
        ...(found.length > max && last !== undefined ? { next: Number(last.seq).toString(36) } : {}),
      };
    },
    counts: async (pipeline) => {
      const { pending, running, completed, failed, cancelled } = await countsOf(pipeline);
      return { pending, running, completed, failed, cancelled };
    },
    queued: async (pipeline) => (await countsOf(pipeline)).queued,
    running: async (line) => {
      const found = await reader.ask(
        (sql) => sql<{ seq: string; state: StateRecord }[]>`
          SELECT seq, state FROM shards WHERE place = 11 AND pipeline IN (SELECT name FROM pipelines) ORDER BY pipeline, seq`,
      );
      return found.flatMap(({ seq, state }): RunningShard[] => {
        const { epoch, pipeline, instance } = state;
        if (line !== undefined && state.line !== line) return [];
        return [{ shardId: idOf({ idPrefix }, Number(seq)), epoch, pipeline, line: state.line ?? '', instance: instance ?? '' }];
      });
    },

    events: (after, max) => feed.read(after, max),
    lastEventId: async () => (await numbers(reader)).lastEventId,
    noticedUntil: async () => (await numbers(reader)).noticedUntil,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },

    stateHash: () => reader.ask((sql) => hashOf(sql, { idPrefix }), longAnswerMs),
    close: () =>
      (closed ??= (async () => {
        const settled = store.close();
        await Promise.race([settled, delay(patienceMs, undefined, { ref: false })]);
        // What still waits fails now.
        await Promise.all([feed.close(), writer.close(), reader.close(), settled]);
      })()),
  });
}

async function numbers(reader: Database): Promise<Numbers> {
  const [row] = await reader.ask((sql) => sql<{ numbers: Numbers }[]>`SELECT numbers FROM journal`);
  if (row === undefined) throw new PodlineError('PDL_JOURNAL', 'the journal has lost its numbers');
  return row.numbers;
}

/** From one snapshot, a page of rows at a time. */
function hashOf(sql: Sql, prefix: Pick<Numbers, 'idPrefix'>): Promise<string> {
  return sql.begin('ISOLATION LEVEL REPEATABLE READ READ ONLY', async (snapshot) => {
    const hash = createHash('sha256');
    const pipelines = await snapshot<{ record: PipelineRecord; counts: CountsRecord | null }[]>`
      SELECT record, counts FROM pipelines LEFT JOIN counts ON pipeline = name ORDER BY name`;
    for (const { record, counts } of pipelines) hash.update(canonicalLine('pipeline', record, counts));
    const shards = snapshot.unsafe<Row[]>(`${rowsText} ORDER BY s.seq`);
    for await (const page of shards.cursor(1_000)) {
      for (const { seq, body, state, outcome } of page)
        hash.update(canonicalLine('shard', idOf(prefix, Number(seq)), state, body, outcome));
    }
    const [row] = await snapshot<{ numbers: Numbers }[]>`SELECT numbers FROM journal`;
    hash.update(canonicalLine('numbers', row?.numbers.lastSeq, row?.numbers.lastEventId, row?.numbers.ended));
    return hash.digest('hex');
  });
}

/** What the database throws is told as PDL_JOURNAL. */
function guarded<T extends Journal>(journal: T): T {
  return new Proxy(journal, {
    get(target, name, receiver) {
      const value: unknown = Reflect.get(target, name, receiver);
      if (typeof value !== 'function' || name === 'subscribe') return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        return result instanceof Promise
          ? result.catch((thrown: unknown) => {
              throw faultOf(thrown).error;
            })
          : result;
      };
    },
  });
}
