/**
 * in: a line, a shard under an epoch, its result and report. out: whether this call completed it. Throws PDL_LEASE_LOST.
 * writes: running → completed, result and report. events: shard.completed, once.
 */
import type { Complete } from '../../contracts/line-api.js';
import type { CompleteOutcome, Moment } from '../journal.js';
import { fence, toEnd } from './ending.js';
import { compact } from '../records.js';
import type { Transition } from '../transition.js';

export function complete(
  transition: Transition,
  line: string,
  { shardId, epoch, result, report }: Complete,
  now: Moment,
): CompleteOutcome {
  const before = transition.state(shardId);
  const { pipeline, waitedMs, ranMs } = before;
  if (before.state === 'completed' && before.epoch === epoch && before.line === line)
    return { changed: false, pipeline, state: 'completed', waitedMs, ranMs };
  fence(shardId, before, line, epoch);
  const stagesDone = report.stages.map((stage) => stage.stage);
  const after = toEnd(transition, shardId, before, 'completed', now, { stagesDone, error: undefined, resumeFrom: undefined });
  transition.putOutcome(shardId, { result, report });
  const { key, trace, callback } = transition.body(shardId);
  transition.emit(
    {
      type: 'shard.completed',
      pipeline,
      shardId,
      line,
      data: compact({
        key,
        dir: result.dir,
        files: result.files.length,
        hash: result.hash,
        resumedFrom: report.resumedFrom,
        ranMs: after.ranMs,
        trace,
        callback: callback?.url,
      }),
    },
    now,
  );
  return { changed: true, pipeline, state: 'completed', waitedMs: after.waitedMs, ranMs: after.ranMs };
}
