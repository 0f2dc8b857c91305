/**
 * Many things that each have the same time to be over, and one timer for all of them: most are over in the turn in which they began.
 *
 * Invariants
 *  1. The order in which they came is the order in which they are due.
 *  2. What is removed in time is never told of; what is not is told of once.
 */
import type { Clock } from '../platform/clock.js';

export class Deadlines<T extends object> {
  readonly #dueMs = new Map<T, number>();
  #callOff: (() => void) | undefined;

  /** `onDue`: of each that was not removed within `timeMs`. */
  constructor(
    private readonly clock: Clock,
    private readonly timeMs: number,
    private readonly onDue: (item: T) => void,
  ) {}

  add(item: T): void {
    this.#dueMs.set(item, this.clock.nowMs() + this.timeMs);
    if (this.#callOff === undefined) this.#wait(this.timeMs);
  }

  remove(item: T): void {
    this.#dueMs.delete(item);
  }

  /** Idempotent. */
  close(): void {
    this.#callOff?.();
    this.#callOff = undefined;
    this.#dueMs.clear();
  }

  #wait(ms: number): void {
    this.#callOff = this.clock.after(ms, () => {
      this.#callOff = undefined;
      this.#look();
    });
  }

  #look(): void {
    const nowMs = this.clock.nowMs();
    for (const [item, dueMs] of this.#dueMs) {
      if (dueMs > nowMs) {
        this.#wait(dueMs - nowMs);
        return;
      }
      this.#dueMs.delete(item);
      this.onDue(item);
    }
  }
}
