import { describe, expect, it } from 'vitest';
import { isLeaseOver, planGrant, planRetry, timeLimitEndsMs, timeLimitError } from '../../../runtime/line/queue.js';

const policy = { limit: 3, backoff: { initialMs: 1_000, factor: 2, maxMs: 3_000 } };
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
