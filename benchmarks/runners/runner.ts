/**
 * What a peer is to the harness: a way to connect stages, which can be started, given shards, and ended.
 *
 * The life of a runner: `start()` once (processes, connections, code: all warm when it resolves) → `run(job)` many times, one at a time
 * → `close()`, which may be called twice and before `start` ended. The harness warms it with jobs of the same kind that are not counted.
 *
 * Invariants
 *  1. A runner measures nothing but `spanMs` and what it moved; wall time, CPU time and memory of its processes and of all their
 *     descendants are measured from outside, in the same way for all (`measure.ts`).
 *  2. A runner's word on its result is not asked for: it writes result files into `job.resultDir` with `work/result.ts`, and the
 *     checker hashes them. It must be there, closed, when `run` resolves.
 *  3. What a peer needs and this machine has not is told by throwing `Missing` from `start` (or `make`), with the reason in words; it
 *     then stands in the report by name. Any other error puts the peer out of the run, by name too.
 *  4. Every stage is a process of its own, except in peers whose title says otherwise. All stages run the code in `work/stages.ts`.
 *
 * The order of things within `run`, so that `spanMs` means the same everywhere: the first process reads the source whole into its
 * memory (`work/source.ts`) · **span begins** · source → stage 1 → … → stage n · the last stage has all of its output: **span ends** ·
 * the result is written. Stages may all work at once on pieces of the shard (streams), as they would in practice.
 */
import type { BytesByMedium } from '../../runtime/contracts/block.js';
import type { Job, Work, WorkKind } from '../work/work.js';

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
  /** What was read from and written to sockets and pipes (`network`), shared memory (`memory`), disk (`ssd`). Each side counts once. */
  bytes: BytesByMedium;
  /** See above; by `monotonicMs` of `work/clock.ts`, which all processes of a machine share. Absent: not known; wall time is all there is. */
  spanMs?: number | undefined;
  /** May be empty. */
  stages: StageTold[];
  /** Podline: what else its report says. */
  told?: Record<string, number> | undefined;
}

export interface Runner {
  readonly name: string;
  readonly title: string;
  /** Resolves when a job may be given; throws `Missing` where something that it needs is not on this machine. */
  start(): Promise<void>;
  /** Its processes, servers that it started included; what they start in turn is found by whoever measures. */
  pids(): number[];
  /** Folders on tmpfs (and files in them) whose content counts as its memory, once. */
  readonly memoryDirs: readonly string[];
  /** One job at a time; several at once where `jobsMax` says so. */
  run(job: Job): Promise<JobEnd>;
  /** Default 1. Used by the workload of many small shards only. */
  readonly jobsMax?: number | undefined;
  close(): Promise<void>;
}

/** A way to connect stages, before it is started for a particular work. `peers/index.ts` exports a list of them. */
export interface Peer {
  /** As `--peers` takes it: `http-ndjson`. */
  readonly name: string;
  /** As tables show it: `HTTP, NDJSON`. */
  readonly title: string;
  /** Kinds of work that it can do. Of a kind that is not here it is said that it does not do it. */
  readonly does: readonly WorkKind[];
  /** Why it does not do the others, in words. */
  readonly doesNot?: Readonly<Partial<Record<WorkKind, string>>> | undefined;
  /** How it is tuned, in a line. */
  readonly settings?: string | undefined;
  /** Larger shards are not given to it, and that is said (a value size limit of a store, say). */
  readonly shardBytesMax?: number | undefined;
  /** `dir`: a folder on disk of this runner alone; the harness removes it at the end. */
  make(work: Work, dir: string): Runner;
}

/** Something that a runner needs is not here; it is left out, and named. */
export class Missing extends Error {}
