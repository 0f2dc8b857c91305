/**
 * What some groups of transitions have changed: a layer over the disk, of which only the last word on each thing counts.
 * The group that runs has one; what is logged and not yet settled has one or two.
 *
 * What is large stays as it is written, because layers are kept for as long as they are and most of it is never read here.
 */
import type { PipelineRecord } from '../journal.js';
import { timersOf } from '../places.js';
import type { StateRecord } from '../records.js';
import { endedKindOf } from '../retention.js';
import type { CountsRecord, EndedKind } from '../tables.js';

/** A shard as it was submitted. */
export interface Added {
  seq: number;
  pipeline: string;
  group: string;
  /** Among those that wait. */
  place: number;
  /** An encoded `StoredBody`. */
  value: string;
}

/** Some events in a row. `value`: of `encodeEvents`. */
export interface LoggedEvents {
  firstId: number;
  lastId: number;
  value: string;
}

/** By id of the shard. */
export class Layer {
  readonly added = new Map<string, Added>();
  /** Of those that were changed since they were submitted; null: it is there no more. */
  readonly states = new Map<string, StateRecord | null>();
  /** An encoded `OutcomeRecord`; empty: it has none any more. */
  readonly outcomes = new Map<string, string>();
  /** `keyOf` → id; null: it is free again. */
  readonly keys = new Map<string, string | null>();
  /** Pipelines that were removed, before what is in `pipelines` was applied. */
  readonly gone = new Set<string>();
  readonly pipelines = new Map<string, PipelineRecord>();
  readonly counts = new Map<string, CountsRecord>();
  readonly events: LoggedEvents[] = [];
  /** Events before this one are kept no longer. */
  eventsFrom = 0;
  /** When the first thing happens to a shard, and since when it has ended. */
  readonly timed = new Map<string, number>();
  readonly ended: Readonly<Record<EndedKind, Map<string, number>>> = { done: new Map(), failed: new Map() };

  /** Looking further down would find what does not hold any more. */
  knows(id: string): boolean {
    return this.states.has(id) || this.added.has(id);
  }

  add(id: string, added: Added, { limitMs }: StateRecord): void {
    this.added.set(id, added);
    if (limitMs !== undefined) this.timed.set(id, limitMs);
  }

  putState(id: string, state: StateRecord): void {
    this.#forgetTimes(id);
    this.states.set(id, state);
    const timers = timersOf(state);
    if (timers.length > 0) this.timed.set(id, Math.min(...timers));
    const kind = endedKindOf(state.state);
    if (kind !== undefined) this.ended[kind].set(id, state.sinceMs);
  }

  /** Its key is told apart. */
  remove(id: string): void {
    this.#forgetTimes(id);
    this.states.set(id, null);
    this.added.delete(id);
    this.outcomes.delete(id);
  }

  /** No shard of it is left. */
  removePipeline(name: string): void {
    this.gone.add(name);
    this.pipelines.delete(name);
    this.counts.delete(name);
  }

  /** Takes in what a later group has changed. */
  take(later: Layer): void {
    for (const name of later.gone) this.removePipeline(name);
    for (const name of ['added', 'timed', 'keys', 'pipelines', 'counts'] as const) {
      const into = this[name] as Map<string, unknown>;
      for (const [key, value] of later[name]) into.set(key, value);
    }
    for (const [id, state] of later.states) {
      if (state === null) this.remove(id);
      else this.putState(id, state);
    }
    for (const [id, outcome] of later.outcomes) this.outcomes.set(id, outcome);
    this.events.push(...later.events);
    this.eventsFrom = Math.max(this.eventsFrom, later.eventsFrom);
  }

  #forgetTimes(id: string): void {
    if (this.timed.size > 0) this.timed.delete(id);
    if (this.ended.done.size > 0) this.ended.done.delete(id);
    if (this.ended.failed.size > 0) this.ended.failed.delete(id);
  }
}

export const keyOf = (pipeline: string, key: string): string => `${pipeline}\0${key}`;
