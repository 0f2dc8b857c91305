/**
 * How shards leave a line: failed, given back, completed or taken away; and the order in which their runs, their lease and
 * their memory go.
 *
 * Invariants
 *  1. `fail` is said once, and only while the lease is ours.
 *  2. `free` is said once, when the lease is gone and the last run has ended.
 */
import { errorCatalogue, type WireError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import { addDemand } from './demand.js';
import type { LineEffect, LineState, ResidentState } from './types.js';

/** The shard fails with its last error; what else of it runs is cancelled. Other residents are not touched. */
export function failShard(
  state: LineState,
  shardId: string,
  error: WireError,
  stage: string | undefined,
  nowMs: number,
  effects: LineEffect[],
): void {
  const resident = state.residents.get(shardId);
  if (resident === undefined || resident.phase === 'ending') return;
  beginEnding(state, resident, `the shard failed: ${error.message}`, nowMs, effects);
  effects.push({ type: 'fail', shardId, error, stage, counts: true });
}

/** The lease is gone, or the coordinator took the outcome: the shard is freed when its runs have ended. */
export function letGo(state: LineState, shardId: string, reason: string, nowMs: number, effects: LineEffect[]): void {
  const resident = state.residents.get(shardId);
  if (resident === undefined) return;
  if (resident.phase !== 'ending') beginEnding(state, resident, reason, nowMs, effects);
  resident.letGo = true;
}

/** While draining: what has not begun goes back at once, the rest at the deadline, if there is one. No attempt is counted. */
export function startDraining(state: LineState, nowMs: number, effects: LineEffect[]): void {
  if (!state.draining) return;
  const overdue = state.drainDeadlineMs !== undefined && state.drainDeadlineMs <= nowMs;
  for (const resident of state.residents.values()) {
    if (resident.phase === 'ending' || (!overdue && resident.phase !== 'queued')) continue;
    const { shardId } = resident.lease;
    const error = wireError(
      'PDL_LINE_DRAINED',
      `the line is drained: shard "${resident.lease.key}" goes to another one`,
      `lines.${state.instance}`,
    );
    beginEnding(state, resident, error.message, nowMs, effects);
    effects.push({ type: 'fail', shardId, error, stage: undefined, counts: false });
  }
}

/** Frees what is let go and no longer runs, and returns what was leased again meanwhile. */
export function freeWhatEnded(state: LineState, effects: LineEffect[]): NonNullable<ResidentState['next']>[] {
  const again: NonNullable<ResidentState['next']>[] = [];
  for (const [shardId, resident] of state.residents) {
    if (!resident.letGo || state.slots.some((slot) => slot.phase === 'running' && slot.shardId === shardId)) continue;
    state.residents.delete(shardId);
    effects.push({ type: 'free', shardId });
    if (resident.next !== undefined) again.push(resident.next);
  }
  return again;
}

/** From here on nothing is started for the shard. */
export function beginEnding(
  state: LineState,
  resident: ResidentState,
  reason: string,
  nowMs: number,
  effects: LineEffect[],
): void {
  if (resident.phase === 'stages') addDemand(state, resident, -1);
  resident.phase = 'ending';
  cancelRunsOf(state, resident, reason, nowMs, effects);
}

export function cancelRunsOf(
  state: LineState,
  resident: ResidentState,
  reason: string,
  nowMs: number,
  effects: LineEffect[],
): void {
  for (const [index, slot] of state.slots.entries()) {
    if (slot.phase === 'running' && slot.shardId === resident.lease.shardId) cancelRun(state, index, reason, nowMs, effects);
  }
}

/** Asks a run to end; it is killed when it has not within the time that a process gets to end. */
export function cancelRun(state: LineState, index: number, reason: string, nowMs: number, effects: LineEffect[]): void {
  const slot = state.slots[index];
  if (slot?.phase !== 'running' || slot.cancelled) return;
  slot.cancelled = true;
  slot.deadlineMs = nowMs + limits.terminationGraceMs;
  effects.push({ type: 'cancelRun', slot: index, runId: slot.runId, reason, kill: false });
}

export function wireError(code: WireError['code'], message: string, place: string): WireError {
  return { code, message, place, hint: errorCatalogue[code].hint, retry: errorCatalogue[code].retry };
}
