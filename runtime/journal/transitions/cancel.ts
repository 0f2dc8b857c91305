/**
 * in: a shard. out: whether this call cancelled it. Throws PDL_SHARD_STATE when it has ended otherwise.
 * writes: pending or running → cancelled; the line that runs it hears so with its next heartbeat. events: shard.cancelled.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { Ending, Moment } from '../journal.js';
import { toEnd } from './ending.js';
import { compact } from '../records.js';
import type { Transition } from '../transition.js';

export function cancel(transition: Transition, id: string, now: Moment): Ending {
  const before = transition.state(id);
  const { pipeline } = before;
  if (before.state === 'cancelled') return { changed: false, pipeline, state: 'cancelled' };
  if (before.state !== 'pending' && before.state !== 'running') {
    throw new PodlineError('PDL_SHARD_STATE', `shard ${id} is ${before.state}: only what is pending or running can be cancelled`);
  }
  toEnd(transition, id, before, 'cancelled', now);
  const { key, trace, callback } = transition.body(id);
  const data = compact({ key, was: before.state, trace, callback: callback?.url });
  transition.emit({ type: 'shard.cancelled', pipeline, shardId: id, line: before.line, data }, now);
  return { changed: true, pipeline, state: 'cancelled' };
}
