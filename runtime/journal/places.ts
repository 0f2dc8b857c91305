/**
 * Where a shard is found: its number, the place that its state gives it, and the moments at which something happens to it.
 * Stores index these.
 */
import type { ShardState } from '../contracts/shard.js';
import type { StateRecord } from './records.js';
import type { Numbers } from './tables.js';

/** Places of what may be leased are the priorities. */
export const delayedPlace = 10;
const placesOfState: Record<ShardState, readonly number[]> = {
  pending: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, delayedPlace],
  running: [11],
  completed: [12],
  failed: [13],
  cancelled: [14],
};
export const placesOf = (state: ShardState | undefined): readonly number[] =>
  state === undefined ? Object.values(placesOfState).flat() : placesOfState[state];

export function placeOf(state: StateRecord): number {
  if (state.state !== 'pending') return placesOfState[state.state][0] ?? 0;
  return state.dueMs === undefined ? Math.min(Math.max(state.priority, 0), delayedPlace - 1) : delayedPlace;
}

const none: readonly number[] = [];

/** Moments at which something happens to a shard. */
export function timersOf({ dueMs, limitMs }: StateRecord): readonly number[] {
  if (dueMs === undefined) return limitMs === undefined ? none : [limitMs];
  return limitMs === undefined || limitMs === dueMs ? [dueMs] : [dueMs, limitMs];
}

export const idOf = (numbers: Pick<Numbers, 'idPrefix'>, seq: number): string =>
  `${numbers.idPrefix}-${seq.toString(36).padStart(7, '0')}`;

/** Undefined for an id that is none of this journal. */
export function seqOf({ idPrefix }: Pick<Numbers, 'idPrefix'>, id: string): number | undefined {
  if (!id.startsWith(`${idPrefix}-`)) return undefined;
  const digits = id.slice(idPrefix.length + 1);
  const seq = /^[0-9a-z]{7,11}$/.test(digits) ? Number.parseInt(digits, 36) : Number.NaN;
  return Number.isSafeInteger(seq) && seq.toString(36).padStart(7, '0') === digits ? seq : undefined;
}
