/** What a journal keeps of shards. */
import type { WireError } from '../contracts/errors.js';
import type { Callback, Shard, ShardReport, ShardResult, ShardSource, ShardState } from '../contracts/shard.js';
import type { Parameters } from '../contracts/manifest.js';
import type { TraceContext } from '../contracts/trace.js';

/** Of a shard: what never changes. Apart, so that a transition does not write a large inline source again. */
export interface BodyRecord {
  pipeline: string;
  key: string;
  source: ShardSource;
  parameters: Parameters;
  resultDir: string;
  submittedAt: string;
  trace?: TraceContext | undefined;
  /** Where its end is told besides. */
  callback?: Callback | undefined;
}

/** Of a shard: what transitions change. */
export interface StateRecord {
  pipeline: string;
  /** Counts the submissions. */
  seq: number;
  priority: number;
  group: string;
  state: ShardState;
  epoch: number;
  attempts: number;
  /** Leases that ended with the loss of their line. */
  losses: number;
  line?: string | undefined;
  instance?: string | undefined;
  startedAt?: string | undefined;
  endedAt?: string | undefined;
  notBefore?: string | undefined;
  /** pending: until then it backs off. */
  dueMs?: number | undefined;
  /** pending and running: when its time limit is over. */
  limitMs?: number | undefined;
  /** When it came into its state. */
  sinceMs: number;
  waitedMs: number;
  ranMs: number;
  resumeFrom?: string | undefined;
  stagesDone: string[];
  error?: WireError | undefined;
  /** The epoch whose lease the line itself ended by a failure: the same call again is answered as the first was. */
  failedEpoch?: number | undefined;
}

/** Of a shard: what it ended with. */
export interface OutcomeRecord {
  result: ShardResult;
  report: ShardReport;
}

/** It may be leased at once. */
export const isQueued = (state: StateRecord): boolean => state.state === 'pending' && state.dueMs === undefined;

/** Of a shard that was just submitted. All fields are named, so that states are of one shape whatever becomes of them: each call makes one. */
export const newState = ({
  pipeline,
  seq,
  priority,
  group,
  sinceMs,
  limitMs,
}: Pick<StateRecord, 'pipeline' | 'seq' | 'priority' | 'group' | 'sinceMs' | 'limitMs'>): StateRecord => ({
  pipeline,
  seq,
  priority,
  group,
  state: 'pending',
  epoch: 0,
  attempts: 0,
  losses: 0,
  line: undefined,
  instance: undefined,
  startedAt: undefined,
  endedAt: undefined,
  notBefore: undefined,
  dueMs: undefined,
  limitMs,
  sinceMs,
  waitedMs: 0,
  ranMs: 0,
  resumeFrom: undefined,
  stagesDone: [],
  error: undefined,
  failedEpoch: undefined,
});

export function toShard(
  id: string,
  body: BodyRecord,
  state: StateRecord,
  outcome: OutcomeRecord | undefined,
  withReport: boolean,
): Shard {
  const { startedAt, endedAt, notBefore, line, resumeFrom, error } = state;
  return {
    id,
    pipeline: state.pipeline,
    key: body.key,
    state: state.state,
    source: body.source,
    parameters: body.parameters,
    resultDir: body.resultDir,
    priority: state.priority,
    group: state.group,
    epoch: state.epoch,
    attempts: state.attempts,
    submittedAt: body.submittedAt,
    stagesDone: state.stagesDone,
    ...(body.trace === undefined ? {} : { trace: body.trace }),
    ...(body.callback === undefined ? {} : { callback: body.callback }),
    ...(line === undefined ? {} : { line }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(resumeFrom === undefined ? {} : { resumeFrom }),
    ...(error === undefined ? {} : { error }),
    ...(outcome === undefined ? {} : { result: outcome.result }),
    ...(outcome === undefined || !withReport ? {} : { report: outcome.report }),
  };
}

/** Without fields that hold undefined: they are not to be stored. Loops, because this is done for each event and each shard. */
export function compact<T extends object>(record: T): T {
  let isCompact = true;
  for (const name in record) isCompact &&= record[name] !== undefined;
  if (isCompact) return record;
  const kept: Partial<T> = {};
  for (const name in record) if (record[name] !== undefined) kept[name] = record[name];
  return kept as T;
}
