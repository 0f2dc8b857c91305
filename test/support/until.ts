/** Waiting for what nobody tells of; a test that ran out of time says what it was waiting for. */
import { setTimeout as delay } from 'node:timers/promises';

/** How often a condition is looked at. */
const lookEveryMs = 10;

const waits = new Set<() => unknown>();

/** Waits for a condition outside of this process; the test's own time limit bounds the wait. */
export async function until<T>(look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  waits.add(look);
  try {
    for (;;) {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      await delay(lookEveryMs);
    }
  } finally {
    waits.delete(look);
  }
}

/** The conditions that are waited for now, as they are written. */
export const unfulfilled = (): string[] => [...waits].map(String);
