/**
 * Back-pressure. While the coordinator takes no more, nothing is taken for it: the pauses grow, and begin anew when it takes again. While it
 * takes more, but asks those to wait who can (a queue that is long enough, cpu or memory near the quota), there is a rest between one
 * group and the next: requests wait as well in the broker or folder. Groups are no larger than it asks for.
 */
import type { WireError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { PaceView } from '../contracts/views.js';
import { backoffMs } from '../line/backoff.js';
import type { Clock } from '../platform/clock.js';
import type { Patience } from './persist.js';
import type { Status } from './status.js';

/** Pipelines whose pace is remembered. */
const pipelinesMax = 256;

interface Seen {
  atMs: number;
  pace: PaceView | undefined;
}

export class Pace {
  #pauses = 0;
  readonly #seen = new Map<string, Seen>();

  constructor(
    private readonly status: Status,
    private readonly patience: Patience,
    private readonly clock: Clock,
  ) {}

  /** Whether to ask the coordinator again how the pipeline is doing. */
  isStale(pipeline: string): boolean {
    const seen = this.#seen.get(pipeline);
    return seen === undefined || this.clock.nowMs() - seen.atMs >= limits.scaleLookMs;
  }

  heed(pipeline: string, pace: PaceView | undefined): void {
    if (this.#seen.size >= pipelinesMax) this.#seen.clear();
    this.#seen.set(pipeline, { atMs: this.clock.nowMs(), pace });
  }

  /**
   * How many messages to take at once, `most` at most: what a group is for is not known before it is read, so the smallest batch counts
   * of the pipelines that were asked lately. One for which nothing comes any more does not hold up the others.
   */
  batch(most: number): number {
    return Math.min(
      most,
      ...[...this.#seen].map(([pipeline, { pace }]) => (this.isStale(pipeline) ? most : (pace?.batch ?? most))),
    );
  }

  /** The coordinator took what it was given. */
  goesOn(): void {
    if (this.#pauses === 0) return;
    this.#pauses = 0;
    this.status.set('inlet', 'running', 'requests are taken');
  }

  /** It took it, and asks for a rest: whose load asks for the longest. */
  get load(): PaceView | undefined {
    const loads = [...this.#seen.values()].flatMap(({ pace }) => (pace?.pause === 'load' ? [pace] : []));
    return loads.toSorted((a, b) => (b.retryAfterS ?? 1) - (a.retryAfterS ?? 1))[0];
  }

  /** Resolves at once where there is no reason to rest, and with the signal. What is taken next asks the coordinator anew. */
  async rest(signal: AbortSignal): Promise<void> {
    const { load } = this;
    if (load === undefined) {
      this.goesOn();
      return;
    }
    const { backoff, delay, random } = this.patience;
    this.status.set('inlet', 'paused', `the coordinator asks for a rest: ${load.why}`);
    this.#pauses = Math.max(1, this.#pauses);
    await delay(Math.min((load.retryAfterS ?? 1) * 1_000, backoff.maxMs) * (0.5 + random() / 2), signal);
    this.#seen.clear();
  }

  /** It takes no more: resolves when it is time to try again, or with the signal. */
  async pause(error: WireError, signal: AbortSignal): Promise<void> {
    this.#pauses += 1;
    const { backoff, delay, random } = this.patience;
    this.status.set('inlet', 'paused', `the coordinator takes no more at present: ${error.message} (${error.code})`);
    await delay(backoffMs(backoff, this.#pauses) * (0.5 + random() / 2), signal);
  }
}
