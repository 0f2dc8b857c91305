import { describe, expect, it } from 'vitest';
import { WorkQueue } from '../../../runtime/cluster/work-queue.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { ManualClock } from '../../support/manual-clock.js';

interface Call {
  key: string;
  end: (error?: Error) => Promise<void>;
}

function queueOf(bounds: { workersMax?: number; keysMax?: number; gapMs?: number } = {}) {
  const clock = new ManualClock();
  const calls: Call[] = [];
  const queue = new WorkQueue({
    work: (key) =>
      new Promise((resolve, reject) => {
        calls.push({
          key,
          end: async (error) => {
            if (error === undefined) resolve();
            else reject(error);
            await settle();
          },
        });
      }),
    clock,
    random: () => 1,
    logger: silentLogger,
    workersMax: 2,
    keysMax: 100,
    gapMs: 0,
    backoffMs: { initial: 100, max: 400 },
    ...bounds,
  });
  return { clock, queue, calls, keys: () => calls.map(({ key }) => key) };
}
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('the work queue', () => {
  it('works once on a key that is named often before its time', async () => {
    const { clock, queue, keys } = queueOf();
    queue.add('a');
    queue.add('a');
    queue.add('a', 50);
    clock.step(1_000);
    await settle();
    expect(keys()).toEqual(['a']);
  });

  it('works once more on a key that is named while it is worked on, and never twice at a time', async () => {
    const { clock, queue, calls, keys } = queueOf();
    queue.add('a');
    clock.step(0);
    queue.add('a');
    queue.add('a');
    clock.step(1_000);
    expect(keys()).toEqual(['a']);
    await calls[0]?.end();
    clock.step(0);
    expect(keys()).toEqual(['a', 'a']);
    await calls[1]?.end();
    clock.step(1_000);
    expect(keys()).toEqual(['a', 'a']);
    expect(queue.isIdle).toBe(true);
  });

  it('works on different keys side by side, as many as there are workers', async () => {
    const { clock, queue, calls, keys } = queueOf();
    for (const key of ['a', 'b', 'c']) queue.add(key);
    clock.step(0);
    expect(keys()).toEqual(['a', 'b']);
    await calls[1]?.end();
    expect(keys()).toEqual(['a', 'b', 'c']);
  });

  it('tries again what failed, with waits that grow up to a bound, and forgets them after a success', async () => {
    const { clock, queue, calls } = queueOf();
    queue.add('a');
    clock.step(0);
    const waits: number[] = [];
    for (let failure = 0; failure < 4; failure += 1) {
      await calls.at(-1)?.end(new Error('away'));
      const beganMs = clock.nowMs();
      const before = calls.length;
      while (calls.length === before) clock.step(10);
      waits.push(clock.nowMs() - beganMs);
    }
    expect(waits).toEqual([100, 200, 400, 400]);
    expect(queue.failuresOf('a')).toBe(4);
    await calls.at(-1)?.end();
    expect(queue.failuresOf('a')).toBe(0);
  });

  it('lets a gap between two calls of one key, however often it is named', async () => {
    const { clock, queue, calls, keys } = queueOf({ gapMs: 500 });
    queue.add('a');
    clock.step(0);
    await calls[0]?.end();
    queue.add('a');
    clock.step(499);
    expect(keys()).toEqual(['a']);
    clock.step(1);
    expect(keys()).toEqual(['a', 'a']);
  });

  it('takes the earlier of two times', () => {
    const { clock, queue, keys } = queueOf();
    queue.add('a', 1_000);
    queue.add('a', 100);
    queue.add('a', 5_000);
    clock.step(100);
    expect(keys()).toEqual(['a']);
  });

  it('refuses a key above its bound, and takes it once another was forgotten', async () => {
    const { clock, queue, calls, keys } = queueOf({ keysMax: 1 });
    queue.add('a');
    queue.add('b');
    clock.step(0);
    await calls[0]?.end();
    expect(keys()).toEqual(['a']);
    queue.forget('a');
    queue.add('b');
    clock.step(0);
    expect(keys()).toEqual(['a', 'b']);
  });

  it('waits for calls that are under way when it is closed, and begins no more', async () => {
    const { clock, queue, calls, keys } = queueOf();
    queue.add('a');
    queue.add('b', 100);
    clock.step(0);
    let closed = false;
    const closing = queue.close().then(() => {
      closed = true;
    });
    await settle();
    expect(closed).toBe(false);
    await calls[0]?.end();
    await closing;
    queue.add('c');
    clock.step(1_000);
    expect(keys()).toEqual(['a']);
  });
});
