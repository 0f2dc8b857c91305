/** A completion that brings what takes the place of its shard: when the heart asks for it, and what becomes of the answer. */
import { describe, expect, it } from 'vitest';
import type { LineConfig } from '../../../runtime/line/types.js';
import { chainOf, pipelineOf } from '../../simulation/pipelines.js';
import { Heart, only } from '../../support/heart.js';

/** Shards loaded, their stages warm; a request that was made in between has brought nothing. */
function working(shards: readonly string[], length = 1, config: Partial<LineConfig> = {}): Heart {
  const heart = new Heart(pipelineOf(chainOf(length)), config);
  heart.tell({ type: 'tick' });
  for (const shard of shards) {
    heart.lease(shard);
    heart.loaded(shard);
  }
  if (heart.state.leasing) heart.tell({ type: 'leaseRequestEnded', queued: 0 });
  heart.warm();
  return heart;
}

/** Through all its stages, to the effects of its delivery. */
function completed(heart: Heart, shardId: string, stages = ['s0']): ReturnType<Heart['tell']> {
  for (const stage of stages) {
    heart.warm();
    heart.commit(stage, shardId);
  }
  return heart.tell({ type: 'delivered', shardId });
}

describe('a completion', () => {
  it('asks for what takes its place on a line of one resident, and no other request is made', () => {
    const heart = working(['a'], 1, { residentsMax: 1 });
    const requests = heart.count('lease');
    for (const [shard, next] of [
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'd'],
    ] as const) {
      expect(only(completed(heart, shard), 'complete')).toEqual([{ type: 'complete', shardId: shard, lease: { max: 1 } }]);
      expect(only(heart.tell({ type: 'ended', shardId: shard, epoch: 1 }), 'lease')).toEqual([]);
      expect(only(heart.lease(next, { queued: 5 }), 'load')).toMatchObject([{ shardId: next }]);
      heart.loaded(next);
    }
    expect(heart.count('lease')).toBe(requests);
  });

  it('is followed by a request that waits when it has brought nothing and the line is empty', () => {
    const heart = working(['a'], 1, { residentsMax: 1 });
    completed(heart, 'a');
    heart.tell({ type: 'ended', shardId: 'a', epoch: 1 });
    expect(only(heart.tell({ type: 'leaseRequestEnded', queued: 0 }), 'lease')).toEqual([{ type: 'lease', max: 1, wait: true }]);
  });

  it('asks although the last answer was empty and too few places are free for a request of its own', () => {
    const heart = working(['a', 'b'], 1, { residentsMax: 8 });
    expect(only(completed(heart, 'a'), 'complete')).toMatchObject([{ lease: { max: 7 } }]);
    const full = working(['a', 'b', 'c', 'd'], 1, { residentsMax: 4 });
    expect(only(completed(full, 'a'), 'complete')).toMatchObject([{ lease: { max: 1 } }]);
  });

  it('asks for no more than the memory that it gives back and what is free hold', () => {
    const heart = working(['a', 'b'], 1, { residentsMax: 8, scratchBytesMax: 35 });
    expect(only(completed(heart, 'a'), 'complete')).toMatchObject([{ lease: { max: 2 } }]);
  });

  it('asks for nothing while a request is under way, and holds the next one back while it asks itself', () => {
    const asking = new Heart(pipelineOf(chainOf(1)));
    asking.tell({ type: 'tick' });
    asking.lease('a');
    asking.loaded('a');
    asking.warm();
    expect(asking.state.leasing).toBe(true);
    expect(only(completed(asking, 'a'), 'complete')).toEqual([{ type: 'complete', shardId: 'a' }]);

    const heart = working(['a', 'b'], 1, { residentsMax: 2 });
    completed(heart, 'a');
    expect(only(completed(heart, 'b'), 'complete')).toEqual([{ type: 'complete', shardId: 'b' }]);
    expect(only(heart.tick(60_000), 'lease')).toEqual([]);
  });

  it.each([
    ['drained', { type: 'drain' }],
    ['paused', { type: 'paused', paused: true }],
  ] as const)('asks for nothing on a line that is %s', (_, event) => {
    const heart = working(['a']);
    heart.tell(event);
    expect(only(completed(heart, 'a'), 'complete')).toEqual([{ type: 'complete', shardId: 'a' }]);
  });

  it('asks for nothing while the others are beyond the first stage and that has left its slot', () => {
    const stages = ['s0', 's1', 's2', 's3'];
    const heart = working(['a', 'b'], 4, { residentsMax: 2, cores: 1 });
    for (const stage of stages) {
      heart.warm();
      heart.commit(stage);
      heart.warm();
      heart.commit(stage);
    }
    expect(heart.slotOf('s0')).toBe(-1);
    expect(only(heart.tell({ type: 'delivered', shardId: 'a' }), 'complete')).toEqual([{ type: 'complete', shardId: 'a' }]);
    heart.tell({ type: 'ended', shardId: 'a', epoch: 1 });
    expect(only(heart.tell({ type: 'delivered', shardId: 'b' }), 'complete')).toMatchObject([{ lease: { max: 2 } }]);
  });

  it('that is refused leaves the line free to ask', () => {
    const heart = working(['a'], 1, { residentsMax: 1 });
    completed(heart, 'a');
    heart.tell({ type: 'leaseLost', shardId: 'a', epoch: 1, reason: 'late' });
    expect(only(heart.tell({ type: 'leaseRequestEnded', queued: 0 }), 'lease')).toHaveLength(1);
  });
});

describe('leases that a completion has brought', () => {
  it('go back, uncounted, when the line was drained meanwhile', () => {
    const heart = working(['a'], 1, { residentsMax: 1 });
    completed(heart, 'a');
    heart.tell({ type: 'drain' });
    heart.tell({ type: 'ended', shardId: 'a', epoch: 1 });
    expect(only(heart.lease('b'), 'fail')).toMatchObject([{ shardId: 'b', counts: false }]);
  });
});
