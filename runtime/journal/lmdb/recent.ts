/**
 * Pipelines, and shards in work, as the writer last wrote them: most that a transition looks at it has just seen, and decoding them again would
 * cost as much as writing them. Only the writer has it, since only it knows of every change; an aborted group empties it.
 */
import type { BodyRecord, StateRecord } from '../records.js';
import type { StoredPipeline } from './layout.js';

export const recentMax = 65_536;

export class Recent {
  readonly pipelines = new Map<string, StoredPipeline>();
  readonly #states = new Map<number, StateRecord>();
  readonly #bodies = new Map<number, BodyRecord>();

  state(seq: number): StateRecord | undefined {
    return this.#states.get(seq);
  }

  body(seq: number): BodyRecord | undefined {
    return this.#bodies.get(seq);
  }

  /** Those that wait are read once, and those that have ended hardly ever: they are not kept. */
  putState(state: StateRecord): void {
    if (state.state === 'running') bounded(this.#states).set(state.seq, state);
    else this.forget(state.seq);
  }

  putBody(seq: number, body: BodyRecord): void {
    bounded(this.#bodies).set(seq, body);
  }

  forget(seq: number): void {
    this.#states.delete(seq);
    this.#bodies.delete(seq);
  }

  clear(): void {
    this.pipelines.clear();
    this.#states.clear();
    this.#bodies.clear();
  }
}

/** With room for one more: the oldest goes. */
function bounded<V>(map: Map<number, V>): Map<number, V> {
  if (map.size < recentMax) return map;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    break;
  }
  return map;
}
