/**
 * Shards in work, as they are now, and the latest that were submitted, as they are written: most that a transition looks at was just
 * leased or submitted, and to read and decode it again would cost as much as to write it. Only the writer has it, since only it
 * knows of every change.
 */
import type { BodyRecord, StateRecord } from '../records.js';
import type { LoggedShard } from './log-record.js';
import type { Value } from './value.js';

/** Of each: half of them are forgotten at once, which costs nothing, where the oldest of a map is found by passing over all that are gone. */
const recentMax = 131_072;
/** What the log says between two turns, so many times. */
const submittedMax = 4;

export class Recent {
  readonly #states = new Halves<StateRecord>(recentMax);
  readonly #bodies = new Halves<BodyRecord>(recentMax);
  /** Not changed since, the oldest first. */
  readonly #submitted: Map<string, LoggedShard<Value>>[] = [];

  state(id: string): StateRecord | undefined {
    return this.#states.get(id);
  }

  body(id: string): BodyRecord | undefined {
    return this.#bodies.get(id);
  }

  /** An encoded `StoredBody`: it says all of the shard. */
  submitted(id: string): string | undefined {
    for (const some of this.#submitted) {
      const shard = some.get(id);
      if (shard !== undefined) return shard.value.text;
    }
    return undefined;
  }

  /** None of them was changed since; they belong here from now on. */
  keepSubmitted(some: Map<string, LoggedShard<Value>>): void {
    if (some.size === 0) return;
    this.#submitted.push(some);
    if (this.#submitted.length > submittedMax) this.#submitted.shift();
  }

  /** As it lies on disk. What has ended is hardly ever looked at again. */
  read(id: string, body: BodyRecord, state: StateRecord): void {
    if (state.state !== 'pending' && state.state !== 'running') return;
    this.#states.set(id, state);
    this.putBody(id, body);
  }

  /** It was changed. */
  putState(id: string, state: StateRecord): void {
    if (state.state !== 'running') {
      this.forget(id);
      return;
    }
    this.#states.set(id, state);
    this.#dropSubmitted(id);
  }

  putBody(id: string, body: BodyRecord): void {
    this.#bodies.set(id, body);
  }

  forget(id: string): void {
    this.#states.delete(id);
    this.#bodies.delete(id);
    this.#dropSubmitted(id);
  }

  #dropSubmitted(id: string): void {
    for (const some of this.#submitted) if (some.delete(id)) return;
  }
}

/** A bounded map that forgets the older half of what was put into it. */
class Halves<V> {
  #older = new Map<string, V>();
  #newer = new Map<string, V>();

  constructor(private readonly max: number) {}

  get(id: string): V | undefined {
    return this.#newer.get(id) ?? this.#older.get(id);
  }

  set(id: string, value: V): void {
    this.#newer.set(id, value);
    if (this.#newer.size < this.max / 2) return;
    this.#older = this.#newer;
    this.#newer = new Map();
  }

  delete(id: string): void {
    this.#newer.delete(id);
    this.#older.delete(id);
  }
}
