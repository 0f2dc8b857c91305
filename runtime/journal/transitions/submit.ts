/**
 * in: a pipeline, new shards. out: accepted, duplicate or full, for each, in order.
 * writes: body, state and unique key of each accepted shard. events: shard.submitted for each.
 */
import { timeLimitEndsMs } from '../../line/queue.js';
import type { Moment, NewShard, SubmitOutcome } from '../journal.js';
import type { BodyRecord } from '../records.js';
import type { Transition } from '../transition.js';

export function submit(transition: Transition, name: string, shards: readonly NewShard[], now: Moment): SubmitOutcome[] {
  const { rules } = transition.standingPipeline(name);
  const counts = transition.counts(name);
  return shards.map((shard): SubmitOutcome => {
    const { key, source, parameters, resultDir, priority, group, trace, callback } = shard;
    const existing = transition.tables.idOf(name, key);
    if (existing !== undefined) return { outcome: 'duplicate', id: existing, state: transition.state(existing).state };
    const { pending } = counts;
    if (pending >= rules.pendingMax) return { outcome: 'full', pending };
    const body: BodyRecord = { pipeline: name, key, source, parameters, resultDir, submittedAt: now.at };
    if (trace !== undefined) body.trace = trace;
    if (callback !== undefined) body.callback = callback;
    const limitMs = timeLimitEndsMs({ key, state: 'pending', pendingSinceMs: now.ms }, rules.timeLimits);
    const id = transition.submit(body, { priority, group, sinceMs: now.ms, limitMs });
    transition.emit(
      { type: 'shard.submitted', pipeline: name, shardId: id, data: trace === undefined ? { key } : { key, trace } },
      now,
    );
    return { outcome: 'accepted', id };
  });
}
