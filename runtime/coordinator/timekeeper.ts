/**
 * When the coordinator looks again: one timer, set for the earliest moment at which something may be due.
 *
 * Invariants
 *  1. What is due is done by one call at a time; the answer says when it is due next.
 *  2. A timer that comes late by more than `stallMs` tells that the process stood still (stopped, suspended), not that lines were silent.
 *  3. After `close` nothing is begun.
 */
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';

export interface TimekeeperOptions {
  clock: Clock;
  logger: Logger;
  stallMs: number;
  /** When to try again after a failure. */
  againMs: number;
  /** Does what is due; answers with the next moment by the clock, if there is one. */
  onDue: (stalled: boolean) => Promise<number | undefined>;
}

export class Timekeeper {
  #timer: { atMs: number; callOff: () => void } | undefined;
  #working: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(private readonly options: TimekeeperOptions) {}

  /** Something is due at `atMs` of the clock, or may be. */
  arm(atMs: number): void {
    if (this.#closed) return;
    const { clock, stallMs } = this.options;
    const nowMs = clock.nowMs();
    const dueMs = Math.max(atMs, nowMs);
    if (this.#timer !== undefined && this.#timer.atMs <= dueMs) return;
    this.#timer?.callOff();
    const callOff = clock.after(dueMs - nowMs, () => {
      const stalled = clock.nowMs() - dueMs > stallMs;
      this.#timer = undefined;
      this.#working = this.#working.then(() => this.#work(stalled));
    });
    this.#timer = { atMs: dueMs, callOff };
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.callOff();
    this.#timer = undefined;
    await this.#working;
  }

  async #work(stalled: boolean): Promise<void> {
    if (this.#closed) return;
    const { clock, logger, againMs, onDue } = this.options;
    try {
      if (stalled) logger.warn({}, 'the coordinator stood still for a while: all leases begin anew');
      const nextMs = await onDue(stalled);
      if (nextMs !== undefined) this.arm(nextMs);
    } catch (thrown) {
      logger.error({ err: String(thrown) }, 'the coordinator could not do what was due; it tries again');
      this.arm(clock.nowMs() + againMs);
    }
  }
}
