/**
 * What a transition writes with: shards by id with their counters kept in step, and events with ids. One for a whole group of
 * transitions, which see each other's writes.
 *
 * Invariants
 *  1. `submit`, `put` and `remove` are the only ways a shard changes: counters follow from the state before and after.
 *  2. A transition checks first and writes then; `writes` tells the store whether it has begun to.
 *  3. It depends on nothing but its tables and what it is handed: the same history makes the same journal in every store.
 */
import { PodlineError } from '../contracts/errors.js';
import type { PodlineEvent } from '../contracts/events.js';
import type { Moment, NewEvent, PipelineRecord } from './journal.js';
import { idOf } from './places.js';
import { isQueued, newState, type BodyRecord, type OutcomeRecord, type StateRecord } from './records.js';
import { endedKindOf, type Retention } from './retention.js';
import { noCounts, type CountsRecord, type Tables } from './tables.js';

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

  constructor(
    readonly tables: Tables,
    readonly retention: Retention,
  ) {}

  /** The clock of the journal never goes back. */
  at(nowMs: number): this {
    const { numbers } = this.tables;
    numbers.clockMs = Math.max(numbers.clockMs, nowMs);
    return this;
  }

  find(id: string): StateRecord | undefined {
    return this.tables.state(id);
  }

  /** Throws PDL_SHARD_UNKNOWN. */
  state(id: string): StateRecord {
    const state = this.tables.state(id);
    if (state === undefined) throw new PodlineError('PDL_SHARD_UNKNOWN', `there is no shard ${id}`);
    return state;
  }

  body(id: string): BodyRecord {
    const body = this.tables.body(id);
    if (body === undefined) throw new PodlineError('PDL_JOURNAL', `shard ${id} has a state but no body`);
    return body;
  }

  /** Throws PDL_PIPELINE_UNKNOWN, also where it is being removed. */
  standingPipeline(name: string): PipelineRecord {
    const record = this.pipeline(name);
    if (record.going === true) throw new PodlineError('PDL_PIPELINE_UNKNOWN', `pipeline ${name} is being deleted`);
    return record;
  }

  /** Throws PDL_PIPELINE_UNKNOWN. */
  pipeline(name: string): PipelineRecord {
    const record = this.tables.pipeline(name);
    if (record === undefined) throw new PodlineError('PDL_PIPELINE_UNKNOWN', `there is no pipeline ${name}`);
    return record;
  }

  /** Changed in place; written with the group. */
  counts(pipeline: string): CountsRecord {
    let counts = this.#counts.get(pipeline);
    if (counts === undefined) {
      const before = this.tables.counts(pipeline) ?? noCounts();
      counts = { ...before, queued: { ...before.queued } };
      this.#counts.set(pipeline, counts);
    }
    return counts;
  }

  putPipeline(record: PipelineRecord): void {
    this.writes += 1;
    this.tables.putPipeline(record);
  }

  /** The last step of its removal. */
  removePipeline(name: string): void {
    this.writes += 1;
    this.#counts.delete(name);
    this.tables.removePipeline(name);
  }

  /** Takes a new shard in, under an id that no other shard of this journal has or had. */
  submit(body: BodyRecord, initial: Omit<Parameters<typeof newState>[0], 'pipeline' | 'seq'>): string {
    this.writes += 1;
    const { numbers } = this.tables;
    numbers.lastSeq += 1;
    const id = idOf(numbers, numbers.lastSeq);
    const { priority, group, sinceMs, limitMs } = initial;
    const state = newState({ pipeline: body.pipeline, seq: numbers.lastSeq, priority, group, sinceMs, limitMs });
    this.tables.add(id, body, state);
    this.counts(body.pipeline).submitted += 1;
    this.#count(state, 1);
    return id;
  }

  /** Stores a shard's state; what it is found under follows. */
  put(id: string, before: StateRecord, after: StateRecord): void {
    this.writes += 1;
    this.tables.putState(id, before, after);
    this.#count(before, -1);
    this.#count(after, 1);
  }

  /** Whether the mark went up. */
  markNoticed(untilEventId: number): boolean {
    const { numbers } = this.tables;
    if (untilEventId <= (numbers.noticedUntil ?? -1)) return false;
    this.writes += 1;
    numbers.noticedUntil = untilEventId;
    return true;
  }

  putOutcome(id: string, outcome: OutcomeRecord | undefined): void {
    this.writes += 1;
    this.tables.putOutcome(id, outcome);
  }

  /** Forgets a shard that has ended, and its key. */
  remove(id: string): void {
    this.writes += 1;
    const [state, body] = [this.state(id), this.body(id)];
    this.tables.remove(id, state, body);
    this.#count(state, -1);
  }

  emit(event: NewEvent, now: Moment): void {
    this.writes += 1;
    const { numbers } = this.tables;
    numbers.lastEventId += 1;
    const { type, pipeline, shardId, line, data } = event;
    const kept: PodlineEvent = { id: numbers.lastEventId, at: now.at, type, pipeline, data };
    if (shardId !== undefined) kept.shardId = shardId;
    if (line !== undefined) kept.line = line;
    this.#events.push(kept);
  }

  /** Forgets the events up to this one. */
  dropEvents(lastId: number): void {
    const { numbers } = this.tables;
    if (lastId < numbers.firstEventId) return;
    this.writes += 1;
    this.tables.dropEvents(numbers.firstEventId, lastId + 1);
    numbers.firstEventId = lastId + 1;
  }

  /** Writes what gathered over the group. Answers its events. */
  finish(): readonly PodlineEvent[] {
    if (this.writes === 0) return this.#events;
    const { numbers } = this.tables;
    for (const [pipeline, counts] of this.#counts) this.tables.putCounts(pipeline, counts);
    if (this.#events.length > 0) this.tables.putEvents(this.#events, numbers.clockMs);
    const keptFrom = numbers.lastEventId - this.retention.eventsMax + 1;
    if (keptFrom - numbers.firstEventId >= trimStep) this.dropEvents(keptFrom - 1);
    numbers.commits += 1;
    return this.#events;
  }

  #count(state: StateRecord, by: 1 | -1): void {
    const counts = this.counts(state.pipeline);
    counts[state.state] += by;
    if (isQueued(state)) count(counts.queued, state.group, by);
    const kind = endedKindOf(state.state);
    if (kind !== undefined) this.tables.numbers.ended[kind] += by;
  }
}
