/**
 * The database as it is asked: each question is answered, or fails in bounded time.
 *
 * Owns the link to it, and makes a new one after it has lost the one that it had. Whether to ask again is left to who asks: a
 * question that failed may have been carried out all the same, and may even be carried out later.
 *
 * Invariants
 *  1. `ask` settles within `answerMs`, or at once when its link is lost or the database is closed.
 *  2. What was asked on a link that was lost is never waited for on the next one.
 */
import type { Sql } from 'postgres';
import { PodlineError } from '../../contracts/errors.js';
import { statementTimeoutMs, type Connection } from './connection.js';
import { faultOf } from './faults.js';
import { Link, noAnswer } from './link.js';

export interface DatabaseOptions {
  connectionsMax: number;
  /** Of one question, if it does not bring its own. */
  answerMs?: number | undefined;
  connectMs?: number | undefined;
}

/** The server ends statements earlier: who hears nothing for so long has lost it. */
const defaultAnswerMs = statementTimeoutMs + 5_000;
export const defaultConnectMs = 5_000;
/** What is under way when it is closed. */
const closeMs = 2_000;

export class Database {
  #link: Link | undefined;
  #closed: Promise<void> | undefined;
  readonly #asked = new Set<Promise<unknown>>();

  constructor(
    private readonly connection: Connection,
    private readonly options: DatabaseOptions,
  ) {}

  /** What `run` does with `sql` must be over when it resolves. */
  async ask<T>(run: (sql: Sql) => Promise<T>, answerMs = this.options.answerMs ?? defaultAnswerMs): Promise<T> {
    if (this.#closed !== undefined) throw closedError();
    const { connectionsMax, connectMs = defaultConnectMs } = this.options;
    const link = (this.#link ??= new Link(this.connection, { connectionsMax, connectMs }));
    const timer = setTimeout(() => {
      this.#lose(link, noAnswer(answerMs));
    }, answerMs);
    const answer = (async () => run(link.sql))();
    this.#asked.add(answer);
    try {
      return await Promise.race([answer, link.cut]);
    } catch (thrown) {
      if (faultOf(thrown).kind === 'lost') this.#lose(link, thrown instanceof Error ? thrown : new Error(String(thrown)));
      throw thrown;
    } finally {
      clearTimeout(timer);
      this.#asked.delete(answer);
    }
  }

  /** Waits a little for what is under way. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      const link = this.#link;
      if (link === undefined) return;
      const timer = setTimeout(() => {
        link.end(closedError());
      }, closeMs);
      const ending = (async () => {
        await Promise.allSettled(this.#asked);
        await link.sql.end();
      })();
      await Promise.race([ending, link.cut]).catch(() => undefined);
      clearTimeout(timer);
      link.end(closedError());
    })();
    return this.#closed;
  }

  #lose(link: Link, error: Error): void {
    if (this.#link === link) this.#link = undefined;
    link.end(error);
  }
}

const closedError = (): PodlineError => new PodlineError('PDL_JOURNAL', 'the journal is closed', { retry: 'never' });
