/**
 * What the transitions of a group read and write: a layer of their own over what is logged.
 *
 * Invariants
 *  1. What is logged is not changed here, but for the fronts of its queues, which the store forgets when the group is not logged.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { PodlineEvent } from '../../contracts/events.js';
import type { PipelineRecord } from '../journal.js';
import { idOf, placeOf, seqOf } from '../places.js';
import { isQueued, type BodyRecord, type OutcomeRecord, type StateRecord } from '../records.js';
import type { CountsRecord, EndedKind, Numbers, Tables } from '../tables.js';
import type { Window } from './front.js';
import { Layer } from './layer.js';
import { bodyOf, decodeValue, encodeValue, firstState, groupsMax, marksOf, storedBody, storedState } from './layout.js';
import { encodeGroup, type LoggedState } from './log-record.js';
import type { Logged } from './logged.js';
import { encodeEvents, eventsOfValue } from './stored-events.js';
import { Value } from './value.js';

export class GroupTables implements Tables {
  readonly layer = new Layer();
  readonly numbers: Numbers;
  /** As they were before the group. */
  readonly #before = new Map<string, StateRecord>();

  constructor(private readonly logged: Logged) {
    const { numbers } = logged;
    this.numbers = { ...numbers, ended: { ...numbers.ended } };
  }

  pipeline(name: string): PipelineRecord | undefined {
    return this.layer.pipelines.get(name) ?? (this.layer.gone.has(name) ? undefined : this.logged.pipelines.get(name));
  }

  counts(pipeline: string): CountsRecord | undefined {
    return this.layer.gone.has(pipeline) ? undefined : this.logged.counts.get(pipeline);
  }

  state(id: string): StateRecord | undefined {
    const state = this.layer.states.get(id);
    if (state !== undefined) return state ?? undefined;
    const added = this.layer.added.get(id);
    return added === undefined ? this.logged.state(id) : firstState(added.seq, decodeValue(added.value.text));
  }

  body(id: string): BodyRecord | undefined {
    const added = this.layer.added.get(id);
    return added === undefined ? this.logged.body(id) : bodyOf(decodeValue(added.value.text));
  }

  idOf(pipeline: string, key: string): string | undefined {
    const id = this.layer.idOf(pipeline, key);
    return id === undefined ? this.logged.idOf(pipeline, key) : (id ?? undefined);
  }

  queued(pipeline: string, group: string, max: number): string[] {
    const ids: string[] = [];
    const waits = (seq: number): boolean => {
      const state = this.state(idOf(this.numbers, seq));
      return state !== undefined && isQueued(state);
    };
    for (const [place, front] of this.logged.fronts(pipeline, group).entries()) {
      if (ids.length >= max) break;
      const behind = (after: number): Window => this.logged.window(pipeline, group, place, after, this.layer);
      for (const seq of front.first(max - ids.length, waits, behind)) ids.push(idOf(this.numbers, seq));
    }
    return ids;
  }

  ofPipeline(pipeline: string, max: number): string[] {
    return this.logged.ofPipeline(pipeline, max, this.layer);
  }

  due(nowMs: number, max: number): string[] {
    return this.logged.due(nowMs, max, this.layer).map(([, id]) => id);
  }

  ended(kind: EndedKind, untilMs: number, max: number): string[] {
    return this.logged.ended(kind, untilMs, max, this.layer).map(([, id]) => id);
  }

  eventsUntil(untilMs: number, max: number): number | undefined {
    let last: number | undefined;
    let room = max;
    for (const { ms, events } of this.logged.events(this.numbers.firstEventId)) {
      if (ms > untilMs || room <= 0) break;
      last = events.at(Math.min(room, events.length) - 1)?.id ?? last;
      room -= events.length;
    }
    return last;
  }

  putPipeline(record: PipelineRecord): void {
    this.layer.pipelines.set(record.pipeline.name, record);
  }

  putCounts(pipeline: string, counts: CountsRecord): void {
    this.layer.counts.set(pipeline, counts);
  }

  removePipeline(name: string): void {
    this.layer.removePipeline(name);
  }

  add(id: string, body: BodyRecord, state: StateRecord): void {
    const groups = this.logged.groups.get(state.pipeline);
    if (groups !== undefined && groups.size >= groupsMax && !groups.has(state.group)) {
      const message = `pipeline ${state.pipeline} has had ${String(groupsMax)} groups; a journal keeps no more`;
      throw new PodlineError('PDL_JOURNAL', message);
    }
    const { seq, pipeline, group } = state;
    const value = new Value(encodeValue(storedBody(body, state)));
    this.layer.add(id, { seq, pipeline, group, key: body.key, marks: marksOf(state), value });
    this.#waits(state);
  }

  putState(id: string, before: StateRecord, after: StateRecord): void {
    if (!this.#before.has(id)) this.#before.set(id, before);
    this.layer.putState(id, after);
    if (isQueued(after) && !isQueued(before)) this.#waits(after);
  }

  putOutcome(id: string, outcome: OutcomeRecord | undefined): void {
    this.layer.outcomes.set(id, new Value(outcome === undefined ? '' : encodeValue(outcome)));
  }

  remove(id: string, _state: StateRecord, body: BodyRecord): void {
    this.layer.remove(id, body);
  }

  putEvents(events: readonly PodlineEvent[], ms: number): void {
    for (let from = 0; from < events.length; from += eventsOfValue) {
      const some = events.slice(from, from + eventsOfValue);
      const value = new Value(encodeEvents(ms, some));
      this.layer.events.push({ firstId: some[0]?.id ?? 0, lastId: some.at(-1)?.id ?? 0, value });
    }
  }

  dropEvents(_fromId: number, untilId: number): void {
    this.layer.eventsFrom = untilId;
  }

  /** What the log is to say of the group. */
  encode(): Uint8Array {
    const { layer, numbers } = this;
    const seqIn = (id: string): number => seqOf(numbers, id) ?? 0;
    const removed: number[] = [];
    const states: LoggedState[] = [];
    for (const [id, state] of layer.states) {
      if (state === null) {
        removed.push(seqIn(id));
        continue;
      }
      const { seq, pipeline, group } = state;
      const was = marksOf(this.#before.get(id) ?? state);
      states.push({ seq, pipeline, group, was, is: marksOf(state), value: encodeValue(storedState(state)) });
    }
    return encodeGroup({
      numbers,
      gone: [...layer.gone],
      pipelines: [...layer.pipelines.values()],
      counts: [...layer.counts],
      removed,
      added: layer.added.values(),
      states,
      outcomes: Array.from(layer.outcomes, ([id, value]) => ({ seq: seqIn(id), value })),
      events: layer.events,
      eventsFrom: layer.eventsFrom,
    });
  }

  #waits(state: StateRecord): void {
    this.logged.fronts(state.pipeline, state.group)[placeOf(state)]?.add(state.seq);
  }
}
