/**
 * in: a pipeline, whether it is paused. out: whether that changed. Paused: nothing of it is leased; what runs goes on.
 * writes: the pipeline. events: pipeline.paused or pipeline.resumed.
 */
import type { Changed, Moment } from '../journal.js';
import type { Transition } from '../transition.js';

export function setPaused(transition: Transition, name: string, paused: boolean, now: Moment): Changed {
  const record = transition.standingPipeline(name);
  if (record.paused === paused) return { changed: false };
  transition.putPipeline({ ...record, paused });
  transition.emit({ type: paused ? 'pipeline.paused' : 'pipeline.resumed', pipeline: name, data: {} }, now);
  return { changed: true };
}
