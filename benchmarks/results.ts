/** Everything that a run of the benchmark found: what is written as JSON, and what tables and pictures are made of. */
import type { BytesByMedium } from '../runtime/contracts/block.js';
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
  bytes: BytesByMedium;
  stages: StageTold[];
  hash: string;
}

/** Small shards, one after another. */
export interface SmallSample {
  runner: string;
  round: number;
  shards: number;
  rows: number;
  cpuMs: number;
  shardMs: number[];
  /** By stage, of each shard; Podline only. */
  handoverMs: Record<string, number[]>;
  hashes: string[];
}

export interface ColdSample {
  round: number;
  wallMs: number;
  cpuMs: number;
  hash: string;
}

export interface RunnerNote {
  name: string;
  title: string;
  /** Until it takes jobs: processes, stages loaded. */
  startMs?: number | undefined;
  /** Why it is not in the tables. */
  missing?: string | undefined;
  failed?: string | undefined;
}

export interface BenchResults {
  format: 1;
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
  options: { repeats: number; rows: number; seed: number; smallShards: number; smallRows: number; quick: boolean };
  tookMs: number;
  limits: MachineLimits[];
  runners: RunnerNote[];
  /** Stages in order: hand-overs are counted by them. */
  stages: string[];
  /** The hash of the floor: what all others must give. */
  reference: { large: string; small: string[]; cold: string };
  samples: Sample[];
  small: SmallSample[];
  cold: ColdSample[];
}

export const floorRunner = 'one-process';
