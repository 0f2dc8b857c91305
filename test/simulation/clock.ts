/** Virtual time: what is planned happens in the order of its time, and of its planning where times are equal. */
import { Heap } from './heap.js';

interface Planned {
  atMs: number;
  order: number;
  act: () => void;
}

export class Clock {
  nowMs = 0;
  #order = 0;
  readonly #planned = new Heap<Planned>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order));

  at(atMs: number, act: () => void): void {
    this.#order += 1;
    this.#planned.push({ atMs: Math.max(atMs, this.nowMs), order: this.#order, act });
  }

  after(ms: number, act: () => void): void {
    this.at(this.nowMs + ms, act);
  }

  /** Runs until `isDone`, or nothing is planned; throws when it takes more than `eventsMax` events. */
  run(isDone: () => boolean, eventsMax: number): void {
    for (let events = 0; !isDone(); events += 1) {
      if (events >= eventsMax) throw new Error(`not done after ${String(eventsMax)} events, at ${String(this.nowMs)} ms`);
      const planned = this.#planned.pop();
      if (planned === undefined) return;
      this.nowMs = planned.atMs;
      planned.act();
    }
  }
}
