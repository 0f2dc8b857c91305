/** A piece of a shard's way as a span, which says how it ended. */
import { PodlineError } from '../../runtime/contracts/errors.js';
import type { Span } from '../../runtime/contracts/telemetry.js';

export async function traced<T>(span: Span, work: () => Promise<T>): Promise<T> {
  try {
    const value = await work();
    span.end();
    return value;
  } catch (thrown) {
    span.end({}, PodlineError.from(thrown));
    throw thrown;
  }
}
