/**
 * Inputs of manifests on their way into the journal, beside the queue: splitting a large source takes longer than a look.
 *
 * Owns what is under way; `close` breaks it off. Invariant: at most `atOnceMax` inputs are split at a time.
 */
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Logger } from '../platform/logger.js';
import type { Desk, SplitInput } from './desk.js';
import { Refusal } from './resolve.js';
import { submitInput } from './submit-input.js';

export type Submission =
  | { state: 'working'; digest: string }
  | { state: 'done'; digest: string; submitted: number }
  | { state: 'failed'; digest: string; refusal: Refusal };

export interface SubmissionsOptions {
  desk: Desk;
  split: SplitInput;
  logger: Logger;
}

const atOnceMax = 4;

export class Submissions {
  readonly #working = new Set<Promise<void>>();
  readonly #ending = new AbortController();

  constructor(private readonly options: SubmissionsOptions) {}

  get isFull(): boolean {
    return this.#working.size >= atOnceMax;
  }

  /** `ended` is called once, unless it was broken off. `since`: see `submitInput`. */
  begin(pipeline: Pipeline, digest: string, since: string, ended: (submission: Submission) => void): void {
    const { desk, split, logger } = this.options;
    const { signal } = this.#ending;
    const work = submitInput(pipeline, { desk, split, since, signal })
      .then(
        (submitted): Submission => ({ state: 'done', digest, submitted }),
        (thrown: unknown): Submission => {
          if (!signal.aborted) logger.warn({ pipeline: pipeline.name, err: String(thrown) }, 'the input could not be submitted');
          return { state: 'failed', digest, refusal: new Refusal('InputUnreadable', PodlineError.from(thrown)) };
        },
      )
      .then((submission) => {
        this.#working.delete(work);
        if (!signal.aborted) ended(submission);
      });
    this.#working.add(work);
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#working);
  }
}
