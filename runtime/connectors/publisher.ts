/**
 * From the journal's log to an outlet: completions in the order of their events, in batches of what has come so far.
 *
 * Where it goes on is what the outlet answers when it is opened, and nothing that is kept here. A place that lies in another journal (the
 * work directory was emptied) is none. Where the journal has forgotten events that were not published, it is asked which shards
 * ended in that time.
 */
import type { Completion } from '../contracts/connectors.js';
import type { PodlineEvent } from '../contracts/events.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { completionOf, completionOfShard, isEnd } from './completion.js';
import type { Cursor, Office, Outlet } from './connector.js';
import { inBatches, quiet } from './in-batches.js';
import type { Status } from './status.js';

/** Events that are looked at before the place is stored anew, and so completions of one transaction. */
const batchMax = 1_000;
/** A place is stored again this often although nothing happens: brokers forget what is old. */
const refreshMs = 3_600_000;

export interface PublisherParts {
  office: Office;
  /** A new one for each try. */
  outlet: () => Outlet;
  status: Status;
  pipelines: readonly string[] | undefined;
  from: 'oldest' | 'newest';
  clock: Clock;
  logger: Logger;
}

export class Publisher {
  constructor(private readonly parts: PublisherParts) {}

  /** Publishes until the signal; rejects when the outlet does. */
  async run(signal: AbortSignal, onRunning: () => void): Promise<void> {
    const { office, status, clock } = this.parts;
    const outlet = this.parts.outlet();
    const stop = new AbortController();
    try {
      let cursor = await this.#begin(await outlet.open());
      this.#stands(cursor);
      onRunning();
      const events = office.events({ after: cursor.event, signal: AbortSignal.any([signal, stop.signal]) });
      for await (const batch of inBatches(events, batchMax, refreshMs, clock)) {
        if (batch === quiet) {
          if (cursor.event > 0) await outlet.publish([], cursor);
          continue;
        }
        const [first, last] = [batch[0], batch.at(-1)];
        if (first === undefined || last === undefined) continue;
        if (first.id > cursor.event + 1 && cursor.at !== undefined) await this.#catchUp(outlet, cursor, first);
        cursor = { event: last.id, shardId: last.shardId, at: last.at };
        const completions = await this.#completions(batch);
        // Events that say nothing to publish move the place only where that costs little: with the next that do, or after many.
        if (completions.length > 0 || batch.length === batchMax) await outlet.publish(completions, cursor);
        status.published += completions.length;
        status.lastEvent = await office.lastEventId();
        this.#stands(cursor);
      }
    } finally {
      stop.abort();
      await outlet.close();
    }
  }

  #stands(cursor: Cursor): void {
    this.parts.status.cursor = cursor.event;
  }

  async #begin(stored: Cursor | undefined): Promise<Cursor> {
    const { office, from, logger, status } = this.parts;
    const last = (status.lastEvent = await office.lastEventId());
    if (stored === undefined) return { event: from === 'oldest' ? 0 : last };
    if (stored.event <= last && !(await this.#isOther(stored))) return stored;
    logger.warn(
      { ...stored, last },
      'the place that the broker keeps is of another journal: all completions of this one are published',
    );
    return { event: 0 };
  }

  /** Whether the event at that place is one of another shard. */
  async #isOther({ event, shardId }: Cursor): Promise<boolean> {
    if (event === 0 || shardId === undefined) return false;
    const events = this.parts.office.events({ after: event - 1 });
    try {
      const { value } = await events.next();
      return value?.id === event && value.shardId !== shardId;
    } finally {
      await events.return();
    }
  }

  async #completions(events: readonly PodlineEvent[]): Promise<Completion[]> {
    const completions: Completion[] = [];
    for (const event of events) {
      if (!isEnd(event) || !this.#isWanted(event.pipeline)) continue;
      const { key } = event.data;
      completions.push(completionOf(event, typeof key === 'string' ? key : (await this.parts.office.get(event.shardId)).key));
    }
    return completions;
  }

  /** What ended between the two, by the times of shards: at the edges some may be told again, with their ids. */
  async #catchUp(outlet: Outlet, cursor: Cursor, first: PodlineEvent): Promise<void> {
    const { office, logger, status } = this.parts;
    const { at = '' } = cursor;
    logger.warn(
      { from: cursor.event + 1, to: first.id - 1 },
      'the journal has forgotten events that were not published: its shards are asked',
    );
    let batch: Completion[] = [];
    const flush = async (): Promise<void> => {
      if (batch.length > 0) await outlet.publish(batch, cursor);
      status.published += batch.length;
      batch = [];
    };
    for (const { name } of await office.pipelines()) {
      if (!this.#isWanted(name)) continue;
      for (const state of ['completed', 'failed', 'cancelled'] as const) {
        for await (const { id, endedAt } of office.listAll(name, { state })) {
          if (endedAt === undefined || endedAt < at || endedAt > first.at) continue;
          const completion = completionOfShard(await office.get(id));
          if (completion !== undefined && completion.at === endedAt) batch.push(completion);
          if (batch.length === batchMax) await flush();
        }
      }
    }
    await flush();
  }

  #isWanted(pipeline: string): boolean {
    return this.parts.pipelines?.includes(pipeline) ?? true;
  }
}
