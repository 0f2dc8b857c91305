/**
 * A stage that never waits: as its own process, it works through a fixed amount each time it is asked, and says how long that took.
 * Half of the work is arithmetic, half goes through more memory than the processor's cache holds.
 */
import { performance } from 'node:perf_hooks';

const words = new Uint32Array(8 * 1024 * 1024);
const passes = 10;
const steps = 80_000_000;

process.on('message', () => {
  const beganMs = performance.now();
  let state = 1;
  for (let step = 0; step < steps; step++) state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  for (let pass = 0; pass < passes; pass++) for (let at = 0; at < words.length; at++) words[at] = (words[at] ?? 0) ^ state;
  process.send?.(performance.now() - beganMs);
});
process.on('disconnect', () => process.exit(0));
