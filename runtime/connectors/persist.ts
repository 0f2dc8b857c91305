/** Work that ends by failing and is begun again, with growing pauses, until it is called off. */
import { PodlineError } from '../contracts/errors.js';
import { backoffMs, type Backoff } from '../line/backoff.js';

export interface Patience {
  backoff: Backoff;
  /** Waits; an abort ends the wait early and without an error. */
  delay: (ms: number, signal: AbortSignal) => Promise<void>;
  /** In [0, 1). */
  random: () => number;
}

const isAborted = (signal: AbortSignal): boolean => signal.aborted;

/** `work` calls `onRunning` once it has begun well: the pauses begin anew. Resolves when the signal is given; never rejects. */
export async function persist(
  work: (signal: AbortSignal, onRunning: () => void) => Promise<void>,
  signal: AbortSignal,
  { backoff, delay, random }: Patience,
  onFailure: (error: PodlineError, pauseMs: number) => void,
): Promise<void> {
  for (let failures = 1; !isAborted(signal); failures += 1) {
    try {
      await work(signal, () => {
        failures = 0;
      });
      if (isAborted(signal)) return;
      throw new PodlineError('PDL_BROKER_UNREACHABLE', 'the connection ended');
    } catch (thrown) {
      if (isAborted(signal)) return;
      const pauseMs = backoffMs(backoff, Math.max(1, failures)) * (0.5 + random() / 2);
      onFailure(PodlineError.from(thrown, 'PDL_BROKER_UNREACHABLE'), pauseMs);
      await delay(pauseMs, signal);
    }
  }
}
