/**
 * Work by key: what changed is named, and done a little later, once, however often it was named meanwhile.
 *
 * Owns its timers and the calls that are under way. Leaves to the worker what is to be done: it looks at the state as it is then,
 * so that nothing is lost by naming a key once for many changes.
 *
 * Invariants
 *  1. Of one key at most one call is under way; a key that is named meanwhile is worked on once more behind it.
 *  2. A call that fails is made again with growing, random waits; one that succeeds forgets them.
 *  3. At most `workersMax` calls are under way and `keysMax` keys known (until `forget`): one key more is refused, and told of.
 *  4. Two calls of one key begin at least `gapMs` apart: a storm of changes is not one of requests.
 */
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';

export interface WorkQueueOptions {
  work: (key: string) => Promise<void>;
  clock: Clock;
  /** [0, 1) */
  random: () => number;
  logger: Logger;
  workersMax: number;
  keysMax: number;
  gapMs: number;
  backoffMs: { initial: number; max: number };
}

/** A key is *waiting* for its time, *due* for a worker, or *working*; `again`: named while it was worked on, and for when. */
interface Entry {
  phase: 'waiting' | 'due' | 'working';
  atMs: number;
  cancel: (() => void) | undefined;
  againAtMs: number | undefined;
  failures: number;
  lastMs: number;
}

export class WorkQueue {
  readonly #entries = new Map<string, Entry>();
  readonly #due: string[] = [];
  readonly #working = new Set<Promise<void>>();
  #closed = false;

  constructor(private readonly options: WorkQueueOptions) {}

  /** The key is worked on in `afterMs` at the latest, or as soon as it may. */
  add(key: string, afterMs = 0): void {
    if (this.#closed) return;
    const { clock, keysMax, logger } = this.options;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (this.#entries.size >= keysMax) {
        logger.error({ key, keysMax }, 'too many objects: this one is left alone');
        return;
      }
      entry = { phase: 'waiting', atMs: Infinity, cancel: undefined, againAtMs: undefined, failures: 0, lastMs: -Infinity };
      this.#entries.set(key, entry);
    }
    const atMs = Math.max(clock.nowMs() + afterMs, entry.lastMs + this.options.gapMs);
    if (entry.phase === 'working') entry.againAtMs = Math.min(entry.againAtMs ?? Infinity, atMs);
    else if (entry.phase === 'waiting' && atMs < entry.atMs) this.#wait(key, entry, atMs);
  }

  /** The key will not come again. A call that is under way ends, and the key is kept until then. */
  forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.phase === 'working') return;
    entry.cancel?.();
    this.#entries.delete(key);
  }

  /** Nothing is due or under way; keys may wait for their time. */
  get isIdle(): boolean {
    return this.#working.size === 0 && this.#due.length === 0;
  }

  /** Failures in a row of a key. */
  failuresOf(key: string): number {
    return this.#entries.get(key)?.failures ?? 0;
  }

  /** Waits for calls that are under way, and begins no more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { cancel } of this.#entries.values()) cancel?.();
    this.#entries.clear();
    this.#due.length = 0;
    await Promise.all(this.#working);
  }

  #wait(key: string, entry: Entry, atMs: number): void {
    entry.cancel?.();
    entry.phase = 'waiting';
    entry.atMs = atMs;
    entry.cancel = this.options.clock.after(Math.max(0, atMs - this.options.clock.nowMs()), () => {
      entry.cancel = undefined;
      entry.phase = 'due';
      this.#due.push(key);
      this.#begin();
    });
  }

  #begin(): void {
    while (!this.#closed && this.#working.size < this.options.workersMax) {
      const key = this.#due.shift();
      if (key === undefined) return;
      const entry = this.#entries.get(key);
      if (entry?.phase !== 'due') continue;
      entry.phase = 'working';
      entry.lastMs = this.options.clock.nowMs();
      const call = this.#call(key, entry).finally(() => {
        this.#working.delete(call);
        this.#begin();
      });
      this.#working.add(call);
    }
  }

  async #call(key: string, entry: Entry): Promise<void> {
    const { work, clock, random, logger, backoffMs, gapMs } = this.options;
    try {
      await work(key);
      entry.failures = 0;
    } catch (thrown) {
      entry.failures += 1;
      const limitMs = Math.min(backoffMs.max, backoffMs.initial * 2 ** Math.min(entry.failures - 1, 30));
      logger.warn({ key, failures: entry.failures, err: String(thrown) }, 'will be tried again');
      entry.againAtMs = Math.max(entry.againAtMs ?? 0, clock.nowMs() + limitMs * (0.5 + random() / 2));
    }
    if (this.#closed) return;
    const { againAtMs } = entry;
    entry.againAtMs = undefined;
    entry.atMs = Infinity;
    if (againAtMs !== undefined) this.#wait(key, entry, Math.max(againAtMs, entry.lastMs + gapMs));
    else entry.phase = 'waiting';
  }
}
