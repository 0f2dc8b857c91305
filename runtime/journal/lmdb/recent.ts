/**
 * Shards in work, as they are now: most that a transition looks at was just leased, and to decode it again would cost as much as
 * to write it. Only the writer has it, since only it knows of every change.
 */
import type { BodyRecord, StateRecord } from '../records.js';

const recentMax = 65_536;

export class Recent {
  readonly #states = new Map<string, StateRecord>();
  readonly #bodies = new Map<string, BodyRecord>();

  state(id: string): StateRecord | undefined {
    return this.#states.get(id);
  }

  body(id: string): BodyRecord | undefined {
    return this.#bodies.get(id);
  }

  /** As it lies on disk. What has ended is hardly ever looked at again. */
  read(id: string, body: BodyRecord, state: StateRecord): void {
    if (state.state !== 'pending' && state.state !== 'running') return;
    bounded(this.#states).set(id, state);
    this.putBody(id, body);
  }

  /** It was changed. */
  putState(id: string, state: StateRecord): void {
    if (state.state === 'running') bounded(this.#states).set(id, state);
    else this.forget(id);
  }

  putBody(id: string, body: BodyRecord): void {
    bounded(this.#bodies).set(id, body);
  }

  forget(id: string): void {
    this.#states.delete(id);
    this.#bodies.delete(id);
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
