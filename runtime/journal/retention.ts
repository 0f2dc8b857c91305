/**
 * How long a journal keeps what has ended. A shard goes with its key, its result and its report: from then on the same key is
 * a new shard. What waits or runs is never removed. Ages are in the journal's time, which stands still while no coordinator runs.
 */
import { limits } from '../contracts/limits.js';
import type { EndedKind, Numbers } from './tables.js';

export interface Retention {
  /** Completed and cancelled shards, of all pipelines together. */
  doneMax: number;
  doneMs: number;
  /** Dead letters. */
  failedMax: number;
  failedMs: number;
  eventsMax: number;
  eventsMs: number;
}

export const defaultRetention: Retention = {
  doneMax: limits.doneShardsKept,
  doneMs: limits.doneShardsKeptMs,
  failedMax: limits.failedShardsKept,
  failedMs: limits.failedShardsKeptMs,
  eventsMax: limits.eventsKept,
  eventsMs: limits.eventsKeptMs,
};

export const endedKinds: readonly EndedKind[] = ['done', 'failed'];

const boundsOf = (retention: Retention, kind: EndedKind): { max: number; ageMs: number } =>
  kind === 'done' ? { max: retention.doneMax, ageMs: retention.doneMs } : { max: retention.failedMax, ageMs: retention.failedMs };

/** Which shards of a kind are to go now: so many that there are too many of, else those that ended at `untilMs` or before. */
export function planRemoval(
  retention: Retention,
  kind: EndedKind,
  numbers: Pick<Numbers, 'ended'>,
  nowMs: number,
  removalsMax: number,
): { untilMs: number; max: number } {
  const { max, ageMs } = boundsOf(retention, kind);
  const tooMany = numbers.ended[kind] - max;
  return tooMany > 0
    ? { untilMs: Number.MAX_SAFE_INTEGER, max: Math.min(tooMany, removalsMax) }
    : { untilMs: nowMs - ageMs, max: removalsMax };
}

/** When the next shard of a kind is to go; the oldest of them ended at `oldestMs`. */
export function removalDueMs(
  retention: Retention,
  kind: EndedKind,
  numbers: Pick<Numbers, 'ended' | 'clockMs'>,
  oldestMs: number | undefined,
): number | undefined {
  const { max, ageMs } = boundsOf(retention, kind);
  if (numbers.ended[kind] > max) return numbers.clockMs;
  return oldestMs === undefined ? undefined : oldestMs + ageMs;
}

export const endedKindOf = (state: string): EndedKind | undefined =>
  state === 'failed' ? 'failed' : state === 'completed' || state === 'cancelled' ? 'done' : undefined;
