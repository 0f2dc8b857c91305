/**
 * Decisions of the coordinator about shards that wait: whether a failed one is tried again and when, how many a line gets at
 * once, and what is overdue. Which one a line gets is the journal's. Pure; times are the coordinator's monotonic clock, in ms.
 */
import type { WireError } from '../contracts/errors.js';
import { backoffMs, type Backoff } from './backoff.js';
import { wireError } from './endings.js';

export interface RetryPolicy {
  /** How often a shard is leased again after it failed. */
  limit: number;
  backoff: Backoff;
}

export type RetryPlan =
  /** Pending again; may be leased from `notBeforeMs` on. */
  | { outcome: 'retry'; attempts: number; notBeforeMs: number }
  /** Failed for good: a dead letter, `why` in words. */
  | { outcome: 'deadLetter'; attempts: number; why: string };

/** After a failure that counts. `attempts`: failures before this one; `retryable`: the error says `later`. */
export function planRetry(attempts: number, policy: RetryPolicy, retryable: boolean, nowMs: number): RetryPlan {
  const failures = attempts + 1;
  if (!retryable) return { outcome: 'deadLetter', attempts: failures, why: 'the error would come again with the same input' };
  if (failures > policy.limit)
    return {
      outcome: 'deadLetter',
      attempts: failures,
      why: `it failed ${String(failures)} times; \`retries.limit\` is ${String(policy.limit)}`,
    };
  return { outcome: 'retry', attempts: failures, notBeforeMs: nowMs + backoffMs(policy.backoff, failures) };
}

/**
 * How many of the shards that a line asked for it gets: no more than its share of what waits, so that the last ones do not pile up
 * on one line while others have nothing; at least one.
 */
export function planGrant(asked: number, waiting: number, liveLines: number): number {
  return Math.min(asked, waiting, Math.max(1, Math.ceil(waiting / Math.max(1, liveLines))));
}

export interface TimeLimits {
  pendingMs?: number | undefined;
  runningMs?: number | undefined;
}

export interface TimedShard {
  key: string;
  state: 'pending' | 'running';
  /** When it was submitted, or became pending again. */
  pendingSinceMs: number;
  /** When it was first leased. */
  startedAtMs?: number | undefined;
}

/** When the time limit of a shard ends, if there is one. */
export function timeLimitEndsMs(shard: TimedShard, limits: TimeLimits): number | undefined {
  if (shard.state === 'pending') return limits.pendingMs === undefined ? undefined : shard.pendingSinceMs + limits.pendingMs;
  return limits.runningMs === undefined || shard.startedAtMs === undefined ? undefined : shard.startedAtMs + limits.runningMs;
}

/** The reason to fail a shard whose time is over; undefined while it is not. */
export function timeLimitError(shard: TimedShard, limits: TimeLimits, nowMs: number): WireError | undefined {
  const endsMs = timeLimitEndsMs(shard, limits);
  if (endsMs === undefined || endsMs > nowMs) return undefined;
  const limitMs = shard.state === 'pending' ? limits.pendingMs : limits.runningMs;
  return wireError(
    'PDL_TIME_LIMIT',
    `shard "${shard.key}" was ${shard.state} longer than ${String(limitMs)} ms`,
    `spec.timeLimits.${shard.state}`,
  );
}

/** A lease ends `ttlMs` after it was last renewed. A line is lost when it was not heard of for as long. */
export const leaseEndsMs = (renewedAtMs: number, ttlMs: number): number => renewedAtMs + ttlMs;
export const isLeaseOver = (renewedAtMs: number, ttlMs: number, nowMs: number): boolean =>
  leaseEndsMs(renewedAtMs, ttlMs) <= nowMs;
