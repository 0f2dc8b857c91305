/** When a stage that leaves its threads open gets more than one. */
import { describe, expect, it } from 'vitest';
import { isWorthThreads } from '../../../runtime/stages/adaptive.js';

describe('threads are worth it', () => {
  it.each([
    ['one block, however long it takes', 1, 10_000, 4, true, false],
    ['one thread', 100, 1_000, 1, true, false],
    ['a few short blocks, with threads to be started', 8, 5, 2, false, false],
    ['the same with threads that are up', 8, 5, 2, true, true],
    ['many short blocks', 1_000, 2, 2, false, true],
    ['few long blocks', 4, 1_000, 2, false, true],
    ['blocks of which nothing is known yet', 1_000, 0, 4, true, false],
    ['blocks that take no time worth telling', 20, 0.01, 2, true, false],
  ])('%s', (_, blocksLeft, blockMs, threads, areUp, expected) => {
    expect(isWorthThreads(blocksLeft, blockMs, threads, areUp)).toBe(expected);
  });
});
