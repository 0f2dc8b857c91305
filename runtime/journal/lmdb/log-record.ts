/**
 * What a record of the log says: what one group of transitions has changed, and the numbers of the journal behind it. Values are
 * encoded once, as LMDB will have them; what they are found under stands beside them, before and after, so nothing has
 * to be read or taken apart to settle it.
 *
 * A record is lines of JSON, in which no line ends: a head, then the values in the order in which the head speaks of them.
 */
import type { PipelineRecord } from '../journal.js';
import type { CountsRecord, Numbers } from '../tables.js';
import type { LoggedEvents } from './layer.js';
import type { Marks } from './layout.js';

/** A new one. */
export interface LoggedShard {
  seq: number;
  pipeline: string;
  group: string;
  key: string;
  marks: Marks;
  /** An encoded `StoredBody`. */
  value: string;
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

export interface LoggedOutcome {
  seq: number;
  /** An encoded `OutcomeRecord`; empty: it has none any more. */
  value: string;
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

/** Without values, and without names where there are many. */
type Head = Pick<LoggedGroup, 'numbers' | 'removed' | 'gone' | 'pipelines' | 'counts' | 'eventsFrom'> & {
  added: [seq: number, pipeline: string, group: string, key: string, marks: Marks][];
  states: [seq: number, pipeline: string, group: string, was: Marks, is: Marks][];
  outcomes: number[];
  events: [firstId: number, lastId: number][];
};

export function encodeGroup({ added, states, outcomes, events, ...rest }: LoggedGroup): Uint8Array {
  const head: Head = {
    ...rest,
    added: added.map(({ seq, pipeline, group, key, marks }) => [seq, pipeline, group, key, marks]),
    states: states.map(({ seq, pipeline, group, was, is }) => [seq, pipeline, group, was, is]),
    outcomes: outcomes.map(({ seq }) => seq),
    events: events.map(({ firstId, lastId }) => [firstId, lastId]),
  };
  const lines = [JSON.stringify(head)];
  for (const things of [added, states, outcomes, events]) for (const { value } of things) lines.push(value);
  return Buffer.from(lines.join('\n'));
}

export function decodeGroup(payload: Buffer): LoggedGroup {
  const [first = '', ...values] = payload.toString('utf8').split('\n');
  const { added, states, outcomes, events, ...rest } = JSON.parse(first) as Head;
  let at = 0;
  const value = (): string => values[at++] ?? '';
  return {
    ...rest,
    added: added.map(([seq, pipeline, group, key, marks]) => ({ seq, pipeline, group, key, marks, value: value() })),
    states: states.map(([seq, pipeline, group, was, is]) => ({ seq, pipeline, group, was, is, value: value() })),
    outcomes: outcomes.map((seq) => ({ seq, value: value() })),
    events: events.map(([firstId, lastId]) => ({ firstId, lastId, value: value() })),
  };
}
