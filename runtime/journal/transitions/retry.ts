/**
 * in: a shard that failed or was cancelled. out: whether this call put it back. Throws PDL_SHARD_STATE.
 * writes: failed or cancelled → pending, its attempts and losses forgotten. events: shard.retried.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { Ending, Moment } from '../journal.js';
import { toPending, untried } from './ending.js';
import type { Transition } from '../transition.js';

export function retry(transition: Transition, id: string, now: Moment): Ending {
  const before = transition.state(id);
  const { pipeline } = before;
  if (before.state === 'pending' && before.attempts === 0 && before.error === undefined)
    return { changed: false, pipeline, state: 'pending' };
  if (before.state !== 'failed' && before.state !== 'cancelled') {
    throw new PodlineError(
      'PDL_SHARD_STATE',
      `shard ${id} is ${before.state}: only what failed or was cancelled can be retried`,
      {
        ...(before.state === 'completed' ? { hint: 'To run stages of it again, resume it from a stage.' } : {}),
      },
    );
  }
  toPending(transition, id, before, now, 0, untried);
  transition.emit(
    { type: 'shard.retried', pipeline, shardId: id, data: { why: 'it was asked for', counted: false, delayMs: 0 } },
    now,
  );
  return { changed: true, pipeline, state: 'pending' };
}
