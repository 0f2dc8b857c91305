/** Transitions that were asked for at about the same time and share one commit: what both journals do with them. */
import { PodlineError, isPodlineError } from '../contracts/errors.js';
import type { Transition } from './transition.js';

/** Transitions of one commit. */
export const groupMax = 1_024;
const waitingMax = 65_536;

export interface Waiting {
  run: (transition: Transition) => unknown;
  nowMs: number;
  resolve: (value: unknown) => void;
  reject: (error: PodlineError) => void;
}

/** Throws PDL_JOURNAL when so many wait already that one more would only wait longer. */
export function requireRoom(waiting: readonly unknown[], forWhat: string, hint: string): void {
  if (waiting.length >= waitingMax)
    throw new PodlineError('PDL_JOURNAL', `${String(waitingMax)} transitions wait for ${forWhat}`, { hint });
}

/**
 * Runs them one after another and returns what answers them, to be called when their commit is durable. One that throws before it has written
 * is answered with that and harms nobody else; what is thrown after that, or is a fault of ours, is thrown here: the group is to be undone.
 */
export function runGroup(transition: Transition, group: readonly Waiting[]): (() => void)[] {
  return group.map(({ run, nowMs, resolve, reject }) => {
    const before = transition.writes;
    try {
      const value = run(transition.at(nowMs));
      return () => {
        resolve(value);
      };
    } catch (thrown) {
      if (transition.writes !== before || !isPodlineError(thrown)) throw thrown;
      return () => {
        reject(thrown);
      };
    }
  });
}
