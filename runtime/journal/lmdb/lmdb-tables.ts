/** The tables of a transition in LMDB, inside of a write transaction; and the reads that a journal answers outside of one. */
import { PodlineError } from '../../contracts/errors.js';
import type { PodlineEvent } from '../../contracts/events.js';
import type { PipelineRecord } from '../journal.js';
import { delayedPlace, idOf, placeOf, seqOf, timersOf } from '../places.js';
import type { BodyRecord, OutcomeRecord, StateRecord } from '../records.js';
import { endedKindOf } from '../retention.js';
import type { CountsRecord, EndedKind, Numbers, Tables } from '../tables.js';
import {
  bodyOf,
  eventsOfValue,
  firstState,
  groupNumber,
  groupsMax,
  placeKey,
  recordOf,
  stateOf,
  storedBody,
  storedState,
  uniqueKey,
  type StoredPipeline,
  type Stores,
} from './layout.js';
import type { Recent } from './recent.js';

const kindNumber: Record<EndedKind, number> = { done: 0, failed: 1 };

export class LmdbTables implements Tables {
  readonly #names = new Map<string, Pick<StoredPipeline, 'number' | 'groups'>>();

  constructor(
    private readonly stores: Stores,
    readonly numbers: Numbers,
    /** Of the writer. */
    private readonly recent?: Recent,
  ) {}

  pipeline(name: string): PipelineRecord | undefined {
    const stored = this.#stored(name);
    return stored === undefined ? undefined : recordOf(stored);
  }

  counts(pipeline: string): CountsRecord | undefined {
    return this.stores.counts.get(pipeline);
  }

  state(id: string): StateRecord | undefined {
    const seq = seqOf(this.numbers, id);
    if (seq === undefined) return undefined;
    const known = this.recent?.state(seq);
    if (known !== undefined) return known;
    const stored = this.stores.states.get(seq);
    if (stored !== undefined) return stateOf(seq, stored);
    const body = this.stores.bodies.get(seq);
    if (body === undefined) return undefined;
    this.recent?.putBody(seq, bodyOf(body));
    return firstState(seq, body);
  }

  body(id: string): BodyRecord | undefined {
    const seq = seqOf(this.numbers, id);
    if (seq === undefined) return undefined;
    const known = this.recent?.body(seq);
    if (known !== undefined) return known;
    const stored = this.stores.bodies.get(seq);
    if (stored === undefined) return undefined;
    const body = bodyOf(stored);
    this.recent?.putBody(seq, body);
    return body;
  }

  outcome(id: string): OutcomeRecord | undefined {
    const seq = seqOf(this.numbers, id);
    return seq === undefined ? undefined : this.stores.outcomes.get(seq);
  }

  idOf(pipeline: string, key: string): string | undefined {
    const number = this.pipelineNumber(pipeline);
    const seq = number === undefined ? undefined : this.stores.keys.get(uniqueKey(number, key));
    return seq === undefined ? undefined : idOf(this.numbers, seq);
  }

  queued(pipeline: string, group: string, max: number): string[] {
    const number = this.#groupOf(pipeline, group);
    if (number === undefined || max === 0) return [];
    const keys = this.stores.places.getKeys({
      start: placeKey(number, 0, 0),
      end: placeKey(number, delayedPlace, 0),
      limit: max,
    });
    return Array.from(keys, ([, seq]) => idOf(this.numbers, seq));
  }

  ofPipeline(pipeline: string, max: number): string[] {
    const ids: string[] = [];
    for (const group of this.groupNumbers(pipeline)) {
      if (ids.length >= max) break;
      const range = { start: placeKey(group, 0, 0), end: placeKey(group + 1, 0, 0), limit: max - ids.length };
      for (const [, seq] of this.stores.places.getKeys(range)) ids.push(idOf(this.numbers, seq));
    }
    return ids;
  }

  due(nowMs: number, max: number): string[] {
    const keys = this.stores.timers.getKeys({ end: [nowMs, Number.POSITIVE_INFINITY], limit: max });
    return [...new Set(Array.from(keys, ([, seq]) => idOf(this.numbers, seq)))];
  }

  ended(kind: EndedKind, untilMs: number, max: number): string[] {
    const number = kindNumber[kind];
    const end = [number, untilMs, Number.POSITIVE_INFINITY] as [number, number, number];
    return Array.from(this.stores.ended.getKeys({ start: [number, 0, 0], end, limit: max }), ([, , seq]) =>
      idOf(this.numbers, seq),
    );
  }

  /** When the first shard of a kind ended. */
  firstEndedMs(kind: EndedKind): number | undefined {
    const number = kindNumber[kind];
    for (const [, ms] of this.stores.ended.getKeys({ start: [number, 0, 0], end: [number + 1, 0, 0], limit: 1 })) return ms;
    return undefined;
  }

  eventsUntil(untilMs: number, max: number): number | undefined {
    let last: number | undefined;
    let room = max;
    for (const { value } of this.stores.events.getRange({})) {
      const [ms, events] = value;
      if (ms > untilMs || room <= 0) break;
      last = events.at(Math.min(room, events.length) - 1)?.id ?? last;
      room -= events.length;
    }
    return last;
  }

  putPipeline(record: PipelineRecord): void {
    const { name } = record.pipeline;
    const { number, groups } = this.#named(name) ?? { number: this.#nextPipelineNumber(), groups: [] };
    this.#store(name, { ...record, number, groups });
    this.#names.set(name, { number, groups });
  }

  removePipeline(name: string): void {
    this.stores.pipelines.removeSync(name);
    this.stores.counts.removeSync(name);
    this.recent?.pipelines.delete(name);
    this.forgetName(name);
  }

  /** Another pipeline of that name has other numbers. */
  forgetName(name: string): void {
    this.#names.delete(name);
  }

  putCounts(pipeline: string, counts: CountsRecord): void {
    this.stores.counts.putSync(pipeline, counts);
  }

  add(_id: string, body: BodyRecord, state: StateRecord): void {
    const number = this.#known(body.pipeline);
    const { seq } = state;
    this.stores.bodies.putSync(seq, storedBody(body, state), { append: true });
    this.stores.keys.putSync(uniqueKey(number, body.key), seq);
    const group = this.#groupOf(body.pipeline, state.group) ?? this.#newGroup(body.pipeline, state.group);
    this.stores.places.putSync(placeKey(group, placeOf(state), seq), null);
    for (const ms of timersOf(state)) this.stores.timers.putSync([ms, seq], null);
  }

  putState(_id: string, before: StateRecord, after: StateRecord): void {
    const { seq } = after;
    const { states, places, timers, ended } = this.stores;
    states.putSync(seq, storedState(after));
    this.recent?.putState(after);
    const [from, to] = [placeOf(before), placeOf(after)];
    if (from !== to) {
      const group = this.#knownGroup(after);
      places.removeSync(placeKey(group, from, seq));
      places.putSync(placeKey(group, to, seq), null);
    }
    const [oldTimers, newTimers] = [timersOf(before), timersOf(after)];
    for (const ms of oldTimers) if (!newTimers.includes(ms)) timers.removeSync([ms, seq]);
    for (const ms of newTimers) if (!oldTimers.includes(ms)) timers.putSync([ms, seq], null);
    const [was, is] = [endedKindOf(before.state), endedKindOf(after.state)];
    if (was !== undefined) ended.removeSync([kindNumber[was], before.sinceMs, seq]);
    if (is !== undefined) ended.putSync([kindNumber[is], after.sinceMs, seq], null);
  }

  putOutcome(id: string, outcome: OutcomeRecord | undefined): void {
    const seq = seqOf(this.numbers, id) ?? 0;
    if (outcome === undefined) this.stores.outcomes.removeSync(seq);
    else this.stores.outcomes.putSync(seq, outcome);
  }

  remove(_id: string, state: StateRecord, body: BodyRecord): void {
    const { seq } = state;
    const number = this.#known(state.pipeline);
    this.recent?.forget(seq);
    this.stores.places.removeSync(placeKey(this.#knownGroup(state), placeOf(state), seq));
    for (const ms of timersOf(state)) this.stores.timers.removeSync([ms, seq]);
    const kind = endedKindOf(state.state);
    if (kind !== undefined) this.stores.ended.removeSync([kindNumber[kind], state.sinceMs, seq]);
    this.stores.keys.removeSync(uniqueKey(number, body.key));
    this.stores.outcomes.removeSync(seq);
    this.stores.states.removeSync(seq);
    this.stores.bodies.removeSync(seq);
  }

  putEvents(events: readonly PodlineEvent[], ms: number): void {
    for (let from = 0; from < events.length; from += eventsOfValue) {
      const some = events.slice(from, from + eventsOfValue);
      this.stores.events.putSync(some[0]?.id ?? 0, [ms, some]);
    }
  }

  dropEvents(fromId: number, untilId: number): void {
    for (const key of [...this.stores.events.getKeys({ start: 0, end: untilId })]) {
      const [ms, events] = this.stores.events.get(key) ?? [0, []];
      const kept = events.filter(({ id }) => id >= untilId || id < fromId);
      this.stores.events.removeSync(key);
      const [first] = kept;
      if (first !== undefined) this.stores.events.putSync(first.id, [ms, kept]);
    }
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

  #named(name: string): Pick<StoredPipeline, 'number' | 'groups'> | undefined {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const stored = this.#stored(name);
    if (stored === undefined) return undefined;
    const named = { number: stored.number, groups: stored.groups };
    this.#names.set(name, named);
    return named;
  }

  /** A pipeline is large, and every lease looks at it. */
  #stored(name: string): StoredPipeline | undefined {
    const known = this.recent?.pipelines.get(name);
    if (known !== undefined) return known;
    const stored = this.stores.pipelines.get(name);
    if (stored !== undefined) this.recent?.pipelines.set(name, stored);
    return stored;
  }

  #store(name: string, stored: StoredPipeline): void {
    this.stores.pipelines.putSync(name, stored);
    this.recent?.pipelines.set(name, stored);
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

  #knownGroup({ pipeline, group }: StateRecord): number {
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
    this.#store(pipeline, { ...stored, groups });
    this.#names.set(pipeline, { number: stored.number, groups });
    return groupNumber(stored.number, groups.length - 1);
  }

  #nextPipelineNumber(): number {
    let highest = 0;
    for (const { value } of this.stores.pipelines.getRange({})) highest = Math.max(highest, value.number);
    return highest + 1;
  }
}
