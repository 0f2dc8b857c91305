/**
 * The tables of a transition over PostgreSQL: what the group will look at was fetched before, what it writes is gathered, and
 * goes to the database in one call when the group is done. Nothing is seen by others before.
 *
 * Invariants
 *  1. A shard that is asked for was fetched, or is none of the journal's: `reads` of the transitions say what to fetch.
 *  2. Queue, timers and ends are those of the database, with what the group has changed since.
 */
import type { PodlineEvent } from '../../contracts/events.js';
import type { PipelineRecord } from '../journal.js';
import { placeOf, timersOf } from '../places.js';
import { isQueued, type BodyRecord, type OutcomeRecord, type StateRecord } from '../records.js';
import { endedKindOf } from '../retention.js';
import type { CountsRecord, EndedKind, Numbers, Tables } from '../tables.js';

export interface Fetched {
  id: string;
  body: BodyRecord;
  state: StateRecord;
}

interface Held {
  id: string;
  body: BodyRecord;
  state: StateRecord;
  written: boolean;
  added: boolean;
}

/** What is known of the journal without asking it: its one writer keeps it. */
export interface Known {
  numbers: Numbers;
  pipelines: Map<string, PipelineRecord>;
  counts: Map<string, CountsRecord>;
}

export class WorkingSet implements Tables {
  readonly numbers: Numbers;
  readonly #pipelines = new Map<string, PipelineRecord>();
  readonly #counts = new Map<string, CountsRecord>();
  readonly #shards = new Map<string, Held>();
  readonly #keys = new Map<string, string>();
  readonly #queued = new Map<string, string[]>();
  readonly #all = new Map<string, string[]>();
  readonly #removedPipelines = new Set<string>();
  readonly #due: string[] = [];
  readonly #ended: Record<EndedKind, string[]> = { done: [], failed: [] };
  /** Shards whose state the group has changed. */
  readonly #changed = new Set<string>();
  readonly #removed: Held[] = [];
  readonly #outcomes = new Map<number, OutcomeRecord | undefined>();
  #oldEvents: { untilMs: number; lastId: number | undefined } | undefined;
  #events: readonly PodlineEvent[] = [];
  #eventMs = 0;
  #droppedUntil: number | undefined;

  constructor(private readonly known: Known) {
    this.numbers = { ...known.numbers, ended: { ...known.numbers.ended } };
  }

  // --- what was fetched -----------------------------------------------------------------------

  hold(shard: Fetched): void {
    if (this.#shards.has(shard.id)) return;
    this.#shards.set(shard.id, { ...shard, written: false, added: false });
    this.#keys.set(keyText(shard.body.pipeline, shard.body.key), shard.id);
  }

  /** In their order. */
  holdQueue(pipeline: string, group: string, ids: readonly string[]): void {
    this.#queued.set(keyText(pipeline, group), [...ids]);
  }

  /** Of a pipeline, in the order of submission. */
  holdAll(pipeline: string, ids: readonly string[]): void {
    this.#all.set(pipeline, [...ids]);
  }

  holdDue(ids: readonly string[]): void {
    this.#due.push(...ids);
  }

  holdEnded(kind: EndedKind, ids: readonly string[]): void {
    this.#ended[kind].push(...ids);
  }

  holdOldEvents(untilMs: number, lastId: number | undefined): void {
    this.#oldEvents = { untilMs, lastId };
  }

  // --- what transitions read ------------------------------------------------------------------

  pipeline(name: string): PipelineRecord | undefined {
    if (this.#removedPipelines.has(name)) return undefined;
    return this.#pipelines.get(name) ?? this.known.pipelines.get(name);
  }

  counts(pipeline: string): CountsRecord | undefined {
    if (this.#removedPipelines.has(pipeline)) return this.#counts.get(pipeline);
    return this.#counts.get(pipeline) ?? this.known.counts.get(pipeline);
  }

  state(id: string): StateRecord | undefined {
    return this.#shards.get(id)?.state;
  }

  body(id: string): BodyRecord | undefined {
    return this.#shards.get(id)?.body;
  }

  idOf(pipeline: string, key: string): string | undefined {
    return this.#keys.get(keyText(pipeline, key));
  }

  queued(pipeline: string, group: string, max: number): string[] {
    const isReady = ({ state }: Held): boolean => isQueued(state) && state.pipeline === pipeline && state.group === group;
    return this.#merged(
      this.#queued.get(keyText(pipeline, group)) ?? [],
      isReady,
      (a, b) => a.priority - b.priority || a.seq - b.seq,
      max,
    );
  }

  ofPipeline(pipeline: string, max: number): string[] {
    const isOf = ({ state }: Held): boolean => state.pipeline === pipeline;
    return this.#merged(this.#all.get(pipeline) ?? [], isOf, (a, b) => a.seq - b.seq, max);
  }

  due(nowMs: number, max: number): string[] {
    const isDue = ({ state }: Held): boolean => (firstTimer(state) ?? Number.POSITIVE_INFINITY) <= nowMs;
    const order = (a: StateRecord, b: StateRecord): number => (firstTimer(a) ?? 0) - (firstTimer(b) ?? 0) || a.seq - b.seq;
    return this.#merged(this.#due, isDue, order, max);
  }

  ended(kind: EndedKind, untilMs: number, max: number): string[] {
    const isOver = ({ state }: Held): boolean => endedKindOf(state.state) === kind && state.sinceMs <= untilMs;
    return this.#merged(this.#ended[kind], isOver, (a, b) => a.sinceMs - b.sinceMs || a.seq - b.seq, max);
  }

  eventsUntil(untilMs: number, max: number): number | undefined {
    const lastId = this.#oldEvents?.lastId;
    if (lastId === undefined || (this.#oldEvents?.untilMs ?? 0) > untilMs) return undefined;
    // Their ids have no gaps.
    return Math.min(lastId, this.numbers.firstEventId + max - 1);
  }

  // --- what they write ------------------------------------------------------------------------

  putPipeline(record: PipelineRecord): void {
    this.#removedPipelines.delete(record.pipeline.name);
    this.#pipelines.set(record.pipeline.name, record);
  }

  putCounts(pipeline: string, counts: CountsRecord): void {
    this.#counts.set(pipeline, counts);
  }

  removePipeline(name: string): void {
    this.#pipelines.delete(name);
    this.#counts.delete(name);
    this.#removedPipelines.add(name);
  }

  add(id: string, body: BodyRecord, state: StateRecord): void {
    this.#shards.set(id, { id, body, state, written: true, added: true });
    this.#keys.set(keyText(body.pipeline, body.key), id);
    this.#changed.add(id);
  }

  putState(id: string, _before: StateRecord, after: StateRecord): void {
    const held = this.#shards.get(id);
    if (held === undefined) throw new Error(`shard ${id} was not fetched`);
    held.state = after;
    held.written = true;
    this.#changed.add(id);
  }

  putOutcome(id: string, outcome: OutcomeRecord | undefined): void {
    const held = this.#shards.get(id);
    if (held !== undefined) this.#outcomes.set(held.state.seq, outcome);
  }

  remove(id: string, state: StateRecord, body: BodyRecord): void {
    const held = this.#shards.get(id);
    if (held === undefined) throw new Error(`shard ${id} was not fetched`);
    this.#shards.delete(id);
    this.#changed.delete(id);
    this.#keys.delete(keyText(body.pipeline, body.key));
    this.#outcomes.delete(state.seq);
    this.#removed.push(held);
  }

  putEvents(events: readonly PodlineEvent[], ms: number): void {
    this.#events = events;
    this.#eventMs = ms;
  }

  dropEvents(_fromId: number, untilId: number): void {
    this.#droppedUntil = untilId;
  }

  // --- what becomes of it ---------------------------------------------------------------------

  /** The arguments of `write_group` behind the writer's term; JSON, or null for what is not touched. */
  written(): { json: (string | null)[]; eventMs: number; droppedEvents: number | null; lastEvents: string | null } {
    const shards = [...this.#shards.values()].filter(({ written }) => written);
    const outcomes = [...this.#outcomes];
    return {
      json: [
        JSON.stringify(this.numbers),
        // A name without a record: the pipeline goes, with its counters.
        jsonOf([
          ...Array.from(this.#removedPipelines, (name) => ({ name })),
          ...Array.from(this.#pipelines, ([name, record]) => ({ name, record })),
        ]),
        jsonOf([...this.#counts].map(([pipeline, counts]) => ({ pipeline, counts }))),
        jsonOf(
          shards
            .filter(({ added }) => added)
            .map(({ body, state }) => ({ seq: state.seq, pipeline: body.pipeline, key: body.key, body })),
        ),
        jsonOf(shards.map(rowOf)),
        jsonOf(outcomes.filter(([, outcome]) => outcome !== undefined).map(([seq, outcome]) => ({ seq, outcome }))),
        jsonOf(outcomes.filter(([, outcome]) => outcome === undefined).map(([seq]) => seq)),
        // What came and went within the group was never in the database.
        jsonOf(this.#removed.filter(({ added }) => !added).map(({ state }) => state.seq)),
        jsonOf(this.#events),
      ],
      eventMs: this.#eventMs,
      droppedEvents: this.#droppedUntil ?? null,
      lastEvents: this.#events.length === 0 ? null : String(this.numbers.lastEventId),
    };
  }

  /** The group is durable: what it changed is known from here on. */
  learn(): void {
    this.known.numbers = this.numbers;
    for (const name of this.#removedPipelines) {
      this.known.pipelines.delete(name);
      this.known.counts.delete(name);
    }
    for (const [name, record] of this.#pipelines) this.known.pipelines.set(name, record);
    for (const [pipeline, counts] of this.#counts) this.known.counts.set(pipeline, counts);
  }

  /** Of those fetched in order, and those that the group has changed: what holds now, in order. */
  #merged(
    fetched: readonly string[],
    holds: (held: Held) => boolean,
    order: (a: StateRecord, b: StateRecord) => number,
    max: number,
  ): string[] {
    if (max <= 0) return [];
    const found: Held[] = [];
    for (const id of this.#changed) {
      const held = this.#shards.get(id);
      if (held !== undefined && holds(held)) found.push(held);
    }
    let unchanged = 0;
    for (const id of fetched) {
      if (unchanged >= max) break;
      const held = this.#shards.get(id);
      if (held === undefined || this.#changed.has(id) || !holds(held)) continue;
      found.push(held);
      unchanged += 1;
    }
    return found
      .sort((a, b) => order(a.state, b.state))
      .slice(0, max)
      .map(({ id }) => id);
  }
}

const keyText = (pipeline: string, key: string): string => `${pipeline}\0${key}`;
const firstTimer = (state: StateRecord): number | undefined => {
  const timers = timersOf(state);
  return timers.length === 0 ? undefined : Math.min(...timers);
};
const jsonOf = (rows: readonly unknown[]): string | null => (rows.length === 0 ? null : JSON.stringify(rows));

function rowOf({ state }: Held): Record<string, unknown> {
  const ended = endedKindOf(state.state);
  return {
    seq: state.seq,
    pipeline: state.pipeline,
    in_group: state.group,
    place: placeOf(state),
    due_ms: firstTimer(state),
    ended,
    ended_ms: ended === undefined ? undefined : state.sinceMs,
    state,
  };
}
