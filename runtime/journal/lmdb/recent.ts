/**
 * Shards in work, as they are now, and the latest that were submitted, as they are written: most that a transition looks at was just
 * leased or submitted, and to read and decode it again would cost as much as to write it. Only the writer has it, since only it
 * knows of every change.
 */
import type { BodyRecord, StateRecord } from '../records.js';

const recentMax = 65_536;
/** Of submissions; a character takes one byte, or two where it is not Latin. */
const submittedCharsMax = 16 * 1024 * 1024;

export class Recent {
  readonly #states = new Map<string, StateRecord>();
  readonly #bodies = new Map<string, BodyRecord>();
  /** Encoded bodies of shards that were not changed since. */
  readonly #submitted = new Map<string, string>();
  #submittedChars = 0;

  state(id: string): StateRecord | undefined {
    return this.#states.get(id);
  }

  body(id: string): BodyRecord | undefined {
    return this.#bodies.get(id);
  }

  /** An encoded `StoredBody`: it says all of the shard. */
  submitted(id: string): string | undefined {
    return this.#submitted.get(id);
  }

  putSubmitted(id: string, value: string): void {
    this.#submittedChars += value.length;
    this.#submitted.set(id, value);
    for (const oldest of this.#submitted.keys()) {
      if (this.#submitted.size <= recentMax && this.#submittedChars <= submittedCharsMax) break;
      this.#dropSubmitted(oldest);
    }
  }

  /** As it lies on disk. What has ended is hardly ever looked at again. */
  read(id: string, body: BodyRecord, state: StateRecord): void {
    if (state.state !== 'pending' && state.state !== 'running') return;
    bounded(this.#states).set(id, state);
    this.putBody(id, body);
  }

  /** It was changed. */
  putState(id: string, state: StateRecord): void {
    this.#dropSubmitted(id);
    if (state.state === 'running') bounded(this.#states).set(id, state);
    else this.forget(id);
  }

  putBody(id: string, body: BodyRecord): void {
    bounded(this.#bodies).set(id, body);
  }

  forget(id: string): void {
    this.#states.delete(id);
    this.#bodies.delete(id);
    this.#dropSubmitted(id);
  }

  #dropSubmitted(id: string): void {
    const value = this.#submitted.get(id);
    if (value === undefined) return;
    this.#submittedChars -= value.length;
    this.#submitted.delete(id);
  }
}

/** With room for one more: the oldest goes. */
function bounded<V>(map: Map<string, V>): Map<string, V> {
  if (map.size < recentMax) return map;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    break;
  }
  return map;
}
