/**
 * What the coordinator does about flow: the scaler holds the number of lines, the pacer the speed of submitters. Composes the two and
 * says what they decided.
 */
import type { Autoscaler, Capacity, Wanted } from '../contracts/capacity.js';
import type { DriverEvent, LineDriver } from '../contracts/driver.js';
import { isPodlineError, PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Submission, SubmitAnswer } from '../contracts/shard.js';
import type { FlowView, LineView, PaceView } from '../contracts/views.js';
import type { Journal } from '../journal/journal.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import type { LineDesk } from './line-desk.js';
import { Pacer } from './pacer.js';
import { Scaler } from './scaler.js';

export interface FlowDeskParts {
  journal: Journal;
  clock: Clock;
  logger: Logger;
  driver?: LineDriver | undefined;
  capacity?: Capacity | undefined;
  autoscaler?: Autoscaler | undefined;
  /** Of a line, where its pipeline does not say; 1 without it. */
  cores?: number | undefined;
  pendingShardsMax: number;
  desk: Pick<LineDesk, 'viewsOf' | 'drain'>;
}

/** Where nobody says what there is, there is no bound. */
const boundless: Capacity = {
  costOf: () => ({ perLine: {}, refusals: [] }),
  quotas: () => [],
  subscribe: () => () => undefined,
};

export class FlowDesk {
  readonly #pacer: Pacer;
  readonly #scaler: Scaler | undefined;

  constructor(parts: FlowDeskParts) {
    const capacity = parts.capacity ?? boundless;
    const { driver, desk, cores = 1 } = parts;
    const linesOf = (pipeline: string): LineView[] => desk.viewsOf(pipeline);
    this.#pacer = new Pacer({ ...parts, cores, capacity, linesOf });
    // A line that has not said hello yet has nothing to drain.
    const drain = (line: string, draining: boolean): void => {
      try {
        desk.drain(line, draining);
      } catch (thrown) {
        if (!isPodlineError(thrown, 'PDL_LINE_UNKNOWN')) throw thrown;
      }
    };
    this.#scaler = driver === undefined ? undefined : new Scaler({ ...parts, cores, driver, capacity, linesOf, drain });
  }

  /**
   * Scales the pipeline's lines from now on, by its manifest, or to as many as are wanted, as far as the quotas allow; resolves when the
   * first of them are started. Throws PDL_USAGE without a driver, PDL_QUOTA when a number is wanted and the quotas leave room for none.
   */
  async manage(pipeline: Pipeline, lines?: number | Wanted): Promise<FlowView | undefined> {
    if (this.#scaler === undefined) throw new PodlineError('PDL_USAGE', 'this coordinator has no driver that could start lines');
    const wanted: Wanted = typeof lines === 'number' ? { by: 'number', lines } : (lines ?? { by: 'demand' });
    this.#scaler.manage(pipeline, wanted);
    await this.#scaler.settled();
    const view = this.#scaler.view(pipeline.name);
    if (wanted.by === 'number' && wanted.lines > 0 && view?.linesMax === 0)
      throw new PodlineError('PDL_QUOTA', `pipeline ${pipeline.name} may have no line: W_max is 0 ${view.because}`);
    return view;
  }

  revised(pipeline: Pipeline): void {
    this.#scaler?.revised(pipeline);
  }

  /** Lines of the pipeline are no longer its business; without a name, no lines are. They stay as they are. */
  leave(pipeline?: string): void {
    this.#scaler?.leave(pipeline);
  }

  heed(event: DriverEvent): void {
    this.#scaler?.heed(event);
  }

  /** There is more work, or less. */
  stirred(): void {
    this.#scaler?.lookSoon();
  }

  view(pipeline: string): FlowView | undefined {
    return this.#scaler?.view(pipeline);
  }

  async pace(pipeline: Pipeline): Promise<PaceView> {
    return this.#pacer.look(pipeline);
  }

  /** Answers that refuse them all while the queue is full, with the time to come back; undefined while it is not. */
  async refuse(pipeline: Pipeline, submissions: readonly Submission[]): Promise<SubmitAnswer[] | undefined> {
    const { pause, retryAfterS, why } = await this.#pacer.look(pipeline);
    if (pause !== 'full') return undefined;
    const error = new PodlineError('PDL_QUEUE_FULL', `pipeline ${pipeline.name} takes no shards now; ${why}`, {
      retryAfterS,
    }).toWire();
    return submissions.map(({ key }): SubmitAnswer => ({ outcome: 'rejected', key, error }));
  }

  /** Lines stay as they are, and nobody scales them any more. Idempotent. */
  async close(): Promise<void> {
    await this.#scaler?.close();
  }
}
