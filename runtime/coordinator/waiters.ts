/**
 * Requests for leases that wait for work, by pipeline and group, in the order in which they came; one per line at most, so
 * their number is bounded by that of the lines.
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
  /** pipeline → group → line */
  readonly #queues = new Map<string, Map<string, Map<string, Entry>>>();
  readonly #serving = new Set<string>();
  readonly #again = new Set<string>();

  constructor(private readonly clock: Clock) {}

  get size(): number {
    let size = 0;
    for (const groups of this.#queues.values()) for (const queue of groups.values()) size += queue.size;
    return size;
  }

  /** Waits for at most `waitMs`. One of the same line that waits already is answered with nothing. */
  add(pipeline: string, group: string, waiter: Waiter, waitMs: number, signal: AbortSignal | undefined): void {
    let groups = this.#queues.get(pipeline);
    if (groups === undefined) this.#queues.set(pipeline, (groups = new Map<string, Map<string, Entry>>()));
    for (const queue of groups.values()) leave(queue, waiter.line)?.giveUp();
    let queue = groups.get(group);
    if (queue === undefined) groups.set(group, (queue = new Map<string, Entry>()));
    const waiting = queue;
    const giveUp = (): void => {
      if (waiting.get(waiter.line) === entry) leave(waiting, waiter.line);
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
    waiting.set(waiter.line, entry);
    if (signal?.aborted === true) giveUp();
  }

  /** There may be work: in each group, whoever waits longest is served first, until there is none. One round at a time per pipeline. */
  async wake(pipeline: string): Promise<void> {
    if (this.#serving.has(pipeline)) {
      this.#again.add(pipeline);
      return;
    }
    this.#serving.add(pipeline);
    try {
      do {
        this.#again.delete(pipeline);
        for (const queue of this.#queues.get(pipeline)?.values() ?? []) {
          for (;;) {
            const [first] = queue.values();
            if (first === undefined || !(await first.serve())) break;
            if (queue.get(first.line) === first) leave(queue, first.line);
          }
        }
      } while (this.#again.has(pipeline));
    } finally {
      this.#serving.delete(pipeline);
    }
  }

  /** Answers all with nothing. */
  close(): void {
    for (const groups of this.#queues.values())
      for (const queue of groups.values()) for (const line of [...queue.keys()]) leave(queue, line)?.giveUp();
  }
}

function leave(queue: Map<string, Entry>, line: string): Entry | undefined {
  const entry = queue.get(line);
  entry?.end();
  queue.delete(line);
  return entry;
}
