/** Shards that end in a second, as an average that forgets: half of what it knows every `halfLifeMs`. Pure. */
export interface Throughput {
  perSecond: number;
  /** Shards that had ended at the last look, and when that was. */
  ended: number;
  atMs: number;
}

export const halfLifeMs = 15_000;

export const initialThroughput = (ended: number, nowMs: number): Throughput => ({ perSecond: 0, ended, atMs: nowMs });

/** `ended` counts up; where it fell (shards were retried), the difference counts as none. */
export function observeThroughput(before: Throughput, ended: number, nowMs: number): Throughput {
  const ms = nowMs - before.atMs;
  if (ms <= 0) return before;
  const rate = (Math.max(0, ended - before.ended) * 1_000) / ms;
  const kept = 0.5 ** (ms / halfLifeMs);
  return { perSecond: before.perSecond * kept + rate * (1 - kept), ended, atMs: nowMs };
}
