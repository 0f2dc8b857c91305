/** One way to connect the stages. */
import type { BytesByMedium } from '../../runtime/contracts/block.js';
import type { Job } from '../workload.js';

export interface StageTold {
  stage: string;
  /** In the stage's own code: CPU for baselines, from start to commit for Podline. */
  workMs: number;
  /** Podline: from "its inputs are committed" to the first call of its code. Baselines: CPU of the stage's process outside of its code. */
  handoverMs: number;
  /** Podline: to put the stage into a slot; mostly while another one works. */
  swapMs?: number | undefined;
}

export interface JobEnd {
  /** Folder that holds the result's files. */
  dir: string;
  bytes: BytesByMedium;
  stages: StageTold[];
}

export interface Runner {
  readonly name: string;
  readonly title: string;
  /** Resolves when a job may be given; throws `Missing` where something that it needs is not on this machine. */
  start(): Promise<void>;
  /** Its processes; what they start in turn is found by whoever measures. */
  pids(): number[];
  /** Folders on tmpfs whose content counts as its memory. */
  readonly memoryDirs: readonly string[];
  /** One job at a time. */
  run(job: Job): Promise<JobEnd>;
  close(): Promise<void>;
}

/** Something that a runner needs is not here; it is left out, and named. */
export class Missing extends Error {}
