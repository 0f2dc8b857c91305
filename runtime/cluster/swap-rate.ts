/**
 * When the next try of a swap may go to the API server: so many a second over all pods of the coordinator, in the order in which they ask.
 * The decision is `line/token-bucket.ts`; this waits for it, and says so in the log when a stretch of waiting begins and when it has ended.
 *
 * Invariant: who waits holds a turn (`turns.ts`), so the wait is bounded by the turns there are, over the rate.
 */
import { fullBucket, takePlace, type Bucket, type Rate } from '../line/token-bucket.js';
import type { Logger } from '../platform/logger.js';

export interface SwapRateOptions {
  swapsPerSecondMax: number;
  nowMs: () => number;
  delay: (ms: number) => Promise<void>;
  logger: Logger;
}

export class SwapRate {
  readonly #rate: Rate;
  #bucket: Bucket;
  /** Since when each swap had to wait for the rate, and how many did. */
  #stretch: { sinceMs: number; waits: number } | undefined;

  constructor(private readonly options: SwapRateOptions) {
    const { swapsPerSecondMax, nowMs } = options;
    this.#rate = { perSecond: swapsPerSecondMax, burst: Math.max(1, swapsPerSecondMax) };
    this.#bucket = fullBucket(this.#rate, nowMs());
  }

  /** Resolves when the next one may be sent. */
  async wait(): Promise<void> {
    const { nowMs, delay } = this.options;
    const now = nowMs();
    const { bucket, waitMs } = takePlace(this.#bucket, this.#rate, now);
    this.#bucket = bucket;
    this.#tell(waitMs, now);
    if (waitMs > 0) await delay(waitMs);
  }

  #tell(waitMs: number, now: number): void {
    const { swapsPerSecondMax, logger } = this.options;
    if (waitMs > 0) {
      if (this.#stretch === undefined)
        logger.info({ swapsPerSecondMax, waitMs }, 'swaps wait: more are asked for than cluster.swapsPerSecondMax lets through');
      this.#stretch ??= { sinceMs: now, waits: 0 };
      this.#stretch.waits += 1;
    } else if (this.#stretch !== undefined) {
      const { sinceMs, waits } = this.#stretch;
      logger.info({ swapsPerSecondMax, waits, forMs: now - sinceMs }, 'swaps wait for the rate no longer');
      this.#stretch = undefined;
    }
  }
}
