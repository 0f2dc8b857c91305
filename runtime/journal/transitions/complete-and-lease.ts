/**
 * in: a line, the shard that it completes, which leases it wants next. out: both outcomes. Throws PDL_LEASE_LOST; then nothing is leased.
 * writes: what `complete` writes, then what `lease` writes: both or neither. events: shard.completed, then shard.leased for each.
 * A pipeline that is being removed leases nothing, and its completions still count.
 */
import type { Complete } from '../../contracts/line-api.js';
import type { CompleteAndLeaseOutcome, LeaseQuery, Moment } from '../journal.js';
import { complete } from './complete.js';
import { lease } from './lease.js';
import type { Transition } from '../transition.js';

export function completeAndLease(
  transition: Transition,
  line: string,
  completion: Complete,
  query: LeaseQuery,
  now: Moment,
): CompleteAndLeaseOutcome {
  const completed = complete(transition, line, completion, now);
  // Looked at here: what throws behind the completion's writes would undo the whole group.
  const record = transition.tables.pipeline(query.pipeline);
  const isStanding = record !== undefined && record.going !== true;
  return { completed, leased: isStanding ? lease(transition, query, now) : undefined };
}
