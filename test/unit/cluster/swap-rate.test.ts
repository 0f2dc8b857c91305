import { expect, it } from 'vitest';
import { SwapRate } from '../../../runtime/cluster/swap-rate.js';
import { silentLogger } from '../../../runtime/platform/logger.js';

it('swaps beyond the rate wait, and the log says when that begins and when it has ended', async () => {
  let nowMs = 0;
  const delays: number[] = [];
  const told: unknown[] = [];
  const rate = new SwapRate({
    swapsPerSecondMax: 2,
    nowMs: () => nowMs,
    delay: (ms) => {
      delays.push(ms);
      return Promise.resolve();
    },
    logger: { ...silentLogger, info: (fields: unknown) => told.push(fields) },
  });
  for (let swap = 0; swap < 4; swap += 1) await rate.wait();
  expect(delays).toEqual([500, 1_000]);
  expect(told).toEqual([{ swapsPerSecondMax: 2, waitMs: 500 }]);
  nowMs = 10_000;
  await rate.wait();
  await rate.wait();
  expect(delays).toHaveLength(2);
  expect(told.slice(1)).toEqual([{ swapsPerSecondMax: 2, waits: 2, forMs: 10_000 }]);
});
