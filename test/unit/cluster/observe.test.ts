import { expect, it } from 'vitest';
import { observe } from '../../../runtime/cluster/observe.js';
import type { LineView } from '../../../runtime/contracts/views.js';
import type { Known } from '../../../runtime/cluster/intake.js';
import { pipelineOf } from '../../support/journal.js';

const pipeline = pipelineOf('small');
const view = (instance: string): LineView => ({
  ...{ line: 'small-0', pipeline: 'small', group: 'default', instance, node: 'n', state: 'active', silentMs: 0, revision: 1 },
  ...{ slots: [], shards: [] },
});

/** How many lines were heard of, where the pod that is there has the uid `new`. */
async function heardOf(line: LineView): Promise<number> {
  const seen = {
    line: 'small-0',
    pod: 'small-0',
    uid: 'new',
    group: 'default',
    faults: [],
    unschedulable: undefined,
    resizePending: undefined,
  };
  const desk = {
    pipeline: async () => ({
      ...{ name: 'small', revision: 1, paused: false, lines: 1, appliedAt: '' },
      counts: { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0 },
    }),
    lines: async () => [line],
    list: async () => ({ shards: [] }),
  };
  const known = {
    pipeline,
    manifest: pipeline,
    size: { stages: { peak: { memoryBytes: 1 }, sum: { memoryBytes: 1 } }, podBytes: 1 },
  };
  const resource = { apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', metadata: { name: 'small', generation: 1 } };
  const observed = await observe({ desk, pods: { linesOf: () => [seen] }, workload: 'kruise' }, resource, {
    known: known as unknown as Known,
    targets: [{ group: 'default', lines: 1 }],
    refusal: undefined,
    outdated: [],
  });
  return observed.lines.heard;
}

it('counts a line whose agent is one of the pod that is there, and not one of the pod before', async () => {
  expect(await heardOf(view('new.4f2a'))).toBe(1);
  expect(await heardOf(view('old.77b1'))).toBe(0);
});
