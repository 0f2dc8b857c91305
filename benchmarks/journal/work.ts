/** Shards, leases and completions for the journal's benchmark: small, as those are that a journal is full of. */
import { noBytes } from '../../runtime/contracts/block.js';
import type { Complete } from '../../runtime/contracts/line-api.js';
import { pipelineSpecSchema, type Pipeline } from '../../runtime/contracts/manifest.js';
import type { Journal, LeaseQuery, Moment, NewShard } from '../../runtime/journal/journal.js';

export const pipelineName = 'bench';
const spec = pipelineSpecSchema.parse({
  input: { format: 'csv' },
  stages: [{ name: 'clean', uses: './clean.ts' }],
  result: { dir: '/results' },
});
export const pipelineOnWire: Pipeline = {
  name: pipelineName,
  revision: 0,
  spec,
  stages: spec.stages.map((stage) => ({ ...stage, after: stage.after ?? ['input'], version: 'v1' })),
  baseDir: '/data',
};
const rules = {
  retries: { limit: 2, backoff: { initialMs: 1_000, factor: 2, maxMs: 10_000 } },
  timeLimits: {},
  pendingMax: 5_000_000,
  lostLeasesMax: 3,
};

export const now = (): Moment => ({ ms: performance.now(), at: new Date().toISOString() });

export const shardOf = (index: number): NewShard => ({
  key: `day-${String(index)}`,
  source: { uri: `/data/day-${String(index)}.csv`, format: 'csv' },
  parameters: {},
  resultDir: '/results',
  priority: 5,
  group: 'default',
});

/** As a program writes it. */
export const submissionOf = (index: number): { key: string; source: NewShard['source'] } => {
  const { key, source } = shardOf(index);
  return { key, source };
};

export const query = (line: string): LeaseQuery => ({
  pipeline: pipelineName,
  line,
  group: 'default',
  instance: 'a',
  max: 1,
  freshMax: 1,
  prefer: [],
  reclaim: [],
});

export const completion = (shardId: string, epoch: number): Complete => ({
  shardId,
  epoch,
  result: { dir: `/results/${shardId}`, files: [{ name: 'out.arrow', bytes: 10, sha256: 'aa' }], hash: 'bb' },
  report: {
    stages: [],
    load: { outcome: 'read', rows: 100, ms: 5, sourceReads: 1, bytes: noBytes() },
    checkpoints: { ssd: 0, major: 0, bytes: noBytes() },
    resumedFrom: 'source',
    bytes: noBytes(),
    swaps: 0,
    scratchPeakBytes: 4_096,
  },
});

export const begin = (journal: Journal): Promise<unknown> => journal.applyPipeline(pipelineOnWire, rules, now());

export async function fill(journal: Journal, from: number, count: number, groupMax = 1_000): Promise<void> {
  for (let done = 0; done < count; done += groupMax) {
    const some = Math.min(groupMax, count - done);
    await journal.submit(
      pipelineName,
      Array.from({ length: some }, (_, index) => shardOf(from + done + index)),
      now(),
    );
  }
}

export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
