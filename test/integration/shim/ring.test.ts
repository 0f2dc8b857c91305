/** Real threads that meet in a ring at its worst places; its rules are held against a model in test/unit/stages/ring.test.ts. */
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { entryPath } from '../../../runtime/platform/entries.js';
import { RingCommitter, type RingShape } from '../../../runtime/stages/ring.js';

/**
 * A worker that stops at gates: before it is admitted, before it publishes. It goes on when the test raises the gate above the number of
 * the block, so that any order of events can be made without a clock.
 */
const worker = `
const { workerData, parentPort } = require('node:worker_threads');
// A wait on shared memory alone keeps no thread alive.
parentPort.on('message', () => undefined);
import(workerData.module).then(async ({ RingWorker }) => {
  const { memory, shape, thread, state, gates } = workerData;
  const ring = new RingWorker(memory, shape, thread);
  const pass = (gate, block) => { for (;;) { const open = Atomics.load(gates, gate); if (block < open) return; Atomics.wait(gates, gate, open); } };
  if (!ring.enter(state)) return;
  for (;;) {
    const block = ring.claim();
    if (!(await ring.admission(block))) break;
    pass(block % 2, block);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, block);
    ring.publish(block, 'bytes', bytes);
  }
  await ring.over();
  ring.leave([1, 0, 0, 0, 0]);
});
`;

describe('the ring between threads', () => {
  it('brings every block once and in order, whoever is held up', async () => {
    const shared: RingShape = { slots: 6, slotBytes: 16, threads: 3 };
    const ring = new RingCommitter(shared);
    const state = ring.begin(0);
    // Gate 0 holds even blocks, gate 1 odd ones: below which number they may pass.
    const gates = new Int32Array(new SharedArrayBuffer(8));
    const raise = (gate: number, to: number): void => {
      Atomics.store(gates, gate, to);
      Atomics.notify(gates, gate);
    };
    const threads = Array.from(
      { length: shared.threads },
      (_, thread) =>
        new Worker(worker, {
          eval: true,
          workerData: { module: entryPath('runtime/stages/ring'), memory: ring.memory, shape: shared, thread, state, gates },
        }),
    );
    const total = 600;
    const seen: number[] = [];
    ring.grow(total, true);
    raise(1, total);
    while (seen.length < total) {
      const heard = ring.bell;
      const taken = ring.take();
      if (taken !== undefined) {
        seen.push(new DataView(taken.bytes.buffer, taken.bytes.byteOffset).getUint32(0));
        ring.release();
      } else {
        // Nothing to take: the next is an even block that is held. Odd ones behind it may be done, and fill the ring.
        if (seen.length % 2 === 0) raise(0, seen.length + 1);
        await ring.rung(heard);
      }
    }
    expect(seen).toEqual(Array.from({ length: total }, (_, n) => n));
    expect(ring.isDone).toBe(true);
    ring.over();
    for (let thread = 0; thread < shared.threads; thread++) {
      for (;;) {
        const heard = ring.bell;
        if (!ring.isInside(thread)) break;
        await ring.rung(heard);
      }
    }
    await Promise.all(threads.map((each) => each.terminate()));
  });
});
