/**
 * The shards that wait for a line, and which of them a line gets: a model of what the journal does with its index.
 *
 * A line gets first the shards whose streams are in its memory; then the others, by priority, then in the order in which they were
 * submitted. A shard whose streams are on another line waits for that one, for a short time, while it lives. A shard that backs
 * off is not given out before its time.
 *
 * Invariants
 *  1. A shard is in the queue at most once, and given out at most once for each `add`.
 *  2. Time goes on only through the `nowMs` that is handed in.
 */
import { Heap } from './heap.js';

/** How long a shard waits for the line that has its streams, before any other may take it. */
export const affinityWaitMs = 5_000;

export interface PendingShard {
  id: string;
  /** 0 goes first. */
  priority: number;
  /** Of submission; unique. */
  order: number;
  /** It backs off until then. */
  notBeforeMs: number;
  /** The line that has its streams, and until when others leave it to that one. */
  affinity?: { line: string; untilMs: number } | undefined;
}

interface Entry {
  shard: PendingShard;
  /** Taken or removed: to be skipped where it still lies in a heap. */
  gone: boolean;
  /** In `#ready`, or in `#later` and at what time it leaves it. */
  dueMs: number;
}

const inOrder = (a: Entry, b: Entry): boolean =>
  a.shard.priority !== b.shard.priority ? a.shard.priority < b.shard.priority : a.shard.order < b.shard.order;

export class PendingQueue {
  readonly #entries = new Map<string, Entry>();
  /** Free for any line. */
  readonly #ready = new Heap<Entry>(inOrder);
  /** Not before `dueMs` for any line. */
  readonly #later = new Heap<Entry>((a, b) => a.dueMs < b.dueMs);
  /** By line: those that it may have before others. */
  readonly #byLine = new Map<string, Set<Entry>>();

  get size(): number {
    return this.#entries.size;
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** A shard that is there already is replaced. */
  add(shard: PendingShard): void {
    this.remove(shard.id);
    const entry: Entry = { shard, gone: false, dueMs: Math.max(shard.notBeforeMs, shard.affinity?.untilMs ?? 0) };
    this.#entries.set(shard.id, entry);
    this.#later.push(entry);
    if (shard.affinity === undefined) return;
    const own = this.#byLine.get(shard.affinity.line);
    if (own === undefined) this.#byLine.set(shard.affinity.line, new Set([entry]));
    else own.add(entry);
  }

  /** Whether it was there. */
  remove(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#drop(entry);
    return true;
  }

  /** A line is gone, and its memory with it: what waited for it is free for others. */
  forgetLine(line: string): void {
    for (const entry of this.#byLine.get(line) ?? []) this.add({ ...entry.shard, affinity: undefined });
    this.#byLine.delete(line);
  }

  /** Takes up to `max` shards for a line out of the queue. */
  take(line: string, max: number, nowMs: number): PendingShard[] {
    const taken: PendingShard[] = [];
    const own = [...(this.#byLine.get(line) ?? [])]
      .filter((entry) => entry.shard.notBeforeMs <= nowMs)
      .sort((a, b) => (inOrder(a, b) ? -1 : 1));
    for (const entry of own.slice(0, max)) taken.push(this.#drop(entry));
    this.#advance(nowMs);
    while (taken.length < max) {
      const entry = this.#ready.pop();
      if (entry === undefined) break;
      if (!entry.gone) taken.push(this.#drop(entry));
    }
    return taken;
  }

  /** Whether `take` would find something for this line. */
  hasFor(line: string, nowMs: number): boolean {
    for (const entry of this.#byLine.get(line) ?? []) if (entry.shard.notBeforeMs <= nowMs) return true;
    this.#advance(nowMs);
    while (this.#ready.peek()?.gone === true) this.#ready.pop();
    return this.#ready.size > 0;
  }

  /** When the next shard that is not to be had now will be, for any line or for its own; undefined when there is none. */
  nextDueMs(nowMs: number): number | undefined {
    this.#advance(nowMs);
    let dueMs = this.#later.peek()?.dueMs;
    for (const own of this.#byLine.values()) {
      for (const { shard } of own) if (shard.notBeforeMs > nowMs) dueMs = Math.min(dueMs ?? Infinity, shard.notBeforeMs);
    }
    return dueMs;
  }

  #advance(nowMs: number): void {
    for (
      let entry = this.#later.peek();
      entry !== undefined && (entry.gone || entry.dueMs <= nowMs);
      entry = this.#later.peek()
    ) {
      this.#later.pop();
      if (!entry.gone) this.#ready.push(entry);
    }
  }

  #drop(entry: Entry): PendingShard {
    entry.gone = true;
    this.#entries.delete(entry.shard.id);
    const line = entry.shard.affinity?.line;
    if (line !== undefined) {
      const own = this.#byLine.get(line);
      own?.delete(entry);
      if (own?.size === 0) this.#byLine.delete(line);
    }
    return entry.shard;
  }
}
