/**
 * So many things a second, and a few at once after a rest. Pure: the clock is handed in.
 *
 * Invariants
 *  1. In any stretch of `t` seconds at most `burst + perSecond × t` places fall due.
 *  2. Places are given in the order in which they are asked for: a place that was given is taken, and whoever asks next waits longer.
 */
export interface Rate {
  /** > 0 */
  perSecond: number;
  /** Places that a rest saves up, at least 1. */
  burst: number;
}

export interface Bucket {
  /** Places free at `atMs`; below zero, places that are given and not due yet. */
  free: number;
  atMs: number;
}

/** As after a long rest. */
export const fullBucket = ({ burst }: Rate, nowMs: number): Bucket => ({ free: burst, atMs: nowMs });

/** Gives the next place, and says in how many ms it is due; 0: now. A clock that goes back gives nothing and takes nothing. */
export function takePlace({ free, atMs }: Bucket, { perSecond, burst }: Rate, nowMs: number): { bucket: Bucket; waitMs: number } {
  const passedMs = Math.max(0, nowMs - atMs);
  const left = Math.min(burst, free + (passedMs * perSecond) / 1_000) - 1;
  return { bucket: { free: left, atMs: atMs + passedMs }, waitMs: left >= 0 ? 0 : (-left * 1_000) / perSecond };
}
