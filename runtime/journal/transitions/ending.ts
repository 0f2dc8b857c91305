/** Steps that several transitions share: the fence, and the ways back into the queue and out of it. */
import { PodlineError, type WireError } from '../../contracts/errors.js';
import { timeLimitEndsMs } from '../../line/queue.js';
import type { Moment } from '../journal.js';
import { compact, type StateRecord } from '../records.js';
import type { Transition } from '../transition.js';

/** Throws PDL_LEASE_LOST unless the shard is running on this line under this epoch. */
export function fence(id: string, state: StateRecord, line: string, epoch: number): void {
  if (state.state === 'running' && state.epoch === epoch && state.line === line) return;
  const now =
    state.state !== 'running'
      ? `it is ${state.state}`
      : state.line === line
        ? `its epoch is ${String(state.epoch)}`
        : `line ${state.line ?? '?'} has it under epoch ${String(state.epoch)}`;
  throw new PodlineError('PDL_LEASE_LOST', `line ${line} has no lease of shard ${id} under epoch ${String(epoch)}: ${now}`);
}

/** A copy of the state of a shard that goes over to another: time in the one that it leaves is added up. */
export function left(before: StateRecord, now: Moment, state: StateRecord['state']): StateRecord {
  const spentMs = Math.max(0, now.ms - before.sinceMs);
  const after = { ...before };
  if (before.state === 'pending') after.waitedMs += spentMs;
  if (before.state === 'running') after.ranMs += spentMs;
  after.state = state;
  after.sinceMs = now.ms;
  return after;
}

/** What a shard is that has not been tried yet, or is to be as if it had not. */
export const untried = {
  attempts: 0,
  losses: 0,
  waitedMs: 0,
  ranMs: 0,
  startedAt: undefined,
  error: undefined,
} satisfies Partial<StateRecord>;

/** Puts a shard back into the queue, at once or after a back-off. */
export function toPending(
  transition: Transition,
  id: string,
  before: StateRecord,
  now: Moment,
  delayMs: number,
  changes: Partial<StateRecord>,
): StateRecord {
  const after = left(before, now, 'pending');
  after.dueMs = delayMs > 0 ? now.ms + delayMs : undefined;
  after.notBefore = delayMs > 0 ? new Date(Date.parse(now.at) + delayMs).toISOString() : undefined;
  after.limitMs = timeLimitEndsMs(
    { key: id, state: 'pending', pendingSinceMs: now.ms + delayMs },
    transition.pipeline(before.pipeline).rules.timeLimits,
  );
  after.endedAt = undefined;
  Object.assign(after, changes);
  transition.put(id, before, after);
  return after;
}

/** Ends a shard for good, or until somebody retries it. */
export function toEnd(
  transition: Transition,
  id: string,
  before: StateRecord,
  state: 'completed' | 'failed' | 'cancelled',
  now: Moment,
  changes: Partial<StateRecord> = {},
): StateRecord {
  const after = left(before, now, state);
  after.dueMs = undefined;
  after.notBefore = undefined;
  after.limitMs = undefined;
  after.endedAt = now.at;
  Object.assign(after, changes);
  transition.put(id, before, after);
  return after;
}

/** A dead letter: it stays with its reason and log tail until it is retried. */
export function toDeadLetter(
  transition: Transition,
  id: string,
  before: StateRecord,
  error: WireError,
  why: string,
  now: Moment,
  changes: Partial<StateRecord> = {},
): void {
  toEnd(transition, id, before, 'failed', now, { ...changes, error });
  const { key, trace, callback } = transition.body(id);
  transition.emit(
    {
      type: 'shard.failed',
      pipeline: before.pipeline,
      shardId: id,
      line: before.line,
      data: compact({
        key,
        code: error.code,
        message: error.message,
        place: error.place,
        why,
        attempts: changes.attempts ?? before.attempts,
        logTail: error.logTail,
        trace,
        callback: callback?.url,
      }),
    },
    now,
  );
}
