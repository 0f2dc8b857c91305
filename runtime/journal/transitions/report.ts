/**
 * in: what a line tells of its shards, and events. out: nothing; shards that are not the line's are passed over.
 * writes: the stages done, where they changed. events: those handed in.
 */
import type { ShardAtEpoch } from '../../contracts/line-api.js';
import type { Moment, NewEvent } from '../journal.js';
import type { Transition } from '../transition.js';

export function report(
  transition: Transition,
  line: string,
  shards: readonly (ShardAtEpoch & { stagesDone: string[] })[],
  events: readonly NewEvent[],
  now: Moment,
): void {
  for (const { shardId, epoch, stagesDone } of shards) {
    const state = transition.find(shardId);
    if (state?.state !== 'running' || state.line !== line || state.epoch !== epoch) continue;
    if (state.stagesDone.join('\n') !== stagesDone.join('\n')) transition.put(shardId, state, { ...state, stagesDone });
  }
  for (const event of events) transition.emit(event, now);
}
