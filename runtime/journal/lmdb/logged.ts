/**
 * The journal as its writer knows it: what it knows by heart, the layers that are logged and not settled yet, and the disk.
 * Everything here is durable.
 *
 * Invariants
 *  1. A thing is looked for from the newest layer down; the first that knows it is right. What the disk says of a thing that a layer
 *     knows is passed over, whether or not it is settled meanwhile.
 *  2. There is at most one layer that is being settled, and it is of one file of the log.
 */
import type { PipelineRecord } from '../journal.js';
import { delayedPlace, idOf, placeOf, seqOf } from '../places.js';
import { isQueued, type BodyRecord, type OutcomeRecord, type StateRecord } from '../records.js';
import type { CountsRecord, EndedKind, Numbers } from '../tables.js';
import { Disk } from './disk.js';
import type { Environment } from './environment.js';
import { Front, type Window } from './front.js';
import { keyOf, Layer } from './layer.js';
import { bodyOf, decodeValue, firstState, recordOf, type StoredBody } from './layout.js';
import { Recent } from './recent.js';
import { decodeEvents, type EventsAt } from './stored-events.js';

interface Waiting {
  seq: number;
  pipeline: string;
  group: string;
  place: number;
}

/** Shards that the front of a queue is given at once. */
const windowMax = 4_096;

export class Logged {
  numbers: Numbers;
  readonly pipelines = new Map<string, PipelineRecord>();
  readonly counts = new Map<string, CountsRecord>();
  /** Groups that shards of a pipeline ever had. */
  readonly groups = new Map<string, Set<string>>();
  disk: Disk;
  readonly #recent = new Recent();
  readonly #fronts = new Map<string, readonly Front[]>();
  #fresh = new Layer();
  #settling: Layer | undefined;

  /** Nothing of the journal is logged that is not settled. */
  constructor(private readonly environment: Environment) {
    environment.refresh();
    this.numbers = environment.numbers();
    this.disk = new Disk(environment.stores, this.numbers);
    for (const { key, value } of environment.stores.pipelines.getRange({})) {
      this.pipelines.set(key, recordOf(value));
      this.groups.set(key, new Set(value.groups));
    }
    for (const { key, value } of environment.stores.counts.getRange({})) this.counts.set(key, value);
  }

  // --- things ---------------------------------------------------------------------------------

  state(id: string): StateRecord | undefined {
    for (const layer of this.#layers()) {
      const state = layer.states.get(id);
      if (state !== undefined) return state ?? undefined;
    }
    const known = this.#recent.state(id);
    if (known !== undefined) return known;
    const shard = this.#readSubmitted(id) ?? this.disk.shard(id);
    if (shard !== undefined) this.#recent.read(id, shard.body, shard.state);
    return shard?.state;
  }

  body(id: string): BodyRecord | undefined {
    const known = this.#recent.body(id);
    if (known !== undefined) return known;
    const body = this.#readSubmitted(id)?.body ?? this.disk.body(id);
    if (body !== undefined) this.#recent.putBody(id, body);
    return body;
  }

  outcome(id: string): OutcomeRecord | undefined {
    for (const layer of this.#layers()) {
      const value = layer.outcomes.get(id);
      if (value !== undefined) return value.isEmpty ? undefined : decodeValue(value.text);
    }
    return this.disk.outcome(id);
  }

  idOf(pipeline: string, key: string): string | undefined {
    for (const layer of this.#layers()) {
      const id = layer.idOf(pipeline, key);
      if (id !== undefined) return id ?? undefined;
    }
    return this.disk.idOf(pipeline, key);
  }

  // --- in order -------------------------------------------------------------------------------

  /** Where the shards of a group wait, by place. */
  fronts(pipeline: string, group: string): readonly Front[] {
    const name = keyOf(pipeline, group);
    let fronts = this.#fronts.get(name);
    if (fronts === undefined) {
      fronts = Array.from({ length: delayedPlace }, () => new Front());
      this.#fronts.set(name, fronts);
    }
    return fronts;
  }

  /** A group was not logged: what it put into the fronts may not wait. */
  forgetFronts(): void {
    this.#fronts.clear();
  }

  /** What waits in a place behind a number; `own` is the layer of the group that asks. */
  window(pipeline: string, group: string, place: number, after: number, own: Layer): Window {
    const found = this.disk.inPlace(pipeline, group, place, after, windowMax);
    const upTo = found.length < windowMax ? Number.POSITIVE_INFINITY : (found.at(-1) ?? after);
    const seqs = found.filter((seq) => {
      const id = idOf(this.numbers, seq);
      return ![own, ...this.#layers()].some((layer) => layer.knows(id));
    });
    for (const waiting of this.#waiting(own)) {
      const isHere = waiting.pipeline === pipeline && waiting.group === group && waiting.place === place;
      if (isHere && waiting.seq > after && waiting.seq <= upTo) seqs.push(waiting.seq);
    }
    seqs.sort((a, b) => a - b);
    if (seqs.length <= windowMax) return { seqs, upTo };
    return { seqs: seqs.slice(0, windowMax), upTo: seqs[windowMax - 1] ?? upTo };
  }

  /** Any shards of a pipeline. */
  ofPipeline(pipeline: string, max: number, own: Layer): string[] {
    const layers = [own, ...this.#layers()];
    const ids = new Set<string>();
    for (const [depth, layer] of layers.entries()) {
      const isOver = (id: string): boolean => layers.slice(0, depth).some((newer) => newer.states.has(id));
      for (const [id, state] of layer.states) if (state?.pipeline === pipeline && !isOver(id)) ids.add(id);
      for (const [id, added] of layer.added) if (added.pipeline === pipeline && !isOver(id)) ids.add(id);
    }
    for (const id of this.disk.ofPipeline(pipeline)) {
      if (ids.size >= max) break;
      if (!layers.some((layer) => layer.knows(id))) ids.add(id);
    }
    return [...ids].slice(0, max);
  }

  /** [ms, id] of shards to which something happens until `untilMs`, the earliest first. */
  due(untilMs: number, max: number, own?: Layer): [ms: number, id: string][] {
    return this.#earliest(this.disk.timers(untilMs), (layer) => layer.timed, false, untilMs, max, own);
  }

  /** [ms, id] of shards that have ended until `untilMs`, the earliest first. */
  ended(kind: EndedKind, untilMs: number, max: number, own?: Layer): [ms: number, id: string][] {
    return this.#earliest(this.disk.ended(kind, untilMs), (layer) => layer.ended[kind], true, untilMs, max, own);
  }

  /** Events from this id on, as they are kept: some at a time. */
  *events(from: number): Generator<EventsAt, void, undefined> {
    const logged = [this.#settling?.events ?? [], this.#fresh.events].flat();
    const loggedFrom = logged[0]?.firstId ?? Number.POSITIVE_INFINITY;
    if (from < loggedFrom) {
      for (const { ms, events } of this.disk.events(from)) {
        // What is settled meanwhile is in a layer still.
        if ((events[0]?.id ?? 0) >= loggedFrom) break;
        const some = events.filter(({ id }) => id >= from);
        if (some.length > 0) yield { ms, events: some };
      }
    }
    for (const { lastId, value } of logged) {
      if (lastId < from) continue;
      const { ms, events } = decodeEvents(value.text);
      yield { ms, events: events.filter(({ id }) => id >= from) };
    }
  }

  // --- what becomes of layers -----------------------------------------------------------------

  /** A group was logged. */
  take(own: Layer, numbers: Numbers): void {
    this.numbers = numbers;
    this.#fresh.take(own);
    for (const [id, state] of own.states) {
      if (state === null) this.#recent.forget(id);
      else this.#recent.putState(id, state);
    }
    for (const name of own.gone) for (const known of [this.pipelines, this.counts, this.groups]) known.delete(name);
    for (const [name, record] of own.pipelines) this.pipelines.set(name, record);
    for (const [pipeline, counts] of own.counts) this.counts.set(pipeline, counts);
    for (const { pipeline, group } of own.added.values()) {
      const groups = this.groups.get(pipeline);
      if (groups === undefined) this.groups.set(pipeline, new Set([group]));
      else groups.add(group);
    }
  }

  /** The file of the log has changed: what comes from here on is of another layer. */
  beginToSettle(): void {
    if (this.#settling !== undefined) throw new Error('a layer is being settled already');
    this.#settling = this.#fresh;
    this.#fresh = new Layer();
  }

  /** The disk has it, and reads see it. */
  settled(): void {
    const { added, states } = this.#settling ?? new Layer();
    for (const changed of [states, this.#fresh.states]) for (const id of changed.keys()) added.delete(id);
    this.#recent.keepSubmitted(added);
    this.#settling = undefined;
    // A pipeline that was removed and applied again has another number.
    this.disk = new Disk(this.environment.stores, this.numbers);
  }

  /** As it was submitted. */
  #readSubmitted(id: string): { body: BodyRecord; state: StateRecord } | undefined {
    const value = (this.#fresh.added.get(id) ?? this.#settling?.added.get(id))?.value.text ?? this.#recent.submitted(id);
    if (value === undefined) return undefined;
    const stored = decodeValue<StoredBody>(value);
    return { body: bodyOf(stored), state: firstState(seqOf(this.numbers, id) ?? 0, stored) };
  }

  /** The newest first. */
  #layers(): readonly Layer[] {
    return this.#settling === undefined ? [this.#fresh] : [this.#fresh, this.#settling];
  }

  /** Shards that may be leased, as far as layers know of them. */
  *#waiting(own: Layer): Generator<Waiting, void, undefined> {
    const above: Layer[] = [];
    const isOver = (id: string): boolean => above.some((layer) => layer.states.has(id));
    for (const layer of [own, ...this.#layers()]) {
      for (const [id, state] of layer.states) {
        if (state === null || !isQueued(state) || isOver(id)) continue;
        const { seq, pipeline, group } = state;
        yield { seq, pipeline, group, place: placeOf(state) };
      }
      for (const [id, added] of layer.added) {
        if (layer.states.has(id) || isOver(id)) continue;
        const { seq, pipeline, group, marks } = added;
        yield { seq, pipeline, group, place: marks[0] };
      }
      above.push(layer);
    }
  }

  #earliest(
    onDisk: Iterable<[ms: number, id: string]>,
    timesOf: (layer: Layer) => ReadonlyMap<string, number>,
    /** Time goes on from one to the next of a layer. */
    isOrdered: boolean,
    untilMs: number,
    max: number,
    own: Layer | undefined,
  ): [ms: number, id: string][] {
    if (max <= 0) return [];
    const layers = own === undefined ? this.#layers() : [own, ...this.#layers()];
    const found = new Map<string, number>();
    for (const [ms, id] of onDisk) {
      if (found.has(id) || layers.some((layer) => layer.knows(id))) continue;
      found.set(id, ms);
      if (found.size >= max) break;
    }
    for (const [depth, layer] of layers.entries()) {
      const newer = layers.slice(0, depth);
      let taken = 0;
      for (const [id, ms] of timesOf(layer)) {
        if (isOrdered && (ms > untilMs || taken >= max)) break;
        if (ms > untilMs || newer.some((above) => above.knows(id))) continue;
        found.set(id, ms);
        taken += 1;
      }
    }
    return Array.from(found, ([id, ms]): [number, string] => [ms, id])
      .sort(([aMs, a], [bMs, b]) => aMs - bMs || a.length - b.length || (a < b ? -1 : 1))
      .slice(0, max);
  }
}
