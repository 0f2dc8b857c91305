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
import type { LoggedEvents, LoggedShard } from './log-record.js';
import type { Value } from './value.js';

/** By id of the shard. */
export class Layer {
  /** As they were submitted. */
  readonly added = new Map<string, LoggedShard<Value>>();
  /** Of those that were changed since they were submitted; null: it is there no more. */
  readonly states = new Map<string, StateRecord | null>();
  /** An encoded `OutcomeRecord`; empty: it has none any more. */
  readonly outcomes = new Map<string, Value>();
  /** Pipelines that were removed, before what is in `pipelines` was applied. */
  readonly gone = new Set<string>();
  readonly pipelines = new Map<string, PipelineRecord>();
  readonly counts = new Map<string, CountsRecord>();
  readonly events: LoggedEvents<Value>[] = [];
  /** Events before this one are kept no longer. */
  eventsFrom = 0;
  /** When the first thing happens to a shard, and since when it has ended. */
  readonly timed = new Map<string, number>();
  /** By pipeline and key; null: the key is free again. */
  readonly #ids = new Map<string, Map<string, string | null>>();
  readonly ended: Readonly<Record<EndedKind, Map<string, number>>> = { done: new Map(), failed: new Map() };

  /** Looking further down would find what does not hold any more. */
  knows(id: string): boolean {
    return this.states.has(id) || this.added.has(id);
  }

  /** Null: it is known that there is none. */
  idOf(pipeline: string, key: string): string | null | undefined {
    return this.#ids.get(pipeline)?.get(key);
  }

  add(id: string, added: LoggedShard<Value>): void {
    const [, , , limitMs] = added.marks;
    this.added.set(id, added);
    this.#idsOf(added.pipeline).set(added.key, id);
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

  remove(id: string, { pipeline, key }: { pipeline: string; key: string }): void {
    this.#idsOf(pipeline).set(key, null);
    this.#forget(id);
  }

  #forget(id: string): void {
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
    for (const name of ['added', 'timed', 'pipelines', 'counts'] as const)
      putAll(this[name] as Map<string, unknown>, later[name]);
    for (const [pipeline, ids] of later.#ids) putAll(this.#idsOf(pipeline), ids);
    for (const [id, state] of later.states) {
      if (state === null) this.#forget(id);
      else this.putState(id, state);
    }
    for (const [id, outcome] of later.outcomes) this.outcomes.set(id, outcome);
    this.events.push(...later.events);
    this.eventsFrom = Math.max(this.eventsFrom, later.eventsFrom);
  }

  #idsOf(pipeline: string): Map<string, string | null> {
    let ids = this.#ids.get(pipeline);
    if (ids === undefined) this.#ids.set(pipeline, (ids = new Map<string, string | null>()));
    return ids;
  }

  #forgetTimes(id: string): void {
    if (this.timed.size > 0) this.timed.delete(id);
    if (this.ended.done.size > 0) this.ended.done.delete(id);
    if (this.ended.failed.size > 0) this.ended.failed.delete(id);
  }
}

function putAll<V>(into: Map<string, V>, from: ReadonlyMap<string, V>): void {
  for (const [key, value] of from) into.set(key, value);
}

export const keyOf = (pipeline: string, key: string): string => `${pipeline}\0${key}`;
