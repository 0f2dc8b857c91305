/**
 * in: a line, a shard under an epoch, why it failed, whether that counts. out: what became of it. Throws PDL_LEASE_LOST.
 * writes: running → pending (at once if it was given back, else after a back-off) or failed. events: shard.retried or shard.failed.
 */
import type { WireError } from '../../contracts/errors.js';
import { limits } from '../../contracts/limits.js';
import type { ShardAtEpoch } from '../../contracts/line-api.js';
import { planRetry } from '../../line/queue.js';
import type { Ending, Moment } from '../journal.js';
import { fence, toDeadLetter, toPending } from './ending.js';
import type { Transition } from '../transition.js';

export function fail(
  transition: Transition,
  line: string,
  { shardId, epoch }: ShardAtEpoch,
  failure: { error: WireError; stage?: string | undefined; counts: boolean },
  now: Moment,
): Ending {
  const before = transition.state(shardId);
  const { pipeline } = before;
  if (before.failedEpoch === epoch && before.line === line && before.epoch === epoch)
    return { changed: false, pipeline, state: before.state };
  fence(shardId, before, line, epoch);
  const { trace } = transition.body(shardId);
  if (!failure.counts) {
    toPending(transition, shardId, before, now, 0, { failedEpoch: epoch });
    transition.emit(
      { type: 'shard.retried', pipeline, shardId, line, data: { why: failure.error.message, counted: false, delayMs: 0 } },
      now,
    );
    return { changed: true, pipeline, state: 'pending', trace };
  }
  const error: WireError = {
    ...failure.error,
    ...(failure.error.logTail === undefined ? {} : { logTail: failure.error.logTail.slice(-limits.logTailBytes) }),
  };
  if (error.place === undefined && failure.stage !== undefined) error.place = `stage ${failure.stage}`;
  const plan = planRetry(before.attempts, transition.pipeline(pipeline).rules.retries, error.retry === 'later', now.ms);
  const { attempts } = plan;
  if (plan.outcome === 'deadLetter') {
    toDeadLetter(transition, shardId, before, error, plan.why, now, { attempts, failedEpoch: epoch });
    return { changed: true, pipeline, state: 'failed', trace };
  }
  const delayMs = plan.notBeforeMs - now.ms;
  toPending(transition, shardId, before, now, delayMs, { attempts, error, failedEpoch: epoch });
  transition.emit(
    {
      type: 'shard.retried',
      pipeline,
      shardId,
      line,
      data: { why: error.message, code: error.code, stage: failure.stage, counted: true, attempts, delayMs },
    },
    now,
  );
  return { changed: true, pipeline, state: 'pending', trace };
}
