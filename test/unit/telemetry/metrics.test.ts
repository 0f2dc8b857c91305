import perfHooks from 'node:perf_hooks';
import { expect, it, onTestFinished, vi } from 'vitest';
import { createMetrics } from '../../../runtime/telemetry/metrics.js';

it('a process that has nothing to do is woken ten times a second, and no more, to see whether its event loop is late', () => {
  const asked = vi.spyOn(perfHooks, 'monitorEventLoopDelay');
  onTestFinished(() => {
    asked.mockRestore();
  });
  createMetrics().close();
  expect(asked.mock.calls).toEqual([[{ resolution: 100 }]]);
});
