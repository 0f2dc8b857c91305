/**
 * What a transition writes with: shards by id with all their index keys and counters kept in step, and events with ids.
 *
 * Invariants
 *  1. `put` is the only way a shard changes: index and counters follow from the state before and after.
 *  2. A transition checks first and writes then; `writes` tells the store whether it has begun to.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { PodlineEvent } from '../../contracts/events.js';
import type { Counts } from '../../contracts/views.js';
import type { Moment, NewEvent, PipelineRecord } from '../journal.js';
import { compact, indexOf, isQueued, type BodyRecord, type StateRecord } from './records.js';
import type { Tables } from './store.js';

/** `queued`: by group, those that may be leased at once. */
export type CountsRecord = Counts & { submitted: number; queued: Record<string, number> };
export const noCounts = (): CountsRecord => ({
  pending: 0,
  running: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
  submitted: 0,
  queued: {},
});

/** Old events are forgotten this many at a time, so that not every event has to. */
const trimStep = 1_000;

/** A group with nothing in the queue is not kept: groups come and go with the manifest. */
function count(queued: Record<string, number>, group: string, by: 1 | -1): void {
  const left = (queued[group] ?? 0) + by;
  if (left === 0) Reflect.deleteProperty(queued, group);
  else queued[group] = left;
}

export class Transition {
  writes = 0;
  readonly #events: PodlineEvent[] = [];
  readonly #counts = new Map<string, CountsRecord>();
  #lastEventId: number;
  #nowMs: number;

  constructor(readonly tables: Tables) {
    this.#lastEventId = Number(tables.meta.get('lastEventId') ?? 0);
    this.#nowMs = Number(tables.meta.get('clockMs') ?? 0);
  }

  /** The clock of the journal never goes back. */
  at(nowMs: number): this {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    return this;
  }

  state(id: string): StateRecord {
    const state = this.tables.states.get(id);
    if (state === undefined) throw new PodlineError('PDL_SHARD_UNKNOWN', `there is no shard ${id}`);
    return state;
  }

  body(id: string): BodyRecord {
    const body = this.tables.bodies.get(id);
    if (body === undefined) throw new PodlineError('PDL_JOURNAL', `shard ${id} has a state but no body`);
    return body;
  }

  pipeline(name: string): PipelineRecord {
    const record = this.tables.pipelines.get(name);
    if (record === undefined) throw new PodlineError('PDL_PIPELINE_UNKNOWN', `there is no pipeline ${name}`);
    return record;
  }

  counts(pipeline: string): CountsRecord {
    let counts = this.#counts.get(pipeline);
    if (counts === undefined) {
      counts = this.tables.counts.get(pipeline) ?? noCounts();
      this.#counts.set(pipeline, counts);
    }
    return counts;
  }

  /** A number that no other shard of this journal has. */
  nextSeq(pipeline: string): { seq: number; id: string } {
    const seq = Number(this.tables.meta.get('lastSeq') ?? 0) + 1;
    this.#write();
    this.tables.meta.putSync('lastSeq', seq);
    this.counts(pipeline).submitted += 1;
    return { seq, id: `${String(this.tables.meta.get('idPrefix'))}-${seq.toString(36).padStart(7, '0')}` };
  }

  /** Stores a shard's state; what it is found under follows. */
  put(id: string, before: StateRecord | undefined, after: StateRecord): void {
    this.#write();
    const { states, index } = this.tables;
    states.putSync(id, compact(after));
    const old = new Map(before === undefined ? [] : indexOf(id, before).map((key) => [JSON.stringify(key), key]));
    for (const key of indexOf(id, after)) {
      if (!old.delete(JSON.stringify(key))) index.putSync(key, id);
    }
    for (const key of old.values()) index.removeSync(key);
    const counts = this.counts(after.pipeline);
    if (before !== undefined) counts[before.state] -= 1;
    counts[after.state] += 1;
    if (before !== undefined && isQueued(before)) count(counts.queued, before.group, -1);
    if (isQueued(after)) count(counts.queued, after.group, 1);
  }

  putUnchecked<K extends 'pipelines' | 'bodies' | 'outcomes' | 'index'>(
    table: K,
    key: Parameters<Tables[K]['putSync']>[0],
    value: Parameters<Tables[K]['putSync']>[1],
  ): void {
    this.#write();
    (this.tables[table].putSync as (key: unknown, value: unknown) => void)(key, value);
  }

  dropOutcome(id: string): void {
    this.#write();
    this.tables.outcomes.removeSync(id);
  }

  emit(event: NewEvent, now: Moment): void {
    this.#write();
    this.#lastEventId += 1;
    const kept: PodlineEvent = compact({ id: this.#lastEventId, at: now.at, ...event });
    this.tables.events.putSync(kept.id, kept);
    this.#events.push(kept);
  }

  /** Writes what gathered over the group. Answers its events. */
  finish(eventsKept: number): readonly PodlineEvent[] {
    if (this.writes === 0) return this.#events;
    const { meta, counts, events } = this.tables;
    meta.putSync('clockMs', this.#nowMs);
    for (const [pipeline, record] of this.#counts) counts.putSync(pipeline, record);
    if (this.#events.length === 0) return this.#events;
    meta.putSync('lastEventId', this.#lastEventId);
    const first = Number(meta.get('firstEventId') ?? 1);
    const keepFrom = this.#lastEventId - eventsKept + 1;
    if (keepFrom - first >= trimStep) {
      for (let id = first; id < keepFrom; id += 1) events.removeSync(id);
      meta.putSync('firstEventId', keepFrom);
    }
    return this.#events;
  }

  #write(): void {
    this.writes += 1;
  }
}
