/** Pipelines, submissions and reports as tests of journal, coordinator and API need them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { noBytes } from '../../runtime/contracts/block.js';
import type { Complete, Heartbeat, LineHello } from '../../runtime/contracts/line-api.js';
import { pipelineSpecSchema, type Pipeline, type PipelineSpec } from '../../runtime/contracts/manifest.js';
import type { NewShard } from '../../runtime/journal/journal.js';

/** A folder that is gone after the test. */
export function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'podline-test-'));
  onTestFinished(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

export function pipelineOf(name = 'flights', spec: Partial<Record<keyof PipelineSpec, unknown>> = {}): Pipeline {
  const parsed = pipelineSpecSchema.parse({
    input: { format: 'csv' },
    stages: [
      { name: 'clean', uses: './clean.ts' },
      { name: 'score', uses: './score.ts', after: ['clean'] },
    ],
    ...spec,
  });
  return {
    name,
    revision: 0,
    spec: parsed,
    stages: parsed.stages.map((stage) => ({ ...stage, after: stage.after ?? ['input'], version: `v-${stage.name}` })),
    baseDir: '/data',
  };
}

export const shardOf = (key: string, more: Partial<NewShard> = {}): NewShard => ({
  key,
  source: { uri: `/data/${key}.csv`, format: 'csv' },
  parameters: {},
  resultDir: '/results',
  priority: 5,
  group: 'default',
  ...more,
});

export const shardsOf = (count: number, prefix = 'shard'): NewShard[] =>
  Array.from({ length: count }, (_, index) => shardOf(`${prefix}-${String(index)}`));

export const completeOf = (shardId: string, epoch: number): Complete => ({
  shardId,
  epoch,
  result: { dir: `/results/${shardId}`, files: [{ name: 'out.arrow', bytes: 10, sha256: 'aa' }], hash: 'bb' },
  report: {
    stages: ['clean', 'score'].map((stage) => ({
      stage,
      outcome: 'ran' as const,
      why: 'there was no checkpoint of it',
      runs: 1,
      blocksRun: 2,
      blocks: 2,
      rows: 100,
      bytes: { ...noBytes(), memory: { read: 1000, written: 500 } },
      workMs: 20,
      swapMs: stage === 'clean' ? 40 : 0,
      handoverMs: 0.05,
      slot: 0,
      executor: 'thread',
    })),
    load: { outcome: 'read', rows: 100, ms: 5, sourceReads: 1, bytes: noBytes() },
    checkpoints: { ssd: 1, major: 0, bytes: noBytes() },
    resumedFrom: 'source',
    bytes: { ...noBytes(), memory: { read: 2000, written: 1000 }, ssd: { read: 0, written: 700 } },
    swaps: 1,
    scratchPeakBytes: 4096,
  },
});

export const helloOf = (instance: string, more: Partial<LineHello> = {}): LineHello => ({
  pipeline: 'flights',
  instance,
  node: 'here',
  slots: 2,
  residents: [],
  ...more,
});

export const heartbeatOf = (
  instance: string,
  held: { shardId: string; epoch: number; stagesDone?: string[] }[] = [],
  more: Partial<Heartbeat> = {},
): Heartbeat => ({
  instance,
  shards: held.map(({ shardId, epoch, stagesDone = [] }) => ({ shardId, epoch, phase: 'stages', stagesDone, running: [] })),
  slots: [],
  scratch: { usedBytes: 10, sizeBytesMax: 100, spilledBytes: 0, reads: 'pread' },
  events: [],
  ...more,
});
