/**
 * What of a journal is settled in LMDB, and what it is found under. Reads are of the snapshot of the turn; writes belong into a
 * transaction of the environment.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { PipelineRecord } from '../journal.js';
import { idOf, seqOf } from '../places.js';
import type { BodyRecord, OutcomeRecord, StateRecord } from '../records.js';
import type { CountsRecord, EndedKind, Numbers } from '../tables.js';
import {
  bodyOf,
  decodeValue,
  firstState,
  groupNumber,
  groupsMax,
  kindNumber,
  marksOf,
  placeKey,
  stateOf,
  uniqueKey,
  type StoredBody,
  type StoredPipeline,
  type Stores,
} from './layout.js';
import type { LoggedShard, LoggedState } from './log-record.js';
import { decodeEvents, encodeEvents, type EventsAt } from './stored-events.js';

export class Disk {
  readonly #names = new Map<string, Pick<StoredPipeline, 'number' | 'groups'>>();

  constructor(
    private readonly stores: Stores,
    readonly numbers: Pick<Numbers, 'idPrefix'>,
  ) {}

  state(id: string): StateRecord | undefined {
    const seq = seqOf(this.numbers, id);
    if (seq === undefined) return undefined;
    const stored = this.stores.states.get(seq);
    if (stored !== undefined) return stateOf(seq, decodeValue(stored));
    const body = this.stores.bodies.get(seq);
    return body === undefined ? undefined : firstState(seq, decodeValue(body));
  }

  body(id: string): BodyRecord | undefined {
    const seq = seqOf(this.numbers, id);
    const stored = seq === undefined ? undefined : this.stores.bodies.get(seq);
    return stored === undefined ? undefined : bodyOf(decodeValue(stored));
  }

  /** A shard that was never leased is all in its body: one look is enough for both. */
  shard(id: string): { body: BodyRecord; state: StateRecord } | undefined {
    const seq = seqOf(this.numbers, id);
    const text = seq === undefined ? undefined : this.stores.bodies.get(seq);
    if (seq === undefined || text === undefined) return undefined;
    const body = decodeValue<StoredBody>(text);
    const state = this.stores.states.get(seq);
    return { body: bodyOf(body), state: state === undefined ? firstState(seq, body) : stateOf(seq, decodeValue(state)) };
  }

  outcome(id: string): OutcomeRecord | undefined {
    const seq = seqOf(this.numbers, id);
    const text = seq === undefined ? undefined : this.stores.outcomes.get(seq);
    return text === undefined ? undefined : decodeValue(text);
  }

  idOf(pipeline: string, key: string): string | undefined {
    const number = this.pipelineNumber(pipeline);
    const seq = number === undefined ? undefined : this.stores.keys.get(uniqueKey(number, key));
    return seq === undefined ? undefined : idOf(this.numbers, seq);
  }

  /** Numbers of the shards in a place of a group, in order, those behind `after`. */
  inPlace(pipeline: string, group: string, place: number, after: number, max: number): number[] {
    // Another thread gives groups their numbers: what is remembered here may lack one.
    const stored = this.stores.pipelines.get(pipeline);
    const index = stored?.groups.indexOf(group) ?? -1;
    return stored === undefined || index < 0 ? [] : this.#seqsIn(groupNumber(stored.number, index), place, after, max);
  }

  /** The same of all groups of a pipeline and several places. */
  inPlaces(pipeline: string, places: readonly number[], after: number, max: number): number[] {
    return this.groupNumbers(pipeline)
      .flatMap((group) => places.flatMap((place) => this.#seqsIn(group, place, after, max)))
      .sort((a, b) => a - b)
      .slice(0, max);
  }

  /** All shards of a pipeline, in no order that means anything. */
  *ofPipeline(pipeline: string): Generator<string, void, undefined> {
    for (const group of this.groupNumbers(pipeline)) {
      const range = { start: placeKey(group, 0, 0), end: placeKey(group + 1, 0, 0) };
      for (const [, seq] of this.stores.places.getKeys(range)) yield idOf(this.numbers, seq);
    }
  }

  /** [ms, id] of what is to happen until `untilMs`, the earliest first. */
  *timers(untilMs: number): Generator<[ms: number, id: string], void, undefined> {
    for (const [ms, seq] of this.stores.timers.getKeys({ end: [untilMs, Number.POSITIVE_INFINITY] }))
      yield [ms, idOf(this.numbers, seq)];
  }

  /** [ms, id] of what has ended until `untilMs`, the earliest first. */
  *ended(kind: EndedKind, untilMs: number): Generator<[ms: number, id: string], void, undefined> {
    const number = kindNumber[kind];
    const range = { start: [number, 0, 0], end: [number, untilMs, Number.POSITIVE_INFINITY] } as const;
    for (const [, ms, seq] of this.stores.ended.getKeys(
      range as { start: [number, number, number]; end: [number, number, number] },
    ))
      yield [ms, idOf(this.numbers, seq)];
  }

  /** Values of events, from that in which the event `id` is, or the next one. */
  *events(id: number): Generator<EventsAt, void, undefined> {
    const [start = id] = this.stores.events.getKeys({ start: id, limit: 1, reverse: true });
    for (const { value } of this.stores.events.getRange({ start })) yield decodeEvents(value);
  }

  putPipeline(record: PipelineRecord): void {
    const { name } = record.pipeline;
    const { number, groups } = this.#named(name) ?? { number: this.#nextPipelineNumber(), groups: [] };
    this.stores.pipelines.putSync(name, { ...record, number, groups });
    this.#names.set(name, { number, groups });
  }

  /** No shard of it is left. Another one of that name has another number. */
  removePipeline(name: string): void {
    this.stores.pipelines.removeSync(name);
    this.stores.counts.removeSync(name);
    this.#names.delete(name);
  }

  putCounts(pipeline: string, counts: CountsRecord): void {
    this.stores.counts.putSync(pipeline, counts);
  }

  add({ seq, pipeline, group, key, marks, value }: LoggedShard): void {
    this.stores.bodies.putSync(seq, value, { append: true });
    this.stores.keys.putSync(uniqueKey(this.#known(pipeline), key), seq);
    const number = this.#groupOf(pipeline, group) ?? this.#newGroup(pipeline, group);
    const [place, , , ...timers] = marks;
    this.stores.places.putSync(placeKey(number, place, seq), null);
    for (const ms of timers) this.stores.timers.putSync([ms, seq], null);
  }

  change({ seq, pipeline, group, was, is, value }: LoggedState): void {
    const { states, places, timers, ended } = this.stores;
    states.putSync(seq, value);
    const [from, endedAs, endedMs, ...oldTimers] = was;
    const [to, endsAs, endsMs, ...newTimers] = is;
    if (from !== to) {
      const number = this.#knownGroup(pipeline, group);
      places.removeSync(placeKey(number, from, seq));
      places.putSync(placeKey(number, to, seq), null);
    }
    for (const ms of oldTimers) if (!newTimers.includes(ms)) timers.removeSync([ms, seq]);
    for (const ms of newTimers) if (!oldTimers.includes(ms)) timers.putSync([ms, seq], null);
    if (endedAs >= 0) ended.removeSync([endedAs, endedMs, seq]);
    if (endsAs >= 0) ended.putSync([endsAs, endsMs, seq], null);
  }

  /** An empty value: it has none any more. */
  putOutcome(seq: number, value: string): void {
    if (value === '') this.stores.outcomes.removeSync(seq);
    else this.stores.outcomes.putSync(seq, value);
  }

  /** Nothing, if it is not there. */
  remove(seq: number): void {
    const shard = this.shard(idOf(this.numbers, seq));
    if (shard === undefined) return;
    const { body, state } = shard;
    const [place, ended, endedMs, ...timers] = marksOf(state);
    this.stores.places.removeSync(placeKey(this.#knownGroup(state.pipeline, state.group), place, seq));
    for (const ms of timers) this.stores.timers.removeSync([ms, seq]);
    if (ended >= 0) this.stores.ended.removeSync([ended, endedMs, seq]);
    this.stores.keys.removeSync(uniqueKey(this.#known(state.pipeline), body.key));
    this.stores.outcomes.removeSync(seq);
    this.stores.states.removeSync(seq);
    this.stores.bodies.removeSync(seq);
  }

  putEvents(firstId: number, value: string): void {
    this.stores.events.putSync(firstId, value);
  }

  dropEvents(untilId: number): void {
    const keys = [...this.stores.events.getKeys({ start: 0, end: untilId })];
    // Some of the last may be kept; those before it end where the next begins.
    const last = keys.at(-1);
    const value = last === undefined ? undefined : this.stores.events.get(last);
    for (const key of keys) this.stores.events.removeSync(key);
    if (value === undefined) return;
    const { ms, events } = decodeEvents(value);
    const kept = events.filter(({ id }) => id >= untilId);
    const [first] = kept;
    if (first !== undefined) this.stores.events.putSync(first.id, encodeEvents(ms, kept));
  }

  /** Undefined for a pipeline that was never applied. */
  pipelineNumber(name: string): number | undefined {
    return this.#named(name)?.number;
  }

  /** Numbers of the groups of a pipeline that have, or had, shards. */
  groupNumbers(pipeline: string): number[] {
    const stored = this.stores.pipelines.get(pipeline);
    return stored === undefined ? [] : stored.groups.map((_group, index) => groupNumber(stored.number, index));
  }

  #seqsIn(group: number, place: number, after: number, max: number): number[] {
    const [start, end] = [placeKey(group, place, after + 1), placeKey(group, place, Number.POSITIVE_INFINITY)];
    return Array.from(this.stores.places.getKeys({ start, end, limit: max }), ([, seq]) => seq);
  }

  #named(name: string): Pick<StoredPipeline, 'number' | 'groups'> | undefined {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const stored = this.stores.pipelines.get(name);
    if (stored === undefined) return undefined;
    const named = { number: stored.number, groups: stored.groups };
    this.#names.set(name, named);
    return named;
  }

  #known(name: string): number {
    const number = this.pipelineNumber(name);
    if (number === undefined) throw new Error(`pipeline ${name} has no number`);
    return number;
  }

  #groupOf(pipeline: string, group: string): number | undefined {
    const named = this.#named(pipeline);
    const index = named?.groups.indexOf(group) ?? -1;
    return named === undefined || index < 0 ? undefined : groupNumber(named.number, index);
  }

  #knownGroup(pipeline: string, group: string): number {
    const number = this.#groupOf(pipeline, group);
    if (number === undefined) throw new Error(`group ${group} of pipeline ${pipeline} has no number`);
    return number;
  }

  #newGroup(pipeline: string, group: string): number {
    const stored = this.stores.pipelines.get(pipeline);
    if (stored === undefined) throw new Error(`pipeline ${pipeline} was not applied`);
    if (stored.groups.length >= groupsMax)
      throw new PodlineError('PDL_JOURNAL', `pipeline ${pipeline} has had ${String(groupsMax)} groups; a journal keeps no more`);
    const groups = [...stored.groups, group];
    this.stores.pipelines.putSync(pipeline, { ...stored, groups });
    this.#names.set(pipeline, { number: stored.number, groups });
    return groupNumber(stored.number, groups.length - 1);
  }

  #nextPipelineNumber(): number {
    let highest = 0;
    for (const { value } of this.stores.pipelines.getRange({})) highest = Math.max(highest, value.number);
    return highest + 1;
  }
}
