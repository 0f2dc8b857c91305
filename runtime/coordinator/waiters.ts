/**
 * Requests for leases that wait for work, in the order in which they came; one per line at most, so their number is
 * bounded by that of the lines.
 */
import type { Clock } from '../platform/clock.js';

export interface Waiter {
  line: string;
  /** Asks the journal again. True: there was something, and the waiter is answered. */
  serve: () => Promise<boolean>;
  /** Answers that there is nothing. */
  giveUp: () => void;
}

interface Entry extends Waiter {
  end: () => void;
}

export class Waiters {
  readonly #queues = new Map<string, Map<string, Entry>>();
  readonly #serving = new Set<string>();
  readonly #again = new Set<string>();

  constructor(private readonly clock: Clock) {}

  get size(): number {
    let size = 0;
    for (const queue of this.#queues.values()) size += queue.size;
    return size;
  }

  /** Waits for at most `waitMs`. One of the same line that waits already is answered with nothing. */
  add(pipeline: string, waiter: Waiter, waitMs: number, signal: AbortSignal | undefined): void {
    let queue = this.#queues.get(pipeline);
    if (queue === undefined) this.#queues.set(pipeline, (queue = new Map<string, Entry>()));
    this.#leave(pipeline, waiter.line)?.giveUp();
    const giveUp = (): void => {
      if (queue.get(waiter.line) === entry) this.#leave(pipeline, waiter.line);
      waiter.giveUp();
    };
    const callOff = this.clock.after(waitMs, giveUp);
    signal?.addEventListener('abort', giveUp, { once: true });
    const entry: Entry = {
      ...waiter,
      end: () => {
        callOff();
        signal?.removeEventListener('abort', giveUp);
      },
    };
    queue.set(waiter.line, entry);
    if (signal?.aborted === true) giveUp();
  }

  /** There may be work: whoever waits longest is served first, until there is none. One round at a time per pipeline. */
  async wake(pipeline: string): Promise<void> {
    if (this.#serving.has(pipeline)) {
      this.#again.add(pipeline);
      return;
    }
    this.#serving.add(pipeline);
    try {
      do {
        this.#again.delete(pipeline);
        for (;;) {
          const [first] = this.#queues.get(pipeline)?.values() ?? [];
          if (first === undefined || !(await first.serve())) break;
          if (this.#queues.get(pipeline)?.get(first.line) === first) this.#leave(pipeline, first.line);
        }
      } while (this.#again.has(pipeline));
    } finally {
      this.#serving.delete(pipeline);
    }
  }

  /** Answers all with nothing. */
  close(): void {
    for (const [pipeline, queue] of this.#queues) for (const line of [...queue.keys()]) this.#leave(pipeline, line)?.giveUp();
  }

  #leave(pipeline: string, line: string): Entry | undefined {
    const queue = this.#queues.get(pipeline);
    const entry = queue?.get(line);
    entry?.end();
    queue?.delete(line);
    return entry;
  }
}
