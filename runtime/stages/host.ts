/** What a slot holds: a stage that is loaded once and then run on one shard after another. One implementation per executor. */
import type { ResolvedStage } from '../contracts/manifest.js';
import type { RunRequest } from '../contracts/shim-protocol.js';
import type { ScratchOptions } from '../scratch/types.js';
import type { RunEvents } from './commits.js';
import type { RunNews } from './news.js';
import type { RunEnd } from './runner.js';

export interface StageHost {
  /** Everything up that a run needs. Throws PDL_STAGE_LOAD or what the scratch throws. */
  load(): Promise<void>;
  /**
   * One run at a time. Never throws: what went wrong is in the end of the run. `news`: what it is told while it goes on.
   * `startedAtMs`: when it was asked for, by `performance.now`.
   */
  run(request: RunRequest, events: RunEvents, news: RunNews, signal: AbortSignal, startedAtMs: number): Promise<RunEnd>;
  /**
   * Some 25 ms of work that make the first run as fast as those behind it, where there is such; ends early where `signal` aborts. May go on
   * beside a run. Returns how many runs were rehearsed. Throws what the file system throws.
   */
  rehearse?(signal: AbortSignal): Promise<number>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface HostSetup {
  stage: ResolvedStage;
  /** Threads for a stage whose `workers` is auto. */
  workers: number;
  stagesDir: string;
  scratch: ScratchOptions;
  /** Folder, on the scratch's file system, for the folders of commands; this host's alone. */
  runsDir: string;
}

/** The host for a stage's executor; what it needs is imported with it and not before. */
export async function hostOf(setup: HostSetup): Promise<StageHost> {
  const { stage } = setup;
  if (stage.command !== undefined) {
    const { CommandHost } = await import('./command-host.js');
    return new CommandHost(setup);
  }
  if (stage.executor === 'process') {
    const { ProcessHost } = await import('./process-host.js');
    return new ProcessHost(setup);
  }
  const { ThreadHost } = await import('./thread-host.js');
  return new ThreadHost(setup);
}
