/**
 * An order of a line to put a stage into one of its slots, handed to the driver.
 *
 * The newest order of a slot is the one that counts; the same one again is answered as the first was.
 */
import type { LineDriver } from '../contracts/driver.js';
import { PodlineError } from '../contracts/errors.js';
import type { SwapRequest } from '../contracts/line-api.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Line } from './lines.js';

/** Resolves when the driver has taken the order. Throws PDL_SWAP_FAILED, PDL_REQUEST_INVALID. */
export async function orderSwap(
  line: Line,
  pipeline: Pipeline,
  driver: LineDriver | undefined,
  { slot, stage, step }: SwapRequest,
): Promise<void> {
  const { name } = line;
  if (slot >= line.hello.slots) {
    const message = `line ${name} has ${String(line.hello.slots)} slots, and none of number ${String(slot)}`;
    throw new PodlineError('PDL_REQUEST_INVALID', message, { place: 'slot' });
  }
  if (!pipeline.stages.some((known) => known.name === stage)) {
    throw new PodlineError('PDL_REQUEST_INVALID', `pipeline ${pipeline.name} has no stage ${stage}`, { place: 'stage' });
  }
  if (line.ordered.get(slot) === step) return;
  if (driver === undefined) {
    const message = `there is no driver that could put ${stage} into slot ${String(slot)} of line ${name}`;
    throw new PodlineError('PDL_SWAP_FAILED', message, { retry: 'never' });
  }
  const before = line.ordered.get(slot);
  line.ordered.set(slot, step);
  line.failedSwaps.delete(slot);
  try {
    await driver.swap({ line: name, slot, stage, step, pipeline });
  } catch (thrown) {
    if (line.ordered.get(slot) === step) {
      if (before === undefined) line.ordered.delete(slot);
      else line.ordered.set(slot, before);
    }
    throw PodlineError.from(thrown, 'PDL_SWAP_FAILED', { place: `line ${name}, slot ${String(slot)}` });
  }
}
