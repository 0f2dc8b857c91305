/**
 * Events as a stream: a place in the journal's log and a wake-up when it grows. A slow reader costs no memory, because
 * it reads where it stands; one that falls behind what the journal keeps goes on with the oldest that is kept.
 */
import { PodlineError } from '../contracts/errors.js';
import type { PodlineEvent } from '../contracts/events.js';
import type { EventQuery } from '../contracts/views.js';
import type { Journal } from '../journal/journal.js';

const pageMax = 512;

export class EventStreams {
  #waiting: (() => void)[] = [];
  #open = 0;
  #closed = false;
  readonly #unsubscribe: () => void;

  constructor(
    private readonly journal: Journal,
    private readonly streamsMax: number,
  ) {
    this.#unsubscribe = journal.subscribe(() => {
      this.#wakeAll();
    });
  }

  /** Throws PDL_QUEUE_FULL when too many are open. Ends when the signal is given or the coordinator closes. */
  async *read(query: EventQuery): AsyncGenerator<PodlineEvent, void, undefined> {
    if (this.#open >= this.streamsMax)
      throw new PodlineError('PDL_QUEUE_FULL', `${String(this.streamsMax)} event streams are open already`, {
        hint: 'Close one, or read with a filter in one stream.',
      });
    this.#open += 1;
    const { signal } = query;
    const wake = (): void => {
      this.#wakeAll();
    };
    signal?.addEventListener('abort', wake);
    try {
      const last = await this.journal.lastEventId();
      let at = Math.min(query.after ?? last, last);
      const ended = (): boolean => this.#closed || signal?.aborted === true;
      while (!ended()) {
        // Registered before the look: what comes between the two is not missed.
        const news = new Promise<void>((resolve) => this.#waiting.push(resolve));
        const page = await this.journal.events(at, pageMax);
        for (const event of page) {
          if (ended()) return;
          at = event.id;
          if (query.pipeline !== undefined && event.pipeline !== query.pipeline) continue;
          if (query.shardId !== undefined && event.shardId !== query.shardId) continue;
          yield event;
        }
        if (page.length === 0 && !ended()) await news;
      }
    } finally {
      this.#open -= 1;
      signal?.removeEventListener('abort', wake);
    }
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#wakeAll();
  }

  #wakeAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
