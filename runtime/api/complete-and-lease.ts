/** A completion and the leases that follow it: asked for in one turn, so that the journal commits both at once. */
import type { Complete } from '../contracts/line-api.js';
import type { Coordinator, LeaseAnswer, LeaseRequest } from '../coordinator/coordinator.js';

/**
 * Throws what `complete` throws; then nothing stays leased. Undefined where there could be no leases for another reason, which
 * the line hears when it asks for them by themselves.
 */
export async function completeAndLease(
  coordinator: Pick<Coordinator, 'complete' | 'lease' | 'takeBack'>,
  line: string,
  complete: Complete,
  next: LeaseRequest,
): Promise<LeaseAnswer | undefined> {
  const [completed, leased] = await Promise.allSettled([coordinator.complete(line, complete), coordinator.lease(line, next)]);
  const answer = leased.status === 'fulfilled' ? leased.value : undefined;
  if (completed.status === 'fulfilled') return answer;
  if (answer !== undefined) await coordinator.takeBack(line, answer.leases);
  throw completed.reason;
}
