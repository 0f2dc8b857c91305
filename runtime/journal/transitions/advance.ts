/**
 * in: the time, how many timers at most. out: pipelines that have work now, shards that were stopped, whether more is due.
 * writes: the end of a back-off → into the queue; the end of a time limit → failed; what retention keeps no longer is removed. events: shard.failed for the latter.
 */
import { timeLimitEndsMs, timeLimitError, type TimedShard } from '../../line/queue.js';
import type { AdvanceOutcome, Moment } from '../journal.js';
import { toDeadLetter } from './ending.js';
import type { WireError } from '../../contracts/errors.js';
import { endedKinds, planRemoval } from '../retention.js';
import type { StateRecord } from '../records.js';
import type { Transition } from '../transition.js';

export function advance(transition: Transition, now: Moment, max: number): AdvanceOutcome {
  const woken = new Set<string>();
  const stopped: string[] = [];
  const due = transition.tables.due(now.ms, max);
  for (const id of due) {
    const state = transition.state(id);
    const overdue = overdueError(transition, id, state, now);
    if (overdue !== undefined) {
      if (state.state === 'running') stopped.push(id);
      toDeadLetter(transition, id, state, overdue, `its time limit for ${state.state} shards was over`, now);
    } else if (state.limitMs !== undefined && state.limitMs <= now.ms) {
      // The pipeline was applied anew with another limit, or none.
      transition.put(id, state, { ...state, limitMs: limitOf(transition, id, state) });
    } else if (state.dueMs !== undefined && state.dueMs <= now.ms) {
      transition.put(id, state, { ...state, dueMs: undefined, notBefore: undefined });
      woken.add(state.pipeline);
    }
  }
  const room = max - due.length;
  const isLeft = room > 0 && forget(transition, now, room);
  return { woken: [...woken], stopped, more: room === 0 || isLeft };
}

/** What is kept no longer, at most so much of each kind; true when there may be more of it. */
function forget(transition: Transition, now: Moment, max: number): boolean {
  const { tables, retention } = transition;
  let isLeft = false;
  for (const kind of endedKinds) {
    const plan = planRemoval(retention, kind, tables.numbers, now.ms, max);
    const ids = tables.ended(kind, plan.untilMs, plan.max);
    for (const id of ids) transition.remove(id);
    isLeft ||= ids.length === max;
  }
  const lastId = tables.eventsUntil(now.ms - retention.eventsMs, max);
  if (lastId === undefined) return isLeft;
  isLeft ||= lastId - tables.numbers.firstEventId + 1 >= max;
  transition.dropEvents(lastId);
  return isLeft;
}

const timed = (transition: Transition, id: string, state: StateRecord): TimedShard => ({
  key: transition.body(id).key,
  state: state.state === 'running' ? 'running' : 'pending',
  pendingSinceMs: Math.max(state.sinceMs, state.dueMs ?? 0),
  startedAtMs: state.sinceMs - state.ranMs,
});

const limitOf = (transition: Transition, id: string, state: StateRecord): number | undefined =>
  timeLimitEndsMs(timed(transition, id, state), transition.pipeline(state.pipeline).rules.timeLimits);

function overdueError(transition: Transition, id: string, state: StateRecord, now: Moment): WireError | undefined {
  if (state.limitMs === undefined || state.limitMs > now.ms) return undefined;
  return timeLimitError(timed(transition, id, state), transition.pipeline(state.pipeline).rules.timeLimits, now.ms);
}
