/** Back-off: longer after each failure, up to a bound. Without jitter, which the edge that waits may add. */
export interface Backoff {
  initialMs: number;
  factor: number;
  maxMs: number;
}

/** The wait after failure number `failures`, 1 for the first. */
export const backoffMs = (backoff: Backoff, failures: number): number =>
  Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** Math.max(0, failures - 1));
