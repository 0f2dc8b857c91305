/**
 * What a record of the log says: what one group of transitions has changed, and the numbers of the journal behind it. Values are
 * encoded once, as LMDB will have them; what they are found under stands beside them, before and after, so nothing has
 * to be read or taken apart to settle it.
 *
 * A record is lines of JSON, in which no line ends: a head, then the values in the order in which the head speaks of them. What
 * there is much of stands in the head as rows of numbers, which cost least to write.
 */
import type { PipelineRecord } from '../journal.js';
import type { CountsRecord, Numbers } from '../tables.js';
import type { Marks } from './layout.js';
import type { Value } from './value.js';

/** A new one. `V`: `Value` where it is kept in memory. */
export interface LoggedShard<V = string> {
  seq: number;
  pipeline: string;
  group: string;
  key: string;
  marks: Marks;
  /** An encoded `StoredBody`. */
  value: V;
}

export interface LoggedState {
  seq: number;
  pipeline: string;
  group: string;
  /** Before the group. */
  was: Marks;
  is: Marks;
  /** An encoded `StoredState`. */
  value: string;
}

export interface LoggedOutcome<V = string> {
  seq: number;
  /** An encoded `OutcomeRecord`; empty: it has none any more. */
  value: V;
}

/** Some events in a row. `value`: of `encodeEvents`. */
export interface LoggedEvents<V = string> {
  firstId: number;
  lastId: number;
  value: V;
}

/** In the order in which they are to be settled: a name that is free again may be that of a new pipeline, a key that of a new shard. */
export interface LoggedGroup {
  numbers: Numbers;
  removed: number[];
  /** Pipelines that were removed. */
  gone: string[];
  pipelines: PipelineRecord[];
  counts: [pipeline: string, counts: CountsRecord][];
  added: LoggedShard[];
  states: LoggedState[];
  outcomes: LoggedOutcome[];
  events: readonly LoggedEvents[];
  /** Those before it are kept no longer; 0: nothing is said. */
  eventsFrom: number;
}

/** Rows stand one behind the other; `marks` in them: how many there are, then they. */
type Head = Pick<LoggedGroup, 'numbers' | 'removed' | 'gone' | 'pipelines' | 'counts' | 'eventsFrom'> & {
  names: [pipeline: string, group: string][];
  /** Of those that were added. */
  keys: string[];
  /** seq, index of the name, marks */
  added: number[];
  /** seq, index of the name, marks before, marks after */
  states: number[];
  /** seq */
  outcomes: number[];
  /** id of the first and of the last */
  events: number[];
};

/** As it is before it is logged. */
export type NewGroup = Omit<LoggedGroup, 'added' | 'outcomes' | 'events'> & {
  added: Iterable<LoggedShard<Value>>;
  outcomes: LoggedOutcome<Value>[];
  events: readonly LoggedEvents<Value>[];
};

/** What is kept of the group stands in the record from here on. */
export function encodeGroup(group: NewGroup): Buffer {
  const { added, states, outcomes, events, ...rest } = group;
  const head: Head = { ...rest, names: [], keys: [], added: [], states: [], outcomes: [], events: [] };
  const nameOf = namesInto(head.names);
  const lines = [''];
  /** Of lines that are kept. */
  const kept: (Value | undefined)[] = [undefined];
  const keep = (value: Value): void => {
    lines.push(value.text);
    kept.push(value);
  };
  for (const { seq, pipeline, group, key, marks, value } of added) {
    head.added.push(seq, nameOf(pipeline, group));
    pushMarks(head.added, marks);
    head.keys.push(key);
    keep(value);
  }
  for (const { seq, pipeline, group, was, is, value } of states) {
    head.states.push(seq, nameOf(pipeline, group));
    pushMarks(head.states, was);
    pushMarks(head.states, is);
    lines.push(value);
    kept.push(undefined);
  }
  for (const { seq, value } of outcomes) {
    head.outcomes.push(seq);
    keep(value);
  }
  for (const { firstId, lastId, value } of events) {
    head.events.push(firstId, lastId);
    keep(value);
  }
  lines[0] = JSON.stringify(head);
  const text = lines.join('\n');
  const record = Buffer.from(text);
  const isAscii = record.length === text.length;
  let at = 0;
  lines.forEach((line, index) => {
    const end = at + (isAscii ? line.length : Buffer.byteLength(line));
    kept[index]?.moveTo(record, at, end);
    at = end + 1;
  });
  return record;
}

export function decodeGroup(payload: Buffer): LoggedGroup {
  const [first = '', ...values] = payload.toString('utf8').split('\n');
  const { names, keys, added, states, outcomes, events, ...rest } = JSON.parse(first) as Head;
  let at = 0;
  const value = (): string => values[at++] ?? '';
  const named = (index: number): { pipeline: string; group: string } => {
    const [pipeline = '', group = ''] = names[index] ?? [];
    return { pipeline, group };
  };
  const group: LoggedGroup = { ...rest, added: [], states: [], outcomes: [], events: [] };
  for (const row = new Row(added); row.goesOn;)
    group.added.push({
      seq: row.next(),
      ...named(row.next()),
      marks: row.marks(),
      key: keys[group.added.length] ?? '',
      value: value(),
    });
  for (const row = new Row(states); row.goesOn;)
    group.states.push({ seq: row.next(), ...named(row.next()), was: row.marks(), is: row.marks(), value: value() });
  for (const seq of outcomes) group.outcomes.push({ seq, value: value() });
  group.events = Array.from({ length: events.length / 2 }, (_, index) => ({
    firstId: events[2 * index] ?? 0,
    lastId: events[2 * index + 1] ?? 0,
    value: value(),
  }));
  return group;
}

/** Index of a name, which is put into `names` when it is new. As a rule the one before is meant. */
function namesInto(names: Head['names']): (pipeline: string, group: string) => number {
  let last = -1;
  return (pipeline, group) => {
    const isIt = (name: Head['names'][number] | undefined): boolean => name?.[0] === pipeline && name[1] === group;
    if (isIt(names[last])) return last;
    const known = names.findIndex(isIt);
    last = known < 0 ? names.push([pipeline, group]) - 1 : known;
    return last;
  };
}

/** Most have a place and nothing else. */
function pushMarks(into: number[], marks: Marks): void {
  if (marks.length === 3 && marks[1] < 0) into.push(1, marks[0]);
  else into.push(marks.length, ...marks);
}

class Row {
  #at = 0;

  constructor(private readonly numbers: readonly number[]) {}

  get goesOn(): boolean {
    return this.#at < this.numbers.length;
  }

  next(): number {
    return this.numbers[this.#at++] ?? 0;
  }

  marks(): Marks {
    const length = this.next();
    // As `pushMarks` writes most of them: without an array in between.
    if (length === 1) return [this.next(), -1, 0];
    const [place = 0, ended = -1, endedMs = 0, ...timers] = this.numbers.slice(this.#at, this.#at + length);
    this.#at += length;
    return [place, ended, endedMs, ...timers];
  }
}
