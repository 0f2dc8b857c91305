/**
 * The front of a queue: the oldest shards of one priority of a group that wait, in memory. What stands behind `upTo` is found
 * where everything is kept, and brought here a window at a time, so a lease costs the same whatever the queue's length.
 *
 * Invariants
 *  1. Every shard that waits and whose number is at most `upTo` is here, once, in order.
 *  2. What is here may have ceased to wait: it is asked about, and dropped, when its turn comes.
 */

/** Shards here at most; half of them go back behind `upTo` when there are more. */
const frontMax = 8_192;

export interface Window {
  /** Those that wait, in order. */
  seqs: number[];
  /** No other waits up to here; Infinity: none at all. */
  upTo: number;
}

export class Front {
  #seqs: number[] = [];
  #at = 0;
  #upTo = 0;

  /** It waits from here on. */
  add(seq: number): void {
    if (seq > this.#upTo) return;
    const last = this.#seqs.at(-1);
    if (last === undefined || seq > last || this.#at === this.#seqs.length) this.#seqs.push(seq);
    else {
      const at = this.#placeOf(seq);
      if (this.#seqs[at] === seq) return;
      this.#seqs.splice(at, 0, seq);
    }
    this.#bound();
  }

  /** The first `max` that wait. `behind`: brings the next window behind a number. */
  first(max: number, waits: (seq: number) => boolean, behind: (after: number) => Window): number[] {
    const found: number[] = [];
    this.#forgetPassed();
    for (let at = this.#at; found.length < max; at += 1) {
      while (at >= this.#seqs.length && this.#upTo !== Number.POSITIVE_INFINITY) this.#extend(behind(this.#upTo));
      const seq = this.#seqs[at];
      if (seq === undefined) break;
      if (waits(seq)) found.push(seq);
      else if (at === this.#at) this.#at += 1;
    }
    return found;
  }

  #extend({ seqs, upTo }: Window): void {
    this.#seqs.push(...seqs);
    this.#upTo = upTo;
  }

  #forgetPassed(): void {
    if (this.#at < frontMax / 2) return;
    this.#seqs = this.#seqs.slice(this.#at);
    this.#at = 0;
  }

  #bound(): void {
    if (this.#seqs.length - this.#at <= frontMax) return;
    this.#seqs = this.#seqs.slice(this.#at, this.#at + frontMax / 2);
    this.#at = 0;
    this.#upTo = this.#seqs.at(-1) ?? 0;
  }

  /** Where it stands, or would. */
  #placeOf(seq: number): number {
    let [from, to] = [this.#at, this.#seqs.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((this.#seqs[middle] ?? 0) < seq) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}
