/** What lies in the LMDB journal, and under which keys. */
import type { WireError } from '../../contracts/errors.js';
import type { Shard, ShardReport, ShardResult, ShardSource, ShardState } from '../../contracts/shard.js';
import type { Parameters } from '../../contracts/manifest.js';

/** Of a shard: what never changes. Apart, so that a transition does not write a large inline source again. */
export interface BodyRecord {
  pipeline: string;
  key: string;
  source: ShardSource;
  parameters: Parameters;
  resultDir: string;
  submittedAt: string;
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

export type IndexKey = (string | number)[];

/** Keys of the index, each with the shard's id as its value. */
export const keyOf = {
  /** Every shard of a pipeline, in the order of submission. */
  all: (pipeline: string, seq: number): IndexKey => ['all', pipeline, seq],
  byState: (pipeline: string, state: ShardState, seq: number): IndexKey => ['state', pipeline, state, seq],
  /** What may be leased to the lines of a group: the lowest priority number first, then the oldest. */
  queue: (pipeline: string, group: string, priority: number, seq: number): IndexKey => ['queue', pipeline, group, priority, seq],
  /** What something happens to at a time: the end of a back-off, or a time limit. */
  timer: (atMs: number, id: string): IndexKey => ['timer', atMs, id],
  running: (line: string, id: string): IndexKey => ['running', line, id],
  unique: (pipeline: string, key: string): IndexKey => ['unique', pipeline, key],
};

/** It may be leased at once. */
export const isQueued = (state: StateRecord): boolean => state.state === 'pending' && state.dueMs === undefined;

/** Every key under which a shard in this state is found; a transition writes the difference. */
export function indexOf(id: string, state: StateRecord): IndexKey[] {
  const keys = [keyOf.all(state.pipeline, state.seq), keyOf.byState(state.pipeline, state.state, state.seq)];
  if (isQueued(state)) keys.push(keyOf.queue(state.pipeline, state.group, state.priority, state.seq));
  if (state.state === 'running' && state.line !== undefined) keys.push(keyOf.running(state.line, id));
  for (const atMs of new Set([state.dueMs, state.limitMs])) if (atMs !== undefined) keys.push(keyOf.timer(atMs, id));
  return keys;
}

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

/** Without fields that hold undefined: they are not to be stored. */
export const compact = <T extends object>(record: T): T =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;
