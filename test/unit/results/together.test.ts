import { describe, expect, it } from 'vitest';
import { writeTogether, type TextWork } from '../../../runtime/results/parallel/together.js';
import { until } from '../../support/until.js';

/** Helpers whose answers come when the test says so. */
class Helped implements TextWork {
  readonly written: string[] = [];
  readonly here: number[] = [];
  readonly waiting = new Map<number, { helper: number; resolve: () => void; reject: (thrown: unknown) => void }>();
  heldMost = 0;
  isWanted = true;
  onMade: (seq: number) => void = () => undefined;

  constructor(
    readonly blocks: number,
    readonly helpers: number,
  ) {}

  ask(helper: number, seq: number): Promise<readonly Uint8Array[]> {
    this.#look(seq);
    return new Promise((resolve, reject) => {
      const text = [Buffer.from(`${String(seq)} `), Buffer.from(`by ${String(helper)}`)];
      this.waiting.set(seq, { helper, resolve: () => resolve(text), reject });
    });
  }

  make(seq: number, take: (piece: Uint8Array) => void): void {
    this.#look(seq);
    this.here.push(seq);
    const reused = Buffer.from(`${String(seq)} here`);
    take(reused);
    reused.fill(0);
    this.onMade(seq);
  }

  readonly write = (piece: Uint8Array): void => {
    this.written.push(Buffer.from(piece).toString());
  };

  check(): void {
    if (!this.isWanted) throw new Error('not wanted');
  }

  answer(seq: number): void {
    this.waiting.get(seq)?.resolve();
    this.waiting.delete(seq);
  }

  /** Blocks by which the writing is behind. */
  #look(seq: number): void {
    this.heldMost = Math.max(this.heldMost, seq - (this.numbers.at(-1) ?? -1) - 1);
  }

  get numbers(): number[] {
    return [-1, ...[...this.written.join('|').matchAll(/(\d+) /g)].map(([, seq]) => Number(seq))];
  }
}

describe('text by several threads', () => {
  it('is written in order, whoever made it', async () => {
    const work = new Helped(20, 2);
    // Whatever a helper was asked for is answered from the last to the first.
    work.onMade = () => {
      for (const seq of [...work.waiting.keys()].reverse()) work.answer(seq);
    };
    await writeTogether(work);
    expect(work.numbers).toEqual(Array.from({ length: 21 }, (_, index) => index - 1));
    expect(work.here.length).toBeGreaterThan(0);
    expect(work.here.length).toBeLessThan(20);
    expect(work.written.join('')).not.toContain('\0');
  });

  it('is made by one thread where nobody helps', async () => {
    const work = new Helped(3, 0);
    await writeTogether(work);
    expect(work.written).toEqual(['0 here', '1 here', '2 here']);
  });

  it('holds a bounded number of blocks for one that does not come', async () => {
    const work = new Helped(100, 1);
    const done = writeTogether(work);
    await until(() => work.here.length === 3);
    expect(work.numbers).toEqual([-1, 0]);
    const answerAll = (): void => {
      for (const seq of [...work.waiting.keys()]) work.answer(seq);
    };
    await until(() => {
      answerAll();
      return work.numbers.length === 101;
    });
    await done;
    expect(work.heldMost).toBeLessThanOrEqual(4);
  });

  it('ends with the fault of a helper, and asks for no more', async () => {
    const work = new Helped(100, 1);
    const done = writeTogether(work);
    done.catch(() => undefined);
    await until(() => work.waiting.size === 2);
    work.waiting.get(1)?.reject(new Error('a disk'));
    await expect(done).rejects.toThrow('a disk');
    expect(work.waiting.size).toBe(2);
  });

  it('ends when it is not wanted any more', async () => {
    const work = new Helped(100, 1);
    work.onMade = (seq) => {
      if (seq === 0) work.isWanted = false;
    };
    await expect(writeTogether(work)).rejects.toThrow('not wanted');
    expect(work.written).toEqual(['0 here']);
  });
});
