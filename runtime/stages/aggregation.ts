/**
 * The state of an aggregation while its blocks come in: merged in the order of the blocks, saved with its progress.
 *
 * Invariants
 *  1. Merged strictly in block order, so that the last bit of every float is the same with any number of threads and after any resume.
 *  2. A state over `stageStateBytesMax` is not saved; the aggregation then begins anew after a failure.
 *  3. Saving takes a small part of the time: a state that is slow to encode is saved less often.
 */
import { Packr } from 'msgpackr';
import type { StageProgress } from '../contracts/block.js';
import { limits } from '../contracts/limits.js';
import type { StageContext, StageFunctions } from './define.js';
import { stageError } from './failure.js';

/** Between two saves passes at least this many times what the last one took. */
const saveShare = 20;

const packr = new Packr({ structuredClone: true, moreTypes: true });

export class Aggregation {
  #state: unknown;
  #savedAtMs: number;
  #saveMs = 0;
  #tooLarge = false;

  /** Goes on from a saved state, or begins with an empty one. */
  constructor(
    private readonly stage: string,
    private readonly functions: NonNullable<StageFunctions['aggregate']>,
    private readonly ctx: StageContext,
    saved: Uint8Array | undefined,
    private readonly nowMs: () => number,
  ) {
    this.#state = saved === undefined ? this.#guarded('start', () => functions.start(ctx)) : packr.unpack(Buffer.from(saved));
    this.#savedAtMs = nowMs();
  }

  /** Takes in the partial state of the next block; returns progress to commit when it is time to. */
  take(partial: unknown, consumed: number): StageProgress | undefined {
    this.#state = this.#guarded('merge', () => this.functions.merge(this.#state, partial, this.ctx));
    const beganMs = this.nowMs();
    if (this.#tooLarge || beganMs - this.#savedAtMs < this.#saveMs * saveShare) return undefined;
    const state = packr.pack(this.#state);
    this.#savedAtMs = this.nowMs();
    this.#saveMs = this.#savedAtMs - beganMs;
    if (state.byteLength > limits.stageStateBytesMax) {
      this.#tooLarge = true;
      return undefined;
    }
    return { consumed, state };
  }

  async finish(): Promise<unknown> {
    try {
      return await this.functions.finish(this.#state, this.ctx);
    } catch (thrown) {
      throw stageError(this.stage, thrown, 'finish');
    }
  }

  #guarded<T>(where: string, call: () => T): T {
    try {
      return call();
    } catch (thrown) {
      throw stageError(this.stage, thrown, where);
    }
  }
}
