/** Time as it is handed in: monotonic ms to judge by, wall time to show, and one timer. */
export interface Clock {
  /** Monotonic, ms; only differences mean something. */
  nowMs(): number;
  /** Wall time, ISO 8601: for people. */
  wall(): string;
  /** Calls back once after `ms`. Returns what calls it off. Does not keep the process alive. */
  after(ms: number, callback: () => void): () => void;
}

/** setTimeout takes no longer waits than this; what is further away is looked at again then. */
const timerMax = 2 ** 31 - 1;

/** Thousands ask within the same millisecond. */
let lastWall = { ms: Number.NaN, text: '' };

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wall: () => {
    const ms = Date.now();
    if (ms !== lastWall.ms) lastWall = { ms, text: new Date(ms).toISOString() };
    return lastWall.text;
  },
  after: (ms, callback) => {
    const timer = setTimeout(callback, Math.min(Math.max(0, ms), timerMax));
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};

/**
 * Milliseconds of the clock that all processes of a node share, CLOCK_MONOTONIC: for what one process began and another ended.
 * Two nodes have nothing to do with each other.
 */
export const nodeClockMs = (): number => Number(process.hrtime.bigint()) / 1e6;
