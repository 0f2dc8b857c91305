/** Results of a run as tests need them. */
import type {
  BenchResults,
  ComparisonResult,
  GrowthPoint,
  PartRun,
  RunnerNote,
  Sample,
  SmallResult,
} from '../../../benchmarks/results.js';
import { noBytes } from '../../../runtime/contracts/block.js';

export const sample = (runner: string, more: Partial<Sample> = {}): Sample => ({
  runner,
  round: 0,
  wallMs: 100,
  cpuMs: 100,
  peakRssBytes: 1,
  peakMemoryBytes: 1,
  bytes: noBytes(),
  stages: [],
  hash: 'same',
  ...more,
});

export const comparison = (
  name: string,
  samples: Sample[],
  notes: readonly (Partial<RunnerNote> & { name: string })[] = [],
): ComparisonResult => {
  const names = [...new Set([...samples.map(({ runner }) => runner), ...notes.map((note) => note.name)])];
  return {
    name,
    title: `the ${name} title`,
    shardBytes: 1024,
    stages: 5,
    repeats: 1,
    reference: 'same',
    referenceBy: 'the checker',
    runners: names.map((runner) => ({
      title: `title of ${runner}`,
      ...notes.find((note) => note.name === runner),
      name: runner,
    })),
    samples,
  };
};

export const point = (runner: string, size: number, wallMs: number, more: Partial<GrowthPoint> = {}): GrowthPoint => ({
  series: 'bytes',
  runner,
  title: `title of ${runner}`,
  size,
  stages: 5,
  wallMs: [wallMs],
  spanMs: [],
  handoverMs: [],
  isVoid: false,
  ...more,
});

/** Two rounds of two shards; one as an older record has it. */
export const aSmall: SmallResult = {
  shardBytes: 1024,
  stages: 5,
  runners: [{ name: 'podline', title: 'title of podline' }],
  samples: [
    [1, 2],
    [3, 4],
  ].map((shardMs, round) => ({
    runner: 'podline',
    round,
    shardMs,
    cpuMsEach: 1 + round,
    spanMs: [],
    loadMs: [],
    handoverMs: [],
    isVoid: false,
    ...(round === 0 ? {} : { bytes: { ...noBytes(), memory: { read: 1024, written: 0 } } }),
  })),
};

const aLimit = { memcpy: 2 ** 30, tmpfsWrite: 2 ** 30, tmpfsRead: 2 ** 30, diskWriteSync: 2 ** 30 };

export const partRun = (more: Partial<PartRun> = {}): PartRun => ({
  at: '2026-01-01T00:00:00.000Z',
  tookMs: 1,
  loadBefore: [0],
  loadAfter: [0],
  limits: [aLimit],
  ...more,
});

export const results = (more: Partial<BenchResults> = {}): BenchResults => ({
  format: 3,
  at: '2026-01-01T00:00:00.000Z',
  machine: {
    cpu: 'a processor',
    cores: 2,
    memoryBytes: 2 ** 34,
    os: 'Linux',
    node: 'v20',
    podline: '0',
    loadBefore: [0],
    loadAfter: [0],
  },
  options: { repeats: 1, seed: 1, record: false, full: false, scale: 1 },
  tookMs: 1,
  parts: { load: partRun() },
  limits: [aLimit],
  comparisons: [],
  broken: [],
  ...more,
});
