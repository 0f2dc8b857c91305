/**
 * What lies in the LMDB environment, and under which keys. Small, because each byte is written and synced: shards are numbers
 * here (the second half of their id), and records are lists without names of fields.
 *
 * Invariants
 *  1. A shard has exactly one key in `places`: that of its pipeline, its place (`placeOf`) and its number.
 *  2. A shard that was never leased has no record in `states`: its body says all of it.
 */
import type { Database, RootDatabase } from 'lmdb';
import { shardStates, type ShardState } from '../../contracts/shard.js';
import type { PipelineRecord } from '../journal.js';
import { compact, newState, type BodyRecord, type StateRecord } from '../records.js';
import { placeOf, timersOf } from '../places.js';
import { endedKindOf } from '../retention.js';
import type { CountsRecord, EndedKind } from '../tables.js';

export const layoutVersion = 3;

export interface Stores {
  /** `version`, `numbers`. */
  meta: Database<unknown, string>;
  /** With what stands for it and its groups in keys. */
  pipelines: Database<StoredPipeline, string>;
  counts: Database<CountsRecord, string>;
  /** By the shard's number, encoded: a `StoredBody`, a `StoredState`, an `OutcomeRecord`. */
  bodies: Database<string, number>;
  states: Database<string, number>;
  outcomes: Database<string, number>;
  /** [pipeline, group and place; shard] */
  places: Database<null, [number, number]>;
  /** "pipeline/key" → shard */
  keys: Database<number, string>;
  /** [ms, shard]: something happens to it then. */
  timers: Database<null, [number, number]>;
  /** [kind, ms, shard]: since then it has ended. */
  ended: Database<null, [number, number, number]>;
  /** By the id of the first: some that came together, and when; see stored-events.ts. */
  events: Database<string, number>;
}

export function openStores(root: RootDatabase): Stores {
  const table = <V, K extends string | number | number[]>(name: string): Database<V, K> =>
    // Plain maps: structures of their own in each value cost more to write and to read than their names.
    root.openDB<V, K>(name, { encoding: 'msgpack', cache: false, useRecords: false } as object);
  const texts = (name: string): Database<string, number> =>
    root.openDB<string, number>(name, { encoding: 'string', cache: false });
  return {
    meta: table('meta'),
    pipelines: table('pipelines'),
    counts: table('counts'),
    bodies: texts('bodies'),
    states: texts('states'),
    outcomes: texts('outcomes'),
    places: table('places'),
    keys: table('keys'),
    timers: table('timers'),
    ended: table('ended'),
    events: texts('events'),
  };
}

/** A value as LMDB and the log have it: JSON, which Node writes and reads faster than anything that is written in JavaScript. */
export const encodeValue = (value: unknown): string => JSON.stringify(value);
export const decodeValue = <V>(text: string): V => JSON.parse(text) as V;

/** What a shard is found under, besides its number: `ended` and `endedMs` are -1 and 0 while it has not ended. */
export type Marks = [place: number, ended: number, endedMs: number, ...timers: number[]];

export const kindNumber: Record<EndedKind, number> = { done: 0, failed: 1 };

export function marksOf(state: StateRecord): Marks {
  const kind = endedKindOf(state.state);
  const timers = timersOf(state);
  if (kind === undefined && timers.length === 0) return [placeOf(state), -1, 0];
  return kind === undefined ? [placeOf(state), -1, 0, ...timers] : [placeOf(state), kindNumber[kind], state.sinceMs, ...timers];
}

export type StoredBody = [
  pipeline: string,
  key: string,
  source: BodyRecord['source'],
  parameters: BodyRecord['parameters'],
  resultDir: string,
  submittedAt: string,
  priority: number,
  sinceMs: number,
  limitMs: number | null,
  group: string,
  /** What few have. */
  more?: Pick<BodyRecord, 'trace' | 'callback'>,
];

export function storedBody(body: BodyRecord, { priority, sinceMs, limitMs, group }: StateRecord): StoredBody {
  const { pipeline, key, source, parameters, resultDir, submittedAt, trace, callback } = body;
  const stored: StoredBody = [
    pipeline,
    key,
    source,
    parameters,
    resultDir,
    submittedAt,
    priority,
    sinceMs,
    limitMs ?? null,
    group,
  ];
  if (trace !== undefined || callback !== undefined) stored.push(compact({ trace, callback }));
  return stored;
}

export function bodyOf([pipeline, key, source, parameters, resultDir, submittedAt, , , , , more]: StoredBody): BodyRecord {
  const body: BodyRecord = { pipeline, key, source, parameters, resultDir, submittedAt };
  return more === undefined ? body : Object.assign(body, more);
}

export const firstState = (seq: number, [pipeline, , , , , , priority, sinceMs, limitMs, group]: StoredBody): StateRecord =>
  newState({ pipeline, seq, priority, group, sinceMs, limitMs: limitMs ?? undefined });

export type StoredState = [
  pipeline: string,
  priority: number,
  group: string,
  state: number,
  epoch: number,
  attempts: number,
  losses: number,
  sinceMs: number,
  waitedMs: number,
  ranMs: number,
  line: string | null,
  instance: string | null,
  startedAt: string | null,
  stagesDone: string[],
  /** What few have. */
  more: Partial<StateRecord> | null,
];

const stateNumber = new Map<ShardState, number>(shardStates.map((state, index) => [state, index]));

export function storedState(state: StateRecord): StoredState {
  const { endedAt, notBefore, dueMs, limitMs, resumeFrom, error, failedEpoch } = state;
  const more: Partial<StateRecord> = {};
  if (endedAt !== undefined) more.endedAt = endedAt;
  if (notBefore !== undefined) more.notBefore = notBefore;
  if (dueMs !== undefined) more.dueMs = dueMs;
  if (limitMs !== undefined) more.limitMs = limitMs;
  if (resumeFrom !== undefined) more.resumeFrom = resumeFrom;
  if (error !== undefined) more.error = error;
  if (failedEpoch !== undefined) more.failedEpoch = failedEpoch;
  return [
    state.pipeline,
    state.priority,
    state.group,
    stateNumber.get(state.state) ?? 0,
    state.epoch,
    state.attempts,
    state.losses,
    state.sinceMs,
    state.waitedMs,
    state.ranMs,
    state.line ?? null,
    state.instance ?? null,
    state.startedAt ?? null,
    state.stagesDone,
    Object.keys(more).length === 0 ? null : more,
  ];
}

export function stateOf(seq: number, stored: StoredState): StateRecord {
  const [
    pipeline,
    priority,
    group,
    state,
    epoch,
    attempts,
    losses,
    sinceMs,
    waitedMs,
    ranMs,
    line,
    instance,
    startedAt,
    stagesDone,
    more,
  ] = stored;
  const record = newState({ pipeline, seq, priority, group, sinceMs, limitMs: undefined });
  record.state = shardStates[state] ?? 'pending';
  record.epoch = epoch;
  record.attempts = attempts;
  record.losses = losses;
  record.waitedMs = waitedMs;
  record.ranMs = ranMs;
  record.stagesDone = stagesDone;
  record.line = line ?? undefined;
  record.instance = instance ?? undefined;
  record.startedAt = startedAt ?? undefined;
  return more === null ? record : Object.assign(record, more);
}

const placesMax = 16;
/** Groups that a pipeline ever had; it has at most 64 at a time. */
export const groupsMax = 4_096;

export interface StoredPipeline extends PipelineRecord {
  number: number;
  /** Every group that a shard of it ever had: its number is its place here. */
  groups: string[];
}

export const recordOf = ({ pipeline, rules, paused, appliedAt, going }: StoredPipeline): PipelineRecord => ({
  pipeline,
  rules,
  paused,
  appliedAt,
  ...(going === undefined ? {} : { going }),
});

/** `group`: of `groupNumber`. */
export const placeKey = (group: number, place: number, seq: number): [number, number] => [group * placesMax + place, seq];
export const groupNumber = (pipeline: number, index: number): number => pipeline * groupsMax + index;
export const uniqueKey = (pipeline: number, key: string): string => `${String(pipeline)}/${key}`;
