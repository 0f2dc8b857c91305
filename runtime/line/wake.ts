/** When a line must look again although nothing happened: the earliest end of all that it waits for. */
import { mayAsk, roomForLeases } from './admission.js';
import { slotDeadlineMs } from './swaps.js';
import type { LineState } from './types.js';

/** The time to be woken at, if it has to be said: `anew` after the last wake came, else only when it is earlier than the one said. */
export function nextWake(state: LineState, nowMs: number, anew: boolean): number | undefined {
  if (anew || (state.wakeAtMs !== undefined && state.wakeAtMs <= nowMs)) state.wakeAtMs = undefined;
  const atMs = earliest(state, nowMs);
  if (atMs === undefined || (state.wakeAtMs !== undefined && state.wakeAtMs <= atMs)) return undefined;
  state.wakeAtMs = atMs;
  return atMs;
}

function earliest(state: LineState, nowMs: number): number | undefined {
  let atMs = Infinity;
  const consider = (thenMs: number | undefined): void => {
    if (thenMs !== undefined && thenMs > nowMs && thenMs < atMs) atMs = thenMs;
  };
  for (const index of state.slots.keys()) consider(slotDeadlineMs(state, index));
  for (const backoff of state.backoffs) consider(backoff.untilMs);
  for (const trouble of state.troubles.values()) consider(trouble.notBeforeMs);
  for (const resident of state.residents.values()) consider(resident.deliverAtMs);
  if (state.draining && state.residents.size > 0) consider(state.drainDeadlineMs);
  if (mayAsk(state) && roomForLeases(state) > 0) consider(state.leaseNotBeforeMs);
  return atMs === Infinity ? undefined : atMs;
}
