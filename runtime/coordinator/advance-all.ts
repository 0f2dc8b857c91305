/** Everything that is due by the journal's clock: ends of back-offs, time limits. */
import type { Journal, Moment } from '../journal/journal.js';

/** Timers of the journal that one transition carries out. */
const advanceMax = 1_000;

export interface Advanced {
  /** Shards that were over a time limit while they ran. */
  stopped: string[];
  /** Pipelines that have work now which they had not. */
  woken: Set<string>;
  /** When something is due next, by the journal's clock. */
  nextMs: number | undefined;
}

export async function advanceAll(journal: Journal, now: () => Moment): Promise<Advanced> {
  const stopped: string[] = [];
  const woken = new Set<string>();
  let nextMs = await journal.nextDueMs();
  while (nextMs !== undefined && nextMs <= now().ms) {
    const advanced = await journal.advance(now(), advanceMax);
    stopped.push(...advanced.stopped);
    for (const pipeline of advanced.woken) woken.add(pipeline);
    nextMs = await journal.nextDueMs();
    if (!advanced.more) break;
  }
  return { stopped, woken, nextMs };
}
