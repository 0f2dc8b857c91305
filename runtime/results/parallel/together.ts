/**
 * The text of a table made by several threads, and written in order by one, which makes blocks itself while others are not there yet.
 *
 * Invariants
 *  1. The bytes are those that one thread would have written.
 *  2. At most `2 × (helpers + 1)` blocks of text are held; a block that is next in order and nobody's yet goes straight to the file.
 *  3. After a fault nobody is asked for more; what others still make is dropped.
 */
import { setImmediate } from 'node:timers/promises';

/** Blocks that wait at each helper, so that it is busy while this thread makes one itself. */
const askedMax = 2;

export interface TextWork {
  blocks: number;
  helpers: number;
  /** The text of a block from another thread. */
  ask(helper: number, seq: number): Promise<readonly Uint8Array[]>;
  /** Makes it here; `take` has done with a piece when it returns. */
  make(seq: number, take: (piece: Uint8Array) => void): void;
  write(piece: Uint8Array): void;
  /** Throws when the text is not wanted any more. */
  check(): void;
}

export async function writeTogether(work: TextWork): Promise<void> {
  const { blocks, helpers } = work;
  const heldMax = 2 * (helpers + 1);
  const made = new Map<number, readonly Uint8Array[]>();
  const asked = new Array<number>(helpers).fill(0);
  let fault: { thrown: unknown } | undefined;
  let wake: () => void = () => undefined;
  /** The first block that is nobody's. */
  let free = 0;
  const mayTake = (next: number): boolean => free < blocks && free - next < heldMax;

  const ask = async (helper: number): Promise<void> => {
    const seq = free++;
    asked[helper] = (asked[helper] ?? 0) + 1;
    try {
      made.set(seq, await work.ask(helper, seq));
    } catch (thrown) {
      fault ??= { thrown };
    }
    asked[helper] -= 1;
    wake();
  };
  const feed = (next: number): void => {
    for (let waiting = 0; waiting < askedMax; waiting++)
      for (let helper = 0; helper < helpers && mayTake(next); helper++) if (asked[helper] === waiting) void ask(helper);
  };

  for (let next = 0; next < blocks;) {
    work.check();
    if (fault !== undefined) throw fault.thrown;
    const text = made.get(next);
    if (text !== undefined) {
      made.delete(next);
      for (const piece of text) work.write(piece);
      next += 1;
    } else if (free === next) {
      free += 1;
      feed(next);
      work.make(next, (piece) => work.write(piece));
      next += 1;
    } else {
      feed(next);
      if (!mayTake(next)) {
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      const seq = free++;
      const pieces: Uint8Array[] = [];
      work.make(seq, (piece) => pieces.push(new Uint8Array(piece)));
      made.set(seq, pieces);
    }
    // Lets answers, and other deliveries of the thread, in.
    await setImmediate();
  }
}
