/**
 * in: a shard, a stage. out: that it waits. Throws PDL_SHARD_STATE while it runs.
 * writes: pending, completed, failed or cancelled → pending, to be run again from the stage; its result is forgotten. events: shard.resumed.
 */
import { PodlineError } from '../../contracts/errors.js';
import type { Ending, Moment } from '../journal.js';
import { toPending, untried } from './ending.js';
import type { Transition } from '../transition.js';

export function resume(transition: Transition, id: string, stage: string, now: Moment): Ending {
  const before = transition.state(id);
  const { pipeline } = before;
  if (before.state === 'running') {
    throw new PodlineError('PDL_SHARD_STATE', `shard ${id} is running on line ${before.line ?? '?'}`, {
      hint: 'Cancel it first, or wait until it has ended.',
    });
  }
  if (before.state === 'pending' && before.resumeFrom === stage) return { changed: false, pipeline, state: 'pending' };
  toPending(transition, id, before, now, 0, { ...untried, resumeFrom: stage, stagesDone: [] });
  transition.putOutcome(id, undefined);
  transition.emit({ type: 'shard.resumed', pipeline, shardId: id, data: { from: stage, was: before.state } }, now);
  return { changed: true, pipeline, state: 'pending' };
}
