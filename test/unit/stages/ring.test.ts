/** The ring: its rules against a model, with calls of all sides in any order. Threads meet in test/integration/shim/ring.test.ts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RingCommitter, RingWorker, type RingShape } from '../../../runtime/stages/ring.js';

const shape: RingShape = { slots: 4, slotBytes: 16, threads: 3 };
const bytesFor = (block: number): Uint8Array => Uint8Array.of(block & 255, block >> 8, 7);

/** What a worker is doing, in the model: at rest, with a claim that is not admitted, at work on a block, or out of blocks. */
type Doing = { at: 'rest' } | { at: 'claimed' | 'working'; block: number } | { at: 'done' };

describe('the ring', () => {
  it('gives each block to one worker, takes them in order, and never has more under way than slots', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.record({ who: fc.constant('worker' as const), thread: fc.integer({ min: 0, max: 2 }) }),
            fc.record({ who: fc.constant('grow' as const), by: fc.integer({ min: 1, max: 5 }) }),
            fc.constant({ who: 'take' as const }),
            fc.constant({ who: 'commit' as const }),
          ),
          { maxLength: 400 },
        ),
        fc.nat(1000),
        (steps, from) => {
          const ring = new RingCommitter(shape);
          const workers = Array.from({ length: shape.threads }, (_, thread) => new RingWorker(ring.memory, shape, thread));
          const state = ring.begin(from);
          const doing: Doing[] = workers.map((worker) => (worker.enter(state), { at: 'rest' }));
          let known = from;
          let committed = from;
          const taken: number[] = [];
          const claimed = new Set<number>();
          const worker = (thread: number): void => {
            const it = workers[thread]!;
            const now = doing[thread]!;
            if (now.at === 'rest') {
              const block = it.claim();
              expect(claimed.has(block)).toBe(false);
              claimed.add(block);
              doing[thread] = { at: 'claimed', block };
            } else if (now.at === 'claimed') {
              const admitted = it.admits(now.block);
              expect(admitted).toBe(now.block < Math.min(known, committed + shape.slots) ? true : undefined);
              if (admitted === true) doing[thread] = { at: 'working', block: now.block };
            } else if (now.at === 'working') {
              if (now.block % 3 === 0) expect(it.publish(now.block, 'nothing')).toBe(true);
              else expect(it.publish(now.block, 'bytes', bytesFor(now.block))).toBe(true);
              doing[thread] = { at: 'rest' };
            }
          };
          const take = (): void => {
            const next = ring.take();
            if (next === undefined) return;
            expect(next.block).toBe(from + taken.length);
            expect([...next.bytes]).toEqual(next.block % 3 === 0 ? [] : [...bytesFor(next.block)]);
            taken.push(next.block);
          };
          const commit = (): void => {
            ring.release();
            committed = from + taken.length;
          };
          for (const step of steps) {
            if (step.who === 'worker') worker(step.thread);
            else if (step.who === 'grow') ring.grow((known += step.by), false);
            else if (step.who === 'take') take();
            else commit();
            const underWay = doing.filter(({ at }) => at === 'working').length;
            expect(underWay).toBeLessThanOrEqual(shape.slots);
          }
          // Whatever came before, it can be brought to its end.
          ring.grow(known, true);
          for (let round = 0; round < 4 * (known - from + 4); round++) {
            for (let thread = 0; thread < shape.threads; thread++) {
              const now = doing[thread]!;
              if (now.at === 'claimed' && workers[thread]!.admits(now.block) === false) doing[thread] = { at: 'done' };
              else worker(thread);
            }
            take();
            commit();
          }
          expect(taken).toEqual(Array.from({ length: known - from }, (_, n) => from + n));
          expect(ring.isDone).toBe(true);
          expect(doing.every(({ at }) => at === 'done')).toBe(true);
        },
      ),
    );
  });

  it('does not let a block over the one whose slot it needs before that is committed', () => {
    const ring = new RingCommitter({ slots: 1, slotBytes: 8, threads: 2 });
    const [one, two] = [0, 1].map((thread) => new RingWorker(ring.memory, ring.shape, thread));
    const state = ring.begin(0);
    one!.enter(state);
    two!.enter(state);
    ring.grow(2, true);
    expect([one!.claim(), two!.claim()]).toEqual([0, 1]);
    expect([one!.admits(0), two!.admits(1)]).toEqual([true, undefined]);
    one!.publish(0, 'nothing');
    expect(ring.take()).toMatchObject({ block: 0 });
    expect(two!.admits(1)).toBeUndefined();
    ring.release();
    expect(two!.admits(1)).toBe(true);
  });

  it('refuses bytes that do not fit, and leaves the slot unpublished', () => {
    const ring = new RingCommitter(shape);
    const worker = new RingWorker(ring.memory, shape, 0);
    worker.enter(ring.begin(0));
    ring.grow(1, true);
    expect(worker.publish(worker.claim(), 'bytes', new Uint8Array(17))).toBe(false);
    expect(ring.take()).toBeUndefined();
    worker.publish(0, 'message');
    expect(ring.take((kind) => kind !== 'message')).toBeUndefined();
    expect(ring.take()).toMatchObject({ block: 0, kind: 'message' });
  });

  it('lets nobody into a run that is over, and nobody of an earlier run into the next', () => {
    const ring = new RingCommitter(shape);
    const late = new RingWorker(ring.memory, shape, 0);
    const first = ring.begin(0);
    ring.over();
    expect(late.enter(first)).toBe(false);
    const second = ring.begin(0);
    expect(late.enter(first)).toBe(false);
    expect(ring.isInside(0)).toBe(false);
    expect(late.enter(second)).toBe(true);
    ring.grow(1, true);
    ring.over();
    expect(late.admits(late.claim())).toBe(false);
    expect(ring.isInside(0)).toBe(true);
    late.leave([1, 2, 3, 4, 5]);
    expect(ring.isInside(0)).toBe(false);
    expect(ring.counts()).toEqual([1, 2, 3, 4, 5]);
  });

  it('forgets what was published for an earlier run', () => {
    const ring = new RingCommitter(shape);
    const worker = new RingWorker(ring.memory, shape, 0);
    worker.enter(ring.begin(0));
    ring.grow(9, true);
    worker.publish(worker.claim(), 'nothing');
    ring.over();
    worker.leave([]);
    ring.begin(0);
    ring.grow(9, true);
    expect(ring.take()).toBeUndefined();
    expect(ring.isDone).toBe(false);
  });

  it('wakes who waits: for blocks, for the end of the run, for an outcome', async () => {
    const ring = new RingCommitter(shape);
    const worker = new RingWorker(ring.memory, shape, 0);
    worker.enter(ring.begin(5));
    const block = worker.claim();
    const admission = worker.admission(block);
    ring.grow(6, false);
    expect(await admission).toBe(true);
    const published = ring.rung(ring.bell);
    worker.publish(block, 'nothing');
    await published;
    expect(ring.take()).toMatchObject({ block: 5 });
    const none = worker.admission(worker.claim());
    const over = worker.over();
    ring.grow(6, true);
    expect(await none).toBe(false);
    ring.over();
    await over;
  });
});
