/** A clock that only tests move. */
import type { Clock } from '../../runtime/platform/clock.js';

interface Timer {
  atMs: number;
  callback: () => void;
}

/** Time stands still until `advance` or `step`, which fire each timer at its own time. */
export class ManualClock implements Clock {
  #nowMs = 1_000;
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return this.#nowMs;
  }

  wall(): string {
    return new Date(Date.UTC(2026, 0, 1) + this.#nowMs).toISOString();
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(0, ms), callback };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Lets everything that a timer began come to rest before the next one fires. */
  async advance(ms: number, settle: () => Promise<void>): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    while (this.#fireNext(untilMs)) await settle();
    this.#nowMs = untilMs;
    await settle();
  }

  /** For what begins nothing that has to come to rest. */
  step(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Moves time without firing what is due, as a process does that was stopped; then everything fires late. */
  stall(ms: number): void {
    this.#nowMs += ms;
  }

  #fireNext(untilMs: number): boolean {
    const [next] = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
    if (next === undefined) return false;
    this.#timers.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.callback();
    return true;
  }
}
