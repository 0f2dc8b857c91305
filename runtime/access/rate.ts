/** A token bucket per caller: so many requests a second, and at once as many as come together in `burstMs`. */

interface Bucket {
  tokens: number;
  atMs: number;
}

export interface Rate {
  ratePerSecond: number;
  /** What may be used at once, in ms of the rate. */
  burstMs: number;
}

/** Takes one, or says how long to wait for it. */
export function takeToken(
  bucket: Bucket | undefined,
  { ratePerSecond, burstMs }: Rate,
  nowMs: number,
): { bucket: Bucket; waitMs: number } {
  const most = Math.max(1, (ratePerSecond * burstMs) / 1000);
  const before = bucket ?? { tokens: most, atMs: nowMs };
  const tokens = Math.min(most, before.tokens + (Math.max(0, nowMs - before.atMs) * ratePerSecond) / 1000);
  if (tokens >= 1) return { bucket: { tokens: tokens - 1, atMs: nowMs }, waitMs: 0 };
  return { bucket: { tokens, atMs: nowMs }, waitMs: Math.ceil(((1 - tokens) * 1000) / ratePerSecond) };
}

export class Rates {
  readonly #buckets = new Map<string, Bucket>();

  constructor(
    private readonly nowMs: () => number,
    private readonly burstMs: number,
    private readonly callersMax: number,
  ) {}

  /** 0: go on; else how long to wait, ms. */
  take(caller: string, ratePerSecond: number): number {
    const { bucket, waitMs } = takeToken(this.#buckets.get(caller), { ratePerSecond, burstMs: this.burstMs }, this.nowMs());
    // The one that was used longest ago goes first: it is full by now, or its caller has not been here for long.
    this.#buckets.delete(caller);
    for (const [oldest] of this.#buckets) {
      if (this.#buckets.size < this.callersMax) break;
      this.#buckets.delete(oldest);
    }
    this.#buckets.set(caller, bucket);
    return waitMs;
  }
}
