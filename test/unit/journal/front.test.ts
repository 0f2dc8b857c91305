import { describe, expect, it } from 'vitest';
import { Front, type Window } from '../../../runtime/journal/lmdb/front.js';
import { Random } from '../../simulation/random.js';

/** What waits, of which a front sees only what it asks for. */
class Queue {
  readonly waiting = new Set<number>();
  readonly front = new Front();
  windows = 0;

  add(seq: number): void {
    this.waiting.add(seq);
    this.front.add(seq);
  }

  first(max: number, windowMax = 16): number[] {
    const behind = (after: number): Window => {
      this.windows += 1;
      const seqs = this.inOrder().filter((seq) => seq > after);
      return seqs.length < windowMax
        ? { seqs, upTo: Number.POSITIVE_INFINITY }
        : { seqs: seqs.slice(0, windowMax), upTo: seqs[windowMax - 1] ?? 0 };
    };
    return this.front.first(max, (seq) => this.waiting.has(seq), behind);
  }

  inOrder(): number[] {
    return [...this.waiting].sort((a, b) => a - b);
  }
}

describe('the front of a queue', () => {
  it('gives the oldest that wait, whatever came, went and came back', () => {
    const random = new Random(5);
    const queue = new Queue();
    let last = 0;
    for (let step = 0; step < 20_000; step += 1) {
      const what = random.int(0, 9);
      const held = queue.inOrder();
      if (what < 4) queue.add((last += random.int(1, 3)));
      else if (what === 4) queue.add(random.int(1, last + 1));
      else if (what === 5) queue.waiting.delete(held[random.int(0, held.length)] ?? 0);
      else {
        const max = random.int(1, 5);
        const found = queue.first(max);
        expect(found).toEqual(held.slice(0, max));
        for (const seq of found) if (random.int(0, 4) > 0) queue.waiting.delete(seq);
      }
      last = Math.max(last, ...queue.waiting);
    }
  });

  it('keeps a bounded part of a long queue in memory, and brings the rest a window at a time', () => {
    const queue = new Queue();
    for (let seq = 1; seq <= 30_000; seq += 1) queue.add(seq);
    const taken: number[] = [];
    while (queue.waiting.size > 0) {
      for (const seq of queue.first(100, 1_000)) {
        taken.push(seq);
        queue.waiting.delete(seq);
      }
    }
    expect(taken).toEqual(Array.from({ length: 30_000 }, (_, index) => index + 1));
    expect(queue.windows).toBeGreaterThan(10);
    expect(queue.windows).toBeLessThan(60);
  });
});
