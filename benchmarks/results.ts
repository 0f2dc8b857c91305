/** Everything that a run of the benchmark found: what is written as JSON, and what tables and pictures are made of. */
import type { BytesByMedium } from '../runtime/contracts/block.js';
import type { CheckpointFigures } from './checkpoints/main.js';
import type { ColumnFigures } from './figures/columns.js';
import type { LoadFigures } from './figures/load.js';
import type { FirstRunFigures } from './figures/first-run.js';
import type { PipeliningFigures } from './figures/pipelining.js';
import type { SlowdownFigures } from './figures/slowdown.js';
import type { ThreadFigures } from './figures/threads.js';
import type { JournalFigures } from './journal/figures.js';
import type { MachineLimits } from './limits.js';
import type { StageTold } from './runners/runner.js';

/** One job of one runner. */
export interface Sample {
  runner: string;
  round: number;
  wallMs: number;
  cpuMs: number;
  peakRssBytes: number;
  peakMemoryBytes: number;
  /** See `JobEnd`. */
  spanMs?: number | undefined;
  bytes: BytesByMedium;
  stages: StageTold[];
  told?: Record<string, number> | undefined;
  hash: string;
}

export interface RunnerNote {
  name: string;
  title: string;
  /** Until it takes jobs: processes, stages loaded. */
  startMs?: number | undefined;
  /** How it is tuned. */
  settings?: string | undefined;
  /** It is not made for such work, and why. */
  doesNot?: string | undefined;
  /** It would be in the tables if this machine had what it needs. */
  missing?: string | undefined;
  /** It broke, with these words. */
  failed?: string | undefined;
  /** Measured fewer times than the others: it is slow, and the run is a short one. */
  repeats?: number | undefined;
}

/** One workload, all runners beside one another. */
export interface ComparisonResult {
  name: string;
  title: string;
  /** Of the source of a shard. */
  shardBytes: number;
  rows?: number | undefined;
  stages: number;
  repeats: number;
  /** The hash that the result must have, and who says so. */
  reference: string;
  referenceBy: string;
  runners: RunnerNote[];
  samples: Sample[];
}

/** Many small shards. */
export interface SmallResult {
  shardBytes: number;
  stages: number;
  runners: RunnerNote[];
  samples: SmallSample[];
}

export interface SmallSample {
  runner: string;
  round: number;
  /** One after another: wall time of each. */
  shardMs: number[];
  cpuMsEach: number;
  /** While they ran one after another. Absent: not recorded. */
  peakMemoryBytes?: number | undefined;
  /** Of all that ran one after another. Absent: not recorded. */
  bytes?: BytesByMedium | undefined;
  /** Of each shard: `spanMs`, and what else the runner told. */
  spanMs: number[];
  loadMs: number[];
  /** Of every stage of every shard; Podline only. */
  handoverMs: number[];
  /** Given together, as many at once as the runner takes. */
  together?: { shards: number; atOnce: number; wallMs: number } | undefined;
  isVoid: boolean;
}

/** Cost against size: a runner at one point. */
export interface GrowthPoint {
  series: 'bytes' | 'stages' | 'numbers';
  runner: string;
  title: string;
  /** Bytes of the shard's source; rows for `numbers`. */
  size: number;
  stages: number;
  wallMs: number[];
  spanMs: number[];
  /** Of the last shard. Absent: not recorded. */
  bytes?: BytesByMedium | undefined;
  /** Podline only: of every stage of every shard. */
  handoverMs: number[];
  isVoid: boolean;
}

export interface GrowthResult {
  points: GrowthPoint[];
  /** Points that were not measured, and why. */
  left: string[];
}

/** Absent: not recorded. */
export interface Commit {
  /** `git rev-parse HEAD`. */
  id: string;
  /** Something tracked was changed, or something not tracked and not ignored was there. */
  isDirty: boolean;
}

/** When a part ran, and on what kind of day: parts of one record may be of several runs. */
export interface PartRun {
  at: string;
  tookMs: number;
  loadBefore: number[];
  loadAfter: number[];
  /** What was measured; absent where the part was recorded before this was noted, or there was no repository. */
  commit?: Commit | undefined;
  /** Measured before the part and after it. */
  limits: MachineLimits[];
}

export interface BenchResults {
  format: 3;
  at: string;
  machine: {
    cpu: string;
    cores: number;
    memoryBytes: number;
    os: string;
    node: string;
    podline: string;
    loadBefore: number[];
    loadAfter: number[];
  };
  options: { repeats: number; seed: number; record: boolean; full: boolean; scale: number; only?: string[] | undefined };
  tookMs: number;
  /** By name, those that ran; also where they broke. */
  parts: Record<string, PartRun>;
  limits: MachineLimits[];
  comparisons: ComparisonResult[];
  small?: SmallResult | undefined;
  growth?: GrowthResult | undefined;
  columns?: ColumnFigures | undefined;
  load?: LoadFigures | undefined;
  threads?: ThreadFigures | undefined;
  slowdown?: SlowdownFigures | undefined;
  pipelining?: PipeliningFigures | undefined;
  first?: FirstRunFigures | undefined;
  journal?: JournalFigures | undefined;
  checkpoints?: CheckpointFigures | undefined;
  /** Parts that broke, with what they said: never silently left out. */
  broken: { part: string; message: string; isEnded?: boolean }[];
}
