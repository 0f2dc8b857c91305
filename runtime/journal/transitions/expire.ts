/**
 * in: leases whose line is lost, and why. out: which of them went back or were given up.
 * writes: running → pending, or failed once the shard has outlived `lostLeasesMax` lines. events: shard.retried or shard.failed.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { ShardAtEpoch } from '../../contracts/line-api.js';
import type { Moment, RunningShard } from '../journal.js';
import { toDeadLetter, toPending } from './ending.js';
import type { StateRecord } from '../records.js';
import type { Transition } from '../transition.js';

export function expire(transition: Transition, shards: readonly ShardAtEpoch[], reason: string, now: Moment): RunningShard[] {
  const ended: RunningShard[] = [];
  for (const { shardId, epoch } of shards) {
    const state = transition.find(shardId);
    if (state?.state !== 'running' || state.epoch !== epoch) continue;
    giveUpOrRequeue(transition, shardId, state, reason, now);
    ended.push({ shardId, epoch, pipeline: state.pipeline, line: state.line ?? '', instance: state.instance ?? '' });
  }
  return ended;
}

export function giveUpOrRequeue(transition: Transition, id: string, state: StateRecord, reason: string, now: Moment): void {
  const losses = state.losses + 1;
  const most = transition.pipeline(state.pipeline).rules.lostLeasesMax;
  if (losses > most) {
    const error = new PodlineError(
      'PDL_STAGE_DIED',
      `${String(losses)} lines were lost while they worked on shard ${id}; the last: ${reason}`,
      {
        hint: 'The shard may be what ends them: look at its memory, then retry it.',
        retry: 'never',
      },
    );
    toDeadLetter(transition, id, state, error.toWire(), reason, now, { losses });
    return;
  }
  toPending(transition, id, state, now, 0, { losses });
  transition.emit(
    {
      type: 'shard.retried',
      pipeline: state.pipeline,
      shardId: id,
      line: state.line,
      data: { why: reason, counted: false, delayMs: 0 },
    },
    now,
  );
}
