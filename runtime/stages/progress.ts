/**
 * When the progress of a run is said: at first soon, then some times a second, and what is left with the end of the run.
 *
 * Invariants
 *  1. What is newer takes the place of what was not said yet; what was last is always said.
 *  2. Of a run that is over in no time, only the end is told, and with what is all there will be the end is waited for: one
 *     write wakes the agent once.
 *  3. Of a run that is followed, every commit is said at once.
 */
import { performance } from 'node:perf_hooks';
import type { ShimToAgent } from '../contracts/shim-protocol.js';
import type { RunNews } from './news.js';

/** Between two reports of progress of a run. */
const progressEveryMs = 100;
/** From the start of a run to its first report of blocks: long for a run that is over by then, short for whoever would follow. */
const firstAfterMs = 5;

export class Progress {
  #last: { blocks: number; blocksTotal: number; rows: number; note?: string } = { blocks: 0, blocksTotal: 0, rows: 0 };
  #isSaid = true;
  #saidAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #firstMs = performance.now() + firstAfterMs - progressEveryMs;

  constructor(
    private readonly run: { runId: string; growing?: readonly string[] | undefined },
    private readonly news: RunNews,
    private readonly send: (message: ShimToAgent) => void,
  ) {}

  blocks(blocks: number, blocksTotal: number, rows: number): void {
    Object.assign(this.#last, { blocks, blocksTotal, rows });
    this.#isSaid = false;
    // A run that follows another is at the end of what there is again and again.
    const isLast = blocks === blocksTotal && (this.run.growing ?? []).length === 0;
    if (this.news.isFollowed) this.#say();
    else this.#saySoon(isLast ? performance.now() : Math.max(this.#saidAtMs, this.#firstMs));
  }

  note(note: string): void {
    this.#last.note = note;
    this.#isSaid = false;
    this.#saySoon(this.#saidAtMs);
  }

  /** Says no more. What is left to say. */
  end(): ShimToAgent[] {
    this.#isOver = true;
    clearTimeout(this.#timer);
    return this.#isSaid ? [] : [this.#message()];
  }

  #saySoon(sinceMs: number): void {
    const waitMs = sinceMs + progressEveryMs - performance.now();
    if (waitMs <= 0) this.#say();
    else this.#timer ??= setTimeout(() => this.#say(), waitMs).unref();
  }

  #say(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // A stage that was cancelled may speak on.
    if (this.#isOver) return;
    this.#isSaid = true;
    this.#saidAtMs = performance.now();
    this.send(this.#message());
  }

  #message(): ShimToAgent {
    return { type: 'progress', runId: this.run.runId, ...this.#last };
  }
}
