import { describe, expect, it } from 'vitest';
import { coordinatorFindings, machineFindings, type MachineFacts } from '../../../runtime/cli/findings.js';
import type { LineView, PipelineView } from '../../../runtime/contracts/views.js';

const mib = 1024 * 1024;
const machine: MachineFacts = {
  node: { version: '20.20.2', least: '20.19' },
  cores: 2,
  memoryBytes: 4096 * mib,
  sharedMemory: { dir: '/dev/shm', sizeBytes: 2048 * mib, freeBytes: 2000 * mib },
  whyNotNative: undefined,
};
const levels = (over: Partial<MachineFacts>): Record<string, string> =>
  Object.fromEntries(machineFindings({ ...machine, ...over }).map(({ about, level }) => [about, level]));

describe('what is found of a machine', () => {
  it('is well where all is there', () => {
    expect(levels({})).toEqual({ node: 'ok', machine: 'ok', 'shared memory': 'ok', 'native part': 'ok' });
  });

  it('is a Node that is too old, by its numbers and not by its letters', () => {
    expect(levels({ node: { version: '20.9.0', least: '20.19' } })).toMatchObject({ node: 'fault' });
    expect(levels({ node: { version: '24.1.0', least: '20.19' } })).toMatchObject({ node: 'ok' });
    expect(levels({ node: { version: '20.19.0', least: '20.19' } })).toMatchObject({ node: 'ok' });
  });

  it('is shared memory that is not there, or that a container has by default', () => {
    expect(levels({ sharedMemory: undefined })).toMatchObject({ 'shared memory': 'warning' });
    const sharedMemory = { dir: '/dev/shm', sizeBytes: 64 * mib, freeBytes: 64 * mib };
    expect(levels({ sharedMemory })).toMatchObject({ 'shared memory': 'warning' });
  });

  it('is why blocks are copied', () => {
    const [native] = machineFindings({ ...machine, whyNotNative: 'there is no prebuild x' }).filter(
      ({ level }) => level === 'note',
    );
    expect(native?.is).toContain('there is no prebuild x');
  });
});

const pipeline = (over: Partial<PipelineView> = {}): PipelineView => ({
  name: 'etl',
  revision: 1,
  paused: false,
  counts: { pending: 3, running: 1, completed: 0, failed: 0, cancelled: 0 },
  lines: 2,
  appliedAt: '2026-01-01T00:00:00.000Z',
  ...over,
});
const line = (name: string, node: string, over: Partial<LineView> = {}): LineView => ({
  line: name,
  pipeline: 'etl',
  group: 'default',
  instance: 'i',
  node,
  state: 'active',
  silentMs: 0,
  revision: 1,
  slots: [],
  shards: [],
  ...over,
});
const found = (of: PipelineView, lines: LineView[], isOneMachine = false): string[] =>
  coordinatorFindings([of], lines, isOneMachine).map(({ level, about, is }) => `${level} ${about}: ${is}`);

describe('what is found of a coordinator', () => {
  it('is a group on one machine, and not one that is spread', () => {
    expect(found(pipeline(), [line('etl-0', 'a'), line('etl-1', 'a')])).toEqual([
      'warning group default of etl: its 2 lines are all on node a: while that one is away, nothing of the group is worked on',
    ]);
    expect(found(pipeline(), [line('etl-0', 'a'), line('etl-1', 'b')])).toEqual([
      'ok pipeline etl: 3 shards to do, 1 in work',
      'ok group default of etl: 2 lines on 2 nodes',
    ]);
    const mixed = [line('etl-0', 'a'), line('etl-1', 'b'), line('etl-big-0', 'b', { group: 'big' })];
    expect(found(pipeline(), mixed).filter((text) => text.startsWith('warning'))).toEqual([
      'warning group big of etl: its only line is on node b: while that one is away, nothing of the group is worked on',
    ]);
  });

  it('is no matter of machines where all are on one', () => {
    expect(found(pipeline(), [line('1', 'laptop')], true)).toEqual(['ok pipeline etl: 3 shards to do, 1 in work']);
  });

  it('does not count a line that nobody hears', () => {
    expect(found(pipeline(), [line('etl-0', 'a'), line('etl-1', 'b', { state: 'silent', silentMs: 45_000 })])).toEqual([
      'warning line etl-1: on node b, has not been heard for 45 s: its shards go to other lines',
      'warning group default of etl: its only line is on node a: while that one is away, nothing of the group is worked on',
    ]);
  });

  it('is why nothing goes on', () => {
    const because = 'memory of quota team: 0 of 4 Gi are left';
    expect(found(pipeline({ flow: { linesMax: 0, because, groups: [] } }), [])).toEqual([
      `warning pipeline etl: no line fits into its quota: ${because}`,
    ]);
    expect(found(pipeline(), [])).toEqual(['warning pipeline etl: 3 shards to do, and no line']);
    expect(found(pipeline({ paused: true }), [])).toEqual(['note pipeline etl: paused: its lines take no new shards']);
    const counts = { pending: 0, running: 0, completed: 7, failed: 2, cancelled: 0 };
    expect(found(pipeline({ counts }), [])).toEqual(['warning pipeline etl: failed for good: 2 shards']);
    const pace = { batch: 1, pause: 'full' as const, why: '100,000 of 100,000 wait' };
    expect(found(pipeline({ pace }), [], true)).toContain('warning pipeline etl: takes no more shards: 100,000 of 100,000 wait');
  });
});
