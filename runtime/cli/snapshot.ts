/** What a watcher of a run sees at one moment; views draw it, nothing else reads it. */
import type { BytesByMedium } from '../contracts/block.js';
import type { Heartbeat } from '../contracts/line-api.js';

export interface LineSnapshot extends Pick<Heartbeat, 'slots' | 'shards' | 'scratch'> {
  line: string;
  waiting?: string | undefined;
}

export interface RunSnapshot {
  pipeline: string;
  stages: string[];
  elapsedMs: number;
  counts: { pending: number; running: number; completed: number; failed: number; cancelled: number };
  lines: LineSnapshot[];
  /** Bytes read and written so far, by medium, as far as lines have told. */
  moved: BytesByMedium;
  /** Shards per second since the start, and the time left at that pace; absent before the first one is done. */
  leftMs?: number | undefined;
  /** Why nothing runs although shards wait. */
  waiting?: string | undefined;
}

export const totalOf = (counts: RunSnapshot['counts']): number =>
  counts.pending + counts.running + counts.completed + counts.failed + counts.cancelled;
export const endedOf = (counts: RunSnapshot['counts']): number => counts.completed + counts.failed + counts.cancelled;
