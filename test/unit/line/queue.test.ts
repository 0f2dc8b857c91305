import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { affinityWaitMs, PendingQueue, type PendingShard } from '../../../runtime/line/pending.js';
import { isLeaseOver, planGrant, planRetry, timeLimitEndsMs, timeLimitError } from '../../../runtime/line/queue.js';

const policy = { limit: 3, backoff: { initialMs: 1_000, factor: 2, maxMs: 3_000 } };
const pending = (id: string, more: Partial<PendingShard> = {}): PendingShard => ({
  id,
  priority: 5,
  order: Number(id),
  notBeforeMs: 0,
  ...more,
});
const ids = (shards: readonly PendingShard[]): string[] => shards.map((shard) => shard.id);

describe('a shard that failed', () => {
  it('is tried again with a back-off that grows up to its bound', () => {
    expect([0, 1, 2].map((attempts) => planRetry(attempts, policy, true, 100))).toEqual([
      { outcome: 'retry', attempts: 1, notBeforeMs: 1_100 },
      { outcome: 'retry', attempts: 2, notBeforeMs: 2_100 },
      { outcome: 'retry', attempts: 3, notBeforeMs: 3_100 },
    ]);
  });

  it('becomes a dead letter after the last try, or at once when the error would come again', () => {
    expect(planRetry(3, policy, true, 0)).toMatchObject({
      outcome: 'deadLetter',
      attempts: 4,
      why: expect.stringContaining('4 times') as string,
    });
    expect(planRetry(0, policy, false, 0)).toMatchObject({ outcome: 'deadLetter', attempts: 1 });
  });
});

describe('time limits', () => {
  it('end what is pending or running too long, with the reason', () => {
    const limits = { pendingMs: 100, runningMs: 500 };
    const shard = { key: 'k', state: 'pending' as const, pendingSinceMs: 1_000 };
    expect(timeLimitError(shard, limits, 1_099)).toBeUndefined();
    expect(timeLimitError(shard, limits, 1_100)).toMatchObject({
      code: 'PDL_TIME_LIMIT',
      retry: 'never',
      message: 'shard "k" was pending longer than 100 ms',
    });
    expect(timeLimitEndsMs({ ...shard, state: 'running', startedAtMs: 2_000 }, limits)).toBe(2_500);
    expect(timeLimitEndsMs(shard, {})).toBeUndefined();
  });

  it('end a lease that was not renewed', () => {
    expect([isLeaseOver(0, 15, 14), isLeaseOver(0, 15, 15)]).toEqual([false, true]);
  });
});

describe('the share of a line', () => {
  it('is what it asked for while much waits, and an even part of the last ones', () => {
    expect(planGrant(8, 400, 4)).toBe(8);
    expect(planGrant(8, 10, 4)).toBe(3);
    expect(planGrant(8, 1, 4)).toBe(1);
    expect(planGrant(8, 0, 4)).toBe(0);
  });
});

describe('the queue', () => {
  it('gives out by priority, then in the order of submission', () => {
    const queue = new PendingQueue();
    for (const shard of [pending('3'), pending('1'), pending('2', { priority: 0 })]) queue.add(shard);
    expect(ids(queue.take('a', 3, 0))).toEqual(['2', '1', '3']);
    expect(queue.size).toBe(0);
  });

  it('keeps a shard that backs off until its time', () => {
    const queue = new PendingQueue();
    queue.add(pending('1', { notBeforeMs: 50 }));
    expect(queue.take('a', 1, 49)).toEqual([]);
    expect(queue.nextDueMs(49)).toBe(50);
    expect(queue.hasFor('a', 50)).toBe(true);
    expect(ids(queue.take('a', 1, 50))).toEqual(['1']);
  });

  it('leaves a shard to the line that has its streams, first and for a while', () => {
    const queue = new PendingQueue();
    queue.add(pending('1'));
    queue.add(pending('2', { affinity: { line: 'b', untilMs: affinityWaitMs } }));
    expect(ids(queue.take('a', 2, 0))).toEqual(['1']);
    queue.add(pending('1'));
    expect(ids(queue.take('b', 1, 0))).toEqual(['2']);
    queue.add(pending('2', { affinity: { line: 'b', untilMs: affinityWaitMs } }));
    expect(ids(queue.take('a', 2, affinityWaitMs))).toEqual(['1', '2']);
  });

  it('gives the shards of a line that is gone to any other', () => {
    const queue = new PendingQueue();
    queue.add(pending('1', { affinity: { line: 'b', untilMs: affinityWaitMs } }));
    queue.forgetLine('b');
    expect(ids(queue.take('a', 1, 0))).toEqual(['1']);
  });

  it('gives out each shard once for each time that it was put in, whatever happens in between', () => {
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('add' as const),
        id: fc.integer({ min: 0, max: 9 }),
        line: fc.option(fc.constantFrom('a', 'b')),
        delayMs: fc.nat(20),
      }),
      fc.record({ kind: fc.constant('take' as const), line: fc.constantFrom('a', 'b', 'c'), max: fc.nat(4) }),
      fc.record({ kind: fc.constant('remove' as const), id: fc.integer({ min: 0, max: 9 }) }),
      fc.record({ kind: fc.constant('forget' as const), line: fc.constantFrom('a', 'b') }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(15) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const queue = new PendingQueue();
        const inside = new Map<string, PendingShard>();
        let nowMs = 0;
        for (const act of actions) {
          if (act.kind === 'add') {
            const shard = pending(String(act.id), {
              notBeforeMs: nowMs + act.delayMs,
              affinity: act.line === null ? undefined : { line: act.line, untilMs: nowMs + 10 },
            });
            queue.add(shard);
            inside.set(shard.id, shard);
          } else if (act.kind === 'take') {
            for (const taken of queue.take(act.line, act.max, nowMs)) {
              expect(inside.get(taken.id)?.notBeforeMs).toBeLessThanOrEqual(nowMs);
              expect(inside.delete(taken.id)).toBe(true);
            }
          } else if (act.kind === 'remove') expect(queue.remove(String(act.id))).toBe(inside.delete(String(act.id)));
          else if (act.kind === 'forget') queue.forgetLine(act.line);
          else nowMs += act.ms;
          expect(queue.size).toBe(inside.size);
        }
        expect(ids(queue.take('c', 99, nowMs + 100)).toSorted()).toEqual([...inside.keys()].toSorted());
      }),
    );
  });
});
