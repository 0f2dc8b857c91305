/** Back-pressure: while the coordinator takes no more, nothing is taken for it. The pauses grow, and begin anew when it takes again. */
import type { WireError } from '../contracts/errors.js';
import { backoffMs } from '../line/backoff.js';
import type { Patience } from './persist.js';
import type { Status } from './status.js';

export class Pace {
  #pauses = 0;

  constructor(
    private readonly status: Status,
    private readonly patience: Patience,
  ) {}

  /** The coordinator took what it was given. */
  goesOn(): void {
    if (this.#pauses === 0) return;
    this.#pauses = 0;
    this.status.set('inlet', 'running', 'requests are taken');
  }

  /** Resolves when it is time to try again, or with the signal. */
  async pause(error: WireError, signal: AbortSignal): Promise<void> {
    this.#pauses += 1;
    const { backoff, delay, random } = this.patience;
    this.status.set('inlet', 'paused', `the coordinator takes no more at present: ${error.message} (${error.code})`);
    await delay(backoffMs(backoff, this.#pauses) * (0.5 + random() / 2), signal);
  }
}
