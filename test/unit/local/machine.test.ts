import { expect, it } from 'vitest';
import { planLinesMax } from '../../../runtime/line/quota.js';
import { machineCapacity } from '../../../runtime/local/machine.js';
import { pipelineOf } from '../../support/journal.js';

const machine = machineCapacity({ cores: 2, memoryBytes: 8 * 2 ** 30 });
const linesMax = (spec: Record<string, unknown>): number | undefined => {
  const pipeline = pipelineOf('flights', spec);
  const { perLine, refusals } = machine.costOf(pipeline);
  return planLinesMax({ perLine, refusals, quotas: machine.quotas() }).linesMax;
};

it('has room for one line of a manifest that was written for larger machines, and for as many as fit of others', () => {
  expect(linesMax({ resources: { cpu: 16, memory: '64Gi', devices: { 'nvidia.com/gpu': 1 } } })).toBe(1);
  expect(linesMax({ resources: { cpu: 1 } })).toBe(2);
  expect(linesMax({ resources: { memory: '2Gi' } })).toBe(4);
});
