/** When a shim says how far its run has come. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ShimToAgent } from '../../../runtime/contracts/shim-protocol.js';
import { RunNews } from '../../../runtime/stages/news.js';
import { Progress } from '../../../runtime/stages/progress.js';

let said: ShimToAgent[];
let news: RunNews;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  // The clock of a process that has been up for a while.
  vi.advanceTimersByTime(5_000);
  said = [];
  news = new RunNews();
});
afterEach(() => {
  vi.useRealTimers();
});

const progressOf = (growing?: string[]): Progress => new Progress({ runId: 'r', growing }, news, (message) => said.push(message));
const at = (blocks: number, blocksTotal: number, rows = 0): ShimToAgent => ({
  type: 'progress',
  runId: 'r',
  blocks,
  blocksTotal,
  rows,
});

describe('progress', () => {
  it('is said soon at first, and then some times a second, the newest each time', () => {
    const progress = progressOf();
    progress.blocks(1, 9, 10);
    expect(said).toEqual([]);
    vi.advanceTimersByTime(5);
    for (let blocks = 2; blocks <= 5; blocks++) progress.blocks(blocks, 9, 10 * blocks);
    expect(said).toEqual([at(1, 9, 10)]);
    vi.advanceTimersByTime(100);
    expect(said).toEqual([at(1, 9, 10), at(5, 9, 50)]);
    vi.advanceTimersByTime(1_000);
    expect(said).toHaveLength(2);
  });

  it('goes with the end of the run where it is all there will be', () => {
    const progress = progressOf();
    progress.blocks(1, 2, 0);
    vi.advanceTimersByTime(5);
    progress.blocks(2, 2, 0);
    expect(said).toEqual([at(1, 2)]);
    expect(progress.end()).toEqual([at(2, 2)]);
    vi.advanceTimersByTime(1_000);
    expect(said).toHaveLength(1);
  });

  it('is said before the end of a run that takes its time over it', () => {
    const progress = progressOf();
    progress.blocks(2, 2, 0);
    vi.advanceTimersByTime(100);
    expect(said).toEqual([at(2, 2)]);
    expect(progress.end()).toEqual([]);
  });

  it('of a run that follows is not taken for the last whenever it has caught up', () => {
    progressOf(['input']).blocks(1, 1, 0);
    vi.advanceTimersByTime(5);
    expect(said).toEqual([at(1, 1)]);
  });

  it('of a run that is followed is said with every commit', () => {
    const progress = progressOf();
    progress.blocks(1, 9, 0);
    news.take('followed');
    for (let blocks = 2; blocks <= 4; blocks++) progress.blocks(blocks, 9, 0);
    vi.advanceTimersByTime(1_000);
    expect(said).toEqual([at(2, 9), at(3, 9), at(4, 9)]);
  });

  it('tells a first note at once: the stage may not let anybody speak for long', () => {
    progressOf().note('reading');
    expect(said).toEqual([{ ...at(0, 0), note: 'reading' }]);
  });

  it('carries the last note, and is silent after the end', () => {
    const progress = progressOf();
    progress.note('reading');
    progress.note('writing');
    expect(progress.end()).toEqual([{ ...at(0, 0), note: 'writing' }]);
    progress.note('still here');
    vi.advanceTimersByTime(1_000);
    expect(said).toEqual([{ ...at(0, 0), note: 'reading' }]);
  });
});
