/**
 * Group commit over PostgreSQL: transitions that wait are run together on what was fetched for them, and written by one call.
 *
 * Two round trips a group, whatever its size: one fetches, one writes. One connection writes, others read; another listens.
 * What the writer knows of the journal (numbers, pipelines, counters) it keeps, because nobody else can change it in its term.
 *
 * Invariants
 *  1. A transition is answered after its group was committed with `synchronous_commit` on, and never when it was not.
 *  2. Each group names its term and is refused as a whole when that is not the newest (PDL_NOT_LEADER).
 *  3. A connection that is lost while a group is written leaves open whether it was, and even whether it will be: the server may
 *     still have it. So the writer counts `commits` on by one, after which what is late is refused, and reads which group was
 *     the last (`numbers.commits`); the group is answered or run again, never both. Tries are bounded by `patienceMs`; after
 *     that PDL_JOURNAL says so. Whenever it learns the journal anew it counts on as well: what was given up stays out.
 *  4. A group that the database refuses for what it contains is run again one by one: what is at fault fails alone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from 'postgres';
import { PodlineError } from '../../contracts/errors.js';
import type { PodlineEvent } from '../../contracts/events.js';
import { groupMax, requireRoom, runGroup, type Waiting } from '../group.js';
import type { LeaderRecord, PipelineRecord } from '../journal.js';
import { notLeader } from '../not-leader.js';
import type { Retention } from '../retention.js';
import type { CountsRecord, Numbers } from '../tables.js';
import { Transition } from '../transition.js';
import type { Reads } from '../transitions/index.js';
import type { Database } from './database.js';
import { faultOf, isPassing } from './faults.js';
import { fetchGroup, weightOf } from './fetch.js';
import type { Known, WorkingSet } from './working-set.js';

/** Rows that a group may make it fetch. */
const weightMax = 20_000;
const retryMs = 100;

interface WaitingWithReads extends Waiting {
  reads: Reads;
}

export interface StoreOptions {
  /** Of one connection. */
  writer: Database;
  channel: string;
  retention: Retention;
  /** How long a database that does not answer is tried. */
  patienceMs: number;
  onEvents: (events: readonly PodlineEvent[]) => void;
}

export class Store {
  #waiting: WaitingWithReads[] = [];
  #working: Promise<void> | undefined;
  #known: Known | undefined;
  #term = 0;
  #closed = false;

  constructor(private readonly options: StoreOptions) {}

  async takeTerm(address: string | undefined): Promise<number> {
    const [row] = await this.options.writer.ask(
      (sql) => sql<{ term: string }[]>`
        UPDATE journal SET term = term + 1, address = ${address ?? null}::text RETURNING term`,
    );
    this.#term = Number(row?.term ?? 0);
    this.#known = undefined;
    return this.#term;
  }

  transact<T>(nowMs: number, run: (transition: Transition) => T, reads: Reads): Promise<T> {
    if (this.#closed) return Promise.reject(new PodlineError('PDL_JOURNAL', 'the journal is closed', { retry: 'never' }));
    if (this.#term === 0) return this.#leaderNow().then((leader) => Promise.reject(notLeader(leader, undefined)));
    return new Promise<T>((resolve, reject) => {
      requireRoom(this.#waiting, 'the database', 'Submit more slowly, or look at the database.');
      this.#waiting.push({ run, nowMs, reads, resolve: resolve as (value: unknown) => void, reject });
      this.#working ??= this.#work();
    });
  }

  /** Waits for the transitions that wait. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Whoever asks in this turn of the event loop shares the commit.
      await new Promise((resolve) => setImmediate(resolve));
      const group = this.#nextGroup();
      try {
        await this.#commit(group);
      } catch (thrown) {
        const error = PodlineError.from(thrown, 'PDL_JOURNAL');
        for (const { reject } of group) reject(error);
      }
    }
    // In the turn of the last look: whoever comes after it begins anew.
    this.#working = undefined;
  }

  #nextGroup(): WaitingWithReads[] {
    let [count, weight] = [0, 0];
    for (const { reads } of this.#waiting) {
      weight += weightOf(reads);
      if (count > 0 && (count >= groupMax || weight > weightMax)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** Until the group is durable, refused, or the database was silent for too long. */
  async #commit(group: readonly WaitingWithReads[]): Promise<void> {
    const giveUpMs = performance.now() + this.options.patienceMs;
    for (;;) {
      try {
        await this.#tryCommit(group);
        return;
      } catch (thrown) {
        const fault = faultOf(thrown);
        // What was known may not hold any more.
        this.#known = undefined;
        if (fault.kind === 'notLeader') throw notLeader(await this.#leaderNow().catch(() => undefined), this.#term);
        if (fault.kind === 'data' && group.length > 1) {
          for (const one of group)
            await this.#commit([one]).catch((alone: unknown) => one.reject(PodlineError.from(alone, 'PDL_JOURNAL')));
          return;
        }
        if (!isPassing(fault) || performance.now() >= giveUpMs) throw fault.error;
        await delay(retryMs);
      }
    }
  }

  async #tryCommit(group: readonly WaitingWithReads[]): Promise<void> {
    const { writer, retention } = this.options;
    const known = (this.#known ??= await this.#learn());
    const wanted = group.map(({ reads }) => reads);
    const set = await writer.ask((sql) => fetchGroup(sql, known, retention, wanted));
    const transition = new Transition(set, retention);
    const settled = runGroup(transition, group);
    const events = transition.finish();
    if (transition.writes > 0) {
      await this.#write(set);
      set.learn();
    }
    for (const settle of settled) settle();
    if (events.length > 0) this.options.onEvents(events);
  }

  async #write(set: WorkingSet): Promise<void> {
    const { json, eventMs, droppedEvents, lastEvents } = set.written();
    const text = `SELECT write_group($1::text::bigint, ${json.map((_, index) => `$${String(index + 2)}::text::json`).join(', ')},
      $11::float8, $12::text::bigint, $13::text)`;
    const dropped = droppedEvents === null ? null : String(droppedEvents);
    const values = [String(this.#term), ...json, eventMs, dropped, lastEvents === null ? null : this.options.channel];
    try {
      await this.options.writer.ask((sql) => sql.unsafe(text, values, { prepare: true }));
    } catch (thrown) {
      if (faultOf(thrown).kind !== 'lost' || !(await this.#wasWritten(set.numbers.commits, thrown))) throw thrown;
      // It was counted on.
      this.#known = undefined;
    }
  }

  /** After a connection was lost in the middle: whether the group is there. Throws what was thrown if that cannot be learnt. */
  async #wasWritten(commits: number, thrown: unknown): Promise<boolean> {
    const giveUpMs = performance.now() + this.options.patienceMs;
    for (;;) {
      try {
        const numbers = await this.options.writer.ask((sql) => this.#countOn(sql));
        return numbers?.commits === commits;
      } catch (again) {
        // Not to be run again: it may be there.
        if (!isPassing(faultOf(again)) || performance.now() >= giveUpMs) throw faultOf(thrown).error;
        await delay(retryMs);
      }
    }
  }

  async #learn(): Promise<Known> {
    const known = await this.options.writer.ask(async (sql) => {
      const [numbers, pipelines, counts] = await Promise.all([
        this.#countOn(sql),
        sql<{ name: string; record: PipelineRecord }[]>`SELECT name, record FROM pipelines`,
        sql<{ pipeline: string; counts: CountsRecord }[]>`SELECT pipeline, counts FROM counts`,
      ]);
      return numbers === undefined ? undefined : { numbers, pipelines, counts };
    });
    if (known === undefined) throw notLeader(await this.#leaderNow(), this.#term);
    const { pipelines, counts } = known;
    const { countedTo, ...numbers } = known.numbers;
    return {
      numbers: { ...numbers, commits: countedTo },
      pipelines: new Map(pipelines.map(({ name, record }) => [name, record])),
      counts: new Map(counts.map(({ pipeline, counts: record }) => [pipeline, record])),
    };
  }

  /**
   * From here on no group is written that was made before. Tells the numbers of the journal and to what they were counted;
   * undefined: another one writes.
   */
  async #countOn(sql: Sql): Promise<(Numbers & { countedTo: number }) | undefined> {
    const [row] = await sql<{ commits: string; numbers: Numbers }[]>`
      UPDATE journal SET commits = commits + 1 WHERE term = ${this.#term} RETURNING commits, numbers`;
    return row === undefined ? undefined : { ...row.numbers, countedTo: Number(row.commits) };
  }

  async #leaderNow(): Promise<LeaderRecord | undefined> {
    return this.options.writer.ask(readLeader);
  }
}

/** Who took the newest term. */
export async function readLeader(sql: Sql): Promise<LeaderRecord | undefined> {
  const [row] = await sql<{ term: string; address: string | null }[]>`SELECT term, address FROM journal`;
  if (row === undefined || Number(row.term) === 0) return undefined;
  return { term: Number(row.term), ...(row.address === null ? {} : { address: row.address }) };
}
