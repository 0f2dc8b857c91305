/**
 * in: a pipeline, new shards. out: accepted, duplicate or full, for each, in order.
 * writes: body, state and unique key of each accepted shard. events: shard.submitted for each.
 */
import { timeLimitEndsMs } from '../../line/queue.js';
import type { Moment, NewShard, SubmitOutcome } from '../journal.js';
import { keyOf } from './records.js';
import type { Transition } from './transition.js';

export function submit(transition: Transition, name: string, shards: readonly NewShard[], now: Moment): SubmitOutcome[] {
  const { rules } = transition.pipeline(name);
  return shards.map((shard): SubmitOutcome => {
    const unique = keyOf.unique(name, shard.key);
    const existing = transition.tables.index.get(unique);
    if (existing !== undefined) return { outcome: 'duplicate', id: existing, state: transition.state(existing).state };
    const { pending } = transition.counts(name);
    if (pending >= rules.pendingMax) return { outcome: 'full', pending };
    const { seq, id } = transition.nextSeq(name);
    const { key, source, parameters, resultDir, priority, group } = shard;
    transition.putUnchecked('bodies', id, { pipeline: name, key, source, parameters, resultDir, submittedAt: now.at });
    transition.putUnchecked('index', unique, id);
    transition.put(id, undefined, {
      pipeline: name,
      seq,
      priority,
      group,
      state: 'pending',
      epoch: 0,
      attempts: 0,
      losses: 0,
      sinceMs: now.ms,
      waitedMs: 0,
      ranMs: 0,
      stagesDone: [],
      limitMs: timeLimitEndsMs({ key, state: 'pending', pendingSinceMs: now.ms }, rules.timeLimits),
    });
    transition.emit({ type: 'shard.submitted', pipeline: name, shardId: id, data: { key } }, now);
    return { outcome: 'accepted', id };
  });
}
