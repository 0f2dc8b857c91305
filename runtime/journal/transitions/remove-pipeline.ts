/**
 * in: a pipeline, whether what waits or runs of it is cancelled, how many shards at most. out: how many went; `more`: call again.
 * Throws PDL_PIPELINE_UNKNOWN, and PDL_PIPELINE_BUSY before anything is changed.
 * writes: first the mark that it goes, under which nothing of it is submitted, leased or applied; shards → cancelled and forgotten; with the
 * last of them the pipeline. events: shard.cancelled for each that had not ended, pipeline.deleted at the end.
 */
import { PodlineError } from '../../contracts/errors.js';
import { endedKindOf } from '../retention.js';
import type { Moment, RemoveOutcome } from '../journal.js';
import type { Transition } from '../transition.js';
import { cancel as cancelShard } from './cancel.js';

export function removePipeline(transition: Transition, name: string, cancel: boolean, max: number, now: Moment): RemoveOutcome {
  const record = transition.pipeline(name);
  const { pending, running } = transition.counts(name);
  if (record.going !== true) {
    if (!cancel && pending + running > 0)
      throw new PodlineError(
        'PDL_PIPELINE_BUSY',
        `pipeline ${name} has ${String(pending)} shards that wait and ${String(running)} that run`,
      );
    transition.putPipeline({ ...record, going: true });
  }
  const ids = transition.tables.ofPipeline(name, max);
  let cancelled = 0;
  for (const id of ids) {
    if (endedKindOf(transition.state(id).state) === undefined) {
      cancelShard(transition, id, now);
      cancelled += 1;
    }
    transition.remove(id);
  }
  const more = ids.length === max;
  if (!more) {
    transition.removePipeline(name);
    transition.emit({ type: 'pipeline.deleted', pipeline: name, data: { revision: record.pipeline.revision } }, now);
  }
  return { cancelled, removed: ids.length, more };
}
