/**
 * Events of a journal in PostgreSQL, from whoever writes it: each once, in order, to who listens here.
 *
 * The writer's own events come from memory (`told`), those of others by NOTIFY and a read. A connection that was lost is made
 * again by the driver, which calls back: then whatever was missed is read.
 */
import type { Sql } from 'postgres';
import type { PodlineEvent } from '../../contracts/events.js';

const pageMax = 1_000;

export class EventFeed {
  #lastId = 0;
  #reading: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #unlisten: (() => Promise<void>) | undefined;

  private constructor(
    private readonly sql: Sql,
    private readonly tell: (events: readonly PodlineEvent[]) => void,
  ) {}

  static async open(sql: Sql, channel: string, tell: (events: readonly PodlineEvent[]) => void): Promise<EventFeed> {
    const feed = new EventFeed(sql, tell);
    const [row] = await sql<{ last: string }[]>`SELECT numbers->>'lastEventId' AS last FROM journal`;
    feed.#lastId = Number(row?.last ?? 0);
    const look = (): void => {
      feed.#look();
    };
    const listening = await sql.listen(
      channel,
      (payload) => {
        if (Number(payload) > feed.#lastId) look();
      },
      look,
    );
    feed.#unlisten = () => listening.unlisten();
    return feed;
  }

  /** Written by this process, and durable. */
  told(events: readonly PodlineEvent[]): void {
    const [first] = events;
    if (first === undefined) return;
    // Others wrote in between: they are read, and these with them.
    if (first.id > this.#lastId + 1 || this.#reading !== undefined) {
      this.#look();
      return;
    }
    this.#pass(events);
  }

  async read(after: number, max: number): Promise<PodlineEvent[]> {
    const rows = await this.sql<{ event: PodlineEvent }[]>`
      SELECT event FROM events WHERE id > ${after} ORDER BY id LIMIT ${max}`;
    return rows.map(({ event }) => event);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#unlisten?.().catch(() => undefined);
    await this.#reading;
  }

  #look(): void {
    this.#again = true;
    this.#reading ??= this.#readOn().finally(() => {
      this.#reading = undefined;
    });
  }

  async #readOn(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      try {
        for (;;) {
          const events = await this.read(this.#lastId, pageMax);
          this.#pass(events);
          if (events.length < pageMax) break;
        }
      } catch {
        // The next event, or the connection that comes back, makes it look again.
        return;
      }
    }
  }

  #pass(events: readonly PodlineEvent[]): void {
    const fresh = events.filter(({ id }) => id > this.#lastId);
    const last = fresh.at(-1);
    if (last === undefined) return;
    this.#lastId = last.id;
    this.tell(fresh);
  }
}
