/** What a run is told while it goes on, kept until somebody asks: a message may come before the run has come to listen. */

export type News =
  /** An input may have more blocks than before. How many is in the index, which is believed and not the message. */
  | 'inputGrew'
  /** Somebody reads the output while it grows: every commit counts, and should come soon. */
  | 'followed';

export class RunNews {
  #isFollowed = false;
  #isHeld: boolean;
  #onBegun: ((growing: readonly string[]) => void) | undefined;
  #onGrowth: (() => void) | undefined;
  #onNews: ((news: News) => void) | undefined;

  /** `isHeld`: the run was prepared; the stage's code is not called before its inputs are whole, or the run is started. */
  constructor(isHeld = false) {
    this.#isHeld = isHeld;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** It need not be held back any longer. `growing`: inputs that are not whole. */
  begin(growing: readonly string[] = []): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#onBegun?.(growing);
  }

  /** Called once, if the run was held. */
  onBegun(listener: (growing: readonly string[]) => void): void {
    this.#onBegun = listener;
  }

  take(news: News): void {
    if (news === 'followed') this.#isFollowed = true;
    else this.#onGrowth?.();
    this.#onNews?.(news);
  }

  get isFollowed(): boolean {
    return this.#isFollowed;
  }

  /** One listener, the last. What grew before is found in the index. */
  onGrowth(listener: (() => void) | undefined): void {
    this.#onGrowth = listener;
  }

  /** All of it, for somebody else to take; that the run is followed is told even if it was before. */
  onNews(listener: ((news: News) => void) | undefined): void {
    this.#onNews = listener;
    if (this.#isFollowed) listener?.('followed');
  }
}
