/**
 * Events of a journal in PostgreSQL, from whoever writes it: each once, in order, to who listens here.
 *
 * The writer's own events come from memory (`told`), those of others by NOTIFY and a read. When the connection that listens is
 * lost, another one is made until one holds, and whatever was missed is read.
 */
import type { PodlineEvent } from '../../contracts/events.js';
import type { Connection } from './connection.js';
import { defaultConnectMs, type Database } from './database.js';
import { Link, noAnswer } from './link.js';

const pageMax = 1_000;
const retryMs = 100;
/** The writer's own events come by themselves: they are read only if they have not come by then. */
const lookMs = 20;

export class EventFeed {
  /** Infinite until it is known after which event it tells. */
  #lastId = Number.POSITIVE_INFINITY;
  /** By NOTIFY. */
  #heardId = 0;
  #reading: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #link: Link | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;

  private constructor(
    private readonly connection: Connection,
    private readonly reader: Database,
    private readonly tell: (events: readonly PodlineEvent[]) => void,
  ) {}

  /** Tells what comes after the last event that is there now. */
  static async open(
    connection: Connection,
    reader: Database,
    tell: (events: readonly PodlineEvent[]) => void,
  ): Promise<EventFeed> {
    const feed = new EventFeed(connection, reader, tell);
    try {
      // What is written from here on is heard: nothing is missed between this and the next line.
      await feed.#listen();
      const [row] = await reader.ask((sql) => sql<{ last: string }[]>`SELECT numbers->>'lastEventId' AS last FROM journal`);
      feed.#lastId = Number(row?.last ?? 0);
      if (feed.#heardId > feed.#lastId) feed.#look();
      return feed;
    } catch (thrown) {
      await feed.close();
      throw thrown;
    }
  }

  /** Written by this process, and durable. */
  told(events: readonly PodlineEvent[]): void {
    const [first] = events;
    if (first === undefined) return;
    // Others wrote in between: they are read, and these with them.
    if (first.id > this.#lastId + 1) this.#look();
    else this.#pass(events);
  }

  async read(after: number, max: number): Promise<PodlineEvent[]> {
    const rows = await this.reader.ask(
      (sql) => sql<{ event: PodlineEvent }[]>`SELECT event FROM events WHERE id > ${after} ORDER BY id LIMIT ${max}`,
    );
    return rows.map(({ event }) => event);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#looking);
    this.#link?.end(new Error('the feed is closed'));
    await this.#reading;
  }

  async #listen(): Promise<void> {
    const link = new Link(this.connection, {
      connectionsMax: 1,
      connectMs: defaultConnectMs,
      onNotify: (_, payload) => {
        this.#heard(Number(payload));
      },
      onClosed: () => {
        if (this.#link === link) this.#lost(link);
      },
    });
    this.#link = link;
    const timer = setTimeout(() => {
      link.end(noAnswer(defaultConnectMs));
    }, defaultConnectMs);
    try {
      await Promise.race([link.sql.unsafe(`LISTEN ${this.connection.channel}`), link.cut]);
    } finally {
      clearTimeout(timer);
    }
  }

  #lost(link: Link): void {
    link.end(new Error('the connection that listens was lost'));
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#listen().then(
        () => {
          this.#look();
        },
        () => {
          if (this.#link !== undefined) this.#lost(this.#link);
        },
      );
    }, retryMs);
  }

  #heard(id: number): void {
    this.#heardId = Math.max(this.#heardId, id);
    this.#looking ??= setTimeout(() => {
      this.#looking = undefined;
      if (this.#heardId > this.#lastId) this.#look();
    }, lookMs);
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
