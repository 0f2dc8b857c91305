/**
 * Runs: which stage begins on which shard, and what becomes of the shard when a run ends.
 *
 * The oldest shard goes first. Between stages, while not all of them fit into the slots, the one with the longest way to go
 * goes first: all residents pass it early, and its slot is free for the next stage while the later ones still work. Where all
 * fit, the oldest shard goes first whatever its stage, and leaves soonest.
 */
import type { WireError } from '../contracts/errors.js';
import { allStagesFit } from './admission.js';
import { backoffMs } from './backoff.js';
import { cpuBoundRuns } from './cores.js';
import { moveStage } from './demand.js';
import { failShard } from './endings.js';
import { newRunId, takePrepared } from './prepare.js';
import { stageIsDone } from './residents.js';
import { couldFollowSinceMs, missingInputs } from './streaming.js';
import type { LineEffect, LineState, ResidentState, SlotState } from './types.js';

/** What makes a run of a stage possible. */
interface Occasion {
  attempt: number;
  sinceMs: number;
  /** Inputs that are not whole: it would follow their makers. */
  growing: string[];
}

interface Candidate extends Occasion {
  slot: number;
  stage: string;
  resident: ResidentState;
  /** Order of admission, and stages still to go on the longest way. */
  age: number;
  remaining: number;
}

/**
 * Starts what can start: slots that hold a stage and have nothing to do, cpu-bound ones as far as there are cores. Returns whether something
 * whose inputs are whole has to wait for a core.
 */
export function startRuns(state: LineState, nowMs: number, effects: LineEffect[]): boolean {
  const candidates = candidatesOf(state, nowMs);
  if (candidates.length === 0) return false;
  let isCoreMissing = false;
  const byAge = allStagesFit(state);
  candidates.sort(
    (a, b) =>
      Math.sign(a.growing.length) - Math.sign(b.growing.length) ||
      (byAge ? a.age - b.age || b.remaining - a.remaining : b.remaining - a.remaining || a.age - b.age) ||
      a.slot - b.slot,
  );
  let coresFree = state.config.cores - cpuBoundRuns(state);
  for (const candidate of candidates) {
    if (state.graph.stages.get(candidate.stage)?.bound === 'cpu') {
      if (coresFree < 1) {
        isCoreMissing ||= candidate.growing.length === 0;
        continue;
      }
      coresFree -= 1;
    }
    start(state, candidate, nowMs, effects);
  }
  return isCoreMissing;
}

/** One for each idle slot: the oldest shards that are ready for its stage, and after them those that could follow. */
function candidatesOf(state: LineState, nowMs: number): Candidate[] {
  const candidates: Candidate[] = [];
  for (const [stage, slots] of idleSlots(state)) {
    const remaining = state.graph.remaining.get(stage) ?? 0;
    for (const occasionOf of [readyOccasion, followingOccasion]) {
      let age = 0;
      for (const resident of state.residents.values()) {
        const slot = slots[0];
        if (slot === undefined) break;
        const occasion = resident.phase === 'stages' ? occasionOf(state, resident, stage, nowMs) : undefined;
        if (occasion !== undefined && !isStillRunning(state, resident.lease.shardId, stage)) {
          candidates.push({ slot, stage, resident, ...occasion, age, remaining });
          slots.shift();
        }
        age += 1;
      }
    }
  }
  return candidates;
}

/** Slots without work, by a stage that a shard is ready for or may follow into. */
function idleSlots(state: LineState): Map<string, number[]> {
  const idle = new Map<string, number[]>();
  for (const [index, slot] of state.slots.entries()) {
    if (slot.phase !== 'idle') continue;
    const { ready = 0, waiting = 0 } = state.demand.get(slot.stage) ?? {};
    if (ready === 0 && (waiting === 0 || !state.streaming)) continue;
    const slots = idle.get(slot.stage);
    if (slots === undefined) idle.set(slot.stage, [index]);
    else slots.push(index);
  }
  return idle;
}

function readyOccasion(_state: LineState, resident: ResidentState, stage: string, nowMs: number): Occasion | undefined {
  const at = resident.stages.get(stage);
  if (at?.phase !== 'ready' || at.notBeforeMs > nowMs) return undefined;
  return { attempt: at.attempt, sinceMs: at.sinceMs, growing: [] };
}

function followingOccasion(state: LineState, resident: ResidentState, stage: string, nowMs: number): Occasion | undefined {
  const at = resident.stages.get(stage);
  if (at?.phase !== 'waiting' || (at.failed?.notBeforeMs ?? nowMs) > nowMs) return undefined;
  const sinceMs = couldFollowSinceMs(state, resident, stage);
  if (sinceMs === undefined) return undefined;
  return {
    attempt: at.failed?.attempt ?? 1,
    sinceMs: Math.max(sinceMs, at.failed?.notBeforeMs ?? 0),
    growing: missingInputs(state, resident, stage),
  };
}

/** A cancelled run of the same stage on the same shard has not ended yet. */
const isStillRunning = (state: LineState, shardId: string, stage: string): boolean =>
  state.slots.some((slot) => slot.phase === 'running' && slot.shardId === shardId && slot.stage === stage);

function start(
  state: LineState,
  { slot: index, stage, resident, attempt, sinceMs, growing }: Candidate,
  nowMs: number,
  effects: LineEffect[],
): void {
  const slot = state.slots[index];
  if (slot?.phase !== 'idle') return;
  const { shardId } = resident.lease;
  const runId = takePrepared(state, index, { stage, shardId, attempt }) ?? newRunId(state);
  const timeoutMs = state.graph.stages.get(stage)?.timeoutMs;
  state.slots[index] = {
    phase: 'running',
    stage,
    step: slot.step,
    shardId,
    runId,
    sinceMs: nowMs,
    deadlineMs: timeoutMs === undefined || growing.length > 0 ? undefined : nowMs + timeoutMs,
    cancelled: false,
    stale: false,
    leadsSinceMs: undefined,
  };
  moveStage(state, resident, stage, { phase: 'running', slot: index, runId, attempt });
  const readySinceMs = growing.length > 0 ? Math.max(sinceMs, slot.sinceMs) : sinceMs;
  effects.push({ type: 'start', slot: index, shardId, stage, runId, attempt, readySinceMs, growing });
}

export function endRunCommitted(state: LineState, index: number, runId: string, nowMs: number, effects: LineEffect[]): void {
  const slot = state.slots[index];
  if (slot?.phase !== 'running' || slot.runId !== runId) return;
  state.slots[index] = afterRun(slot, nowMs);
  const resident = state.residents.get(slot.shardId);
  if (resident?.phase !== 'stages') return;
  // A cancelled run may have been faster than the word of it. What it made is what is wanted, or this event would not be.
  if (!slot.cancelled || resident.stages.get(slot.stage)?.phase === 'ready')
    stageIsDone(state, resident, slot.stage, nowMs, effects);
}

export function endRunFailed(
  state: LineState,
  index: number,
  runId: string,
  error: WireError,
  nowMs: number,
  effects: LineEffect[],
): void {
  const slot = state.slots[index];
  if (slot?.phase !== 'running' || slot.runId !== runId) return;
  state.slots[index] = afterRun(slot, nowMs);
  if (!slot.cancelled) failRun(state, slot.shardId, slot.stage, error, nowMs, effects);
}

const afterRun = (slot: SlotState & { phase: 'running' }, nowMs: number): SlotState =>
  slot.stale ? { phase: 'empty' } : { phase: 'idle', stage: slot.stage, step: slot.step, sinceMs: nowMs };

/** A run that was wanted has failed: again after a back-off, or the shard fails. The slot is the caller's matter. */
export function failRun(
  state: LineState,
  shardId: string,
  stage: string,
  error: WireError,
  nowMs: number,
  effects: LineEffect[],
): void {
  const resident = state.residents.get(shardId);
  const at = resident?.stages.get(stage);
  if (resident?.phase !== 'stages' || at?.phase !== 'running') return;
  const retries = state.graph.stages.get(stage)?.retries ?? 0;
  if (error.retry === 'never' || at.attempt > retries) {
    failShard(state, shardId, error, stage, nowMs, effects);
    return;
  }
  const again = { attempt: at.attempt + 1, notBeforeMs: nowMs + backoffMs(state.config.stageBackoff, at.attempt), error };
  const isWhole = missingInputs(state, resident, stage).length === 0;
  moveStage(state, resident, stage, isWhole ? { phase: 'ready', sinceMs: nowMs, ...again } : { phase: 'waiting', failed: again });
}
