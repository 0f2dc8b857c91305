/**
 * in: a line of a group, how many it wants, what lies on it. out: leases under new epochs.
 * writes: pending → running; shards that the line held before it was started anew → running under the next epoch, or back to pending.
 * events: shard.leased for each.
 */
import type { Lease } from '../../contracts/line-api.js';
import { timeLimitEndsMs } from '../../line/queue.js';
import type { LeaseOutcome, LeaseQuery, Moment } from '../journal.js';
import { left } from './ending.js';
import { giveUpOrRequeue } from './expire.js';
import { isQueued, type StateRecord } from '../records.js';
import type { Transition } from '../transition.js';

export function lease(
  transition: Transition,
  { pipeline: name, line, group, instance, max, freshMax, prefer, reclaim }: LeaseQuery,
  now: Moment,
): LeaseOutcome {
  const { paused, rules } = transition.standingPipeline(name);
  const leases: Lease[] = [];
  const take = (id: string, before: StateRecord, losses = before.losses): void => {
    const after = left(before, now, 'running');
    after.line = line;
    after.instance = instance;
    after.epoch += 1;
    after.losses = losses;
    after.dueMs = undefined;
    after.notBefore = undefined;
    after.limitMs = timeLimitEndsMs(
      { key: id, state: 'running', pendingSinceMs: now.ms, startedAtMs: now.ms - after.ranMs },
      rules.timeLimits,
    );
    after.startedAt ??= now.at;
    transition.put(id, before, after);
    transition.emit(
      { type: 'shard.leased', pipeline: name, shardId: id, line, data: { epoch: after.epoch, attempts: after.attempts } },
      now,
    );
    const { key, source, parameters, resultDir, trace } = transition.body(id);
    leases.push({
      shardId: id,
      key,
      epoch: after.epoch,
      attempts: after.attempts,
      source,
      parameters,
      resultDir,
      ...(after.resumeFrom === undefined ? {} : { resumeFrom: after.resumeFrom }),
      ...(trace === undefined ? {} : { trace }),
    });
  };

  for (const id of reclaim) {
    const state = transition.find(id);
    if (state?.state !== 'running' || state.line !== line || state.pipeline !== name) continue;
    const stays = !paused && state.group === group && leases.length < max && state.losses < rules.lostLeasesMax;
    if (stays) take(id, state, state.losses + 1);
    else giveUpOrRequeue(transition, id, state, `line ${line} was started anew`, now);
  }
  if (!paused) {
    const most = Math.min(max, leases.length + freshMax);
    for (const id of prefer) {
      if (leases.length >= most) break;
      const state = transition.find(id);
      if (state !== undefined && isQueued(state) && state.pipeline === name && state.group === group) take(id, state);
    }
    const front = transition.tables.queued(name, group, Math.max(0, most - leases.length));
    for (const id of front) take(id, transition.state(id));
  }
  return { leases, waiting: transition.counts(name).queued[group] ?? 0, paused };
}
