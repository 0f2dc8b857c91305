/** How a run of the benchmark is set up: what every part of it is handed. */
import type { Peer } from './runners/runner.js';

export interface BenchOptions {
  /** Measurements of each runner in each comparison. */
  repeats: number;
  /** Of the order of measurements and of the sources. */
  seed: number;
  /** The recorded run: nothing is cut short. */
  record: boolean;
  /** With the largest shards too. */
  full: boolean;
  /** Sizes of shards are multiplied by it: below 1 for trying out. */
  scale: number;
  /** Parts to run; absent: all. */
  only?: readonly string[] | undefined;
  /** Beside one another in every comparison whose work they do. */
  peers: readonly Peer[];
  /** Ends the run at the next step; everything that was started is closed. */
  signal: AbortSignal;
  say: (line: string) => void;
}

/** Where a run works. */
export interface Place {
  /** On the disk that is to be measured. */
  diskDir: string;
  /** On tmpfs where there is one: sources and results, so that the disk's moods are not in the comparisons. */
  memoryDir: string;
}
