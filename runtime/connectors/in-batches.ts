/** A stream in batches of what has come so far: none waits for another. */
import type { Clock } from '../platform/clock.js';

/** Said when nothing came for a while. */
export const quiet = Symbol('quiet');
const notYet = Symbol('not yet');

const soon = (): Promise<typeof notYet> => new Promise((resolve) => setImmediate(resolve, notYet));

/** At most `max` in one. Whoever stops reading ends the stream. */
export async function* inBatches<T>(
  items: AsyncGenerator<T, void, undefined>,
  max: number,
  quietMs: number,
  clock: Clock,
): AsyncGenerator<T[] | typeof quiet, void, undefined> {
  let next = items.next();
  try {
    for (;;) {
      const first = await orQuiet(next, quietMs, clock);
      if (first === quiet) {
        yield quiet;
        continue;
      }
      if (first.done === true) return;
      const batch = [first.value];
      next = items.next();
      while (batch.length < max) {
        const more = await Promise.race([next, soon()]);
        if (more === notYet) break;
        if (more.done === true) {
          yield batch;
          return;
        }
        batch.push(more.value);
        next = items.next();
      }
      yield batch;
    }
  } finally {
    // What it still waits for is nobody's any more.
    next.catch(() => undefined);
    void items.return().catch(() => undefined);
  }
}

function orQuiet<T>(next: Promise<T>, quietMs: number, clock: Clock): Promise<T | typeof quiet> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(quietMs, () => {
      resolve(quiet);
    });
    next.then(resolve, reject).finally(cancel);
  });
}
