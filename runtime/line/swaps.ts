/**
 * What becomes of slots: asked for, said hello, ready, lost, refused, too late. Which stage belongs where is `slots.ts`.
 *
 * Invariants
 *  1. A step names one swap of one slot. News of a step that is not the slot's own changes nothing.
 *  2. Failures of a stage's swaps in a row are at most `limits.swapTriesMax`, with back-off between them; then the shards
 *     that wait for the stage fail, and for a while so do those that come to it. An order that nobody took is none of them: shards wait
 *     as long as that lasts.
 *  3. An agent that was started anew takes a slot over as it finds it, if it holds the stage in the version of today:
 *     a step ends with the first digits of the version that it was asked for.
 */
import type { ErrorCode, WireError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import { backoffMs } from './backoff.js';
import { failShard, wireError } from './endings.js';
import { failRun } from './runs.js';
import type { LineEffect, LineState, SlotState } from './types.js';

export interface PlannedSwap {
  slot: number;
  stage: string;
}

export function orderSwap(state: LineState, { slot: index, stage }: PlannedSwap, nowMs: number, effects: LineEffect[]): void {
  const slot = state.slots[index];
  if (slot === undefined || slot.phase === 'running' || slot.phase === 'swapping')
    throw new Error(`slot ${String(index)} cannot be swapped while it is ${slot?.phase ?? 'not there'}`);
  state.counter += 1;
  state.swaps += 1;
  const step = `${state.instance}-s${state.counter}-${versionMark(state, stage)}`;
  state.slots[index] = {
    phase: 'swapping',
    stage,
    step,
    sinceMs: nowMs,
    tries: state.troubles.get(stage)?.tries ?? 0,
    loading: false,
  };
  effects.push({ type: 'swap', slot: index, stage, step, replaces: slot.phase === 'empty' ? undefined : slot.stage });
}

const versionMark = (state: LineState, stage: string): string => state.graph.stages.get(stage)?.version.slice(0, 12) ?? 'none';

/** Whether a hello with this step is one that `step` takes in; to any other the agent answers that it is not wanted. */
export function isExpected(state: LineState, index: number, stage: string, step: string): boolean {
  const slot = state.slots[index];
  if (slot === undefined) return false;
  if (slot.phase === 'empty')
    return (
      state.graph.stages.has(stage) && !step.startsWith(`${state.instance}-s`) && step.endsWith(`-${versionMark(state, stage)}`)
    );
  return slot.step === step && slot.stage === stage && !(slot.phase === 'running' && slot.stale);
}

/** A container is there, for the first time or again: it is about to load its stage. A run that it had is over. */
export function takeHello(
  state: LineState,
  hello: { slot: number; stage: string; step: string },
  nowMs: number,
  effects: LineEffect[],
): void {
  const { slot: index, stage, step } = hello;
  const slot = state.slots[index];
  if (slot?.phase === 'running' && slot.stale && slot.step === step) state.slots[index] = { phase: 'empty' };
  if (slot === undefined || !isExpected(state, index, stage, step)) return;
  if (slot.phase === 'running' && !slot.cancelled) {
    const error = wireError(
      'PDL_STAGE_DIED',
      `the slot of stage "${stage}" came back without the end of its run`,
      `stages.${stage}`,
    );
    failRun(state, slot.shardId, stage, error, nowMs, effects);
  }
  state.slots[index] = {
    phase: 'swapping',
    stage,
    step,
    sinceMs: nowMs,
    tries: state.troubles.get(stage)?.tries ?? 0,
    loading: true,
  };
}

export function slotIsReady(state: LineState, index: number, step: string, nowMs: number): void {
  const slot = state.slots[index];
  if (slot?.phase !== 'swapping' || slot.step !== step) return;
  state.slots[index] = { phase: 'idle', stage: slot.stage, step, sinceMs: nowMs };
  state.troubles.delete(slot.stage);
}

/** The stage did not come into the slot, or its shim could not load it. */
export function refuseSwap(state: LineState, index: number, step: string, error: WireError, nowMs: number): void {
  const slot = state.slots[index];
  if (slot?.phase !== 'swapping' || slot.step !== step) return;
  state.slots[index] = { phase: 'empty' };
  noteTrouble(state, slot.stage, error, nowMs);
}

/**
 * The driver could not carry a swap out. A container that is lost will not be back soon then: its slot is free for another
 * step. A shim that has said hello is there, whatever was told of it before.
 */
export function failSwap(state: LineState, index: number, step: string, error: WireError, nowMs: number): void {
  const slot = state.slots[index];
  if (slot?.phase === 'lost' && slot.step === step) state.slots[index] = { phase: 'empty' };
  else if (slot?.phase === 'swapping' && !slot.loading) refuseSwap(state, index, step, error, nowMs);
}

/** A container is gone. During a swap that is the old one's end, unless the new one had said hello. */
export function loseSlot(state: LineState, index: number, error: WireError, nowMs: number, effects: LineEffect[]): void {
  const slot = state.slots[index];
  if (slot === undefined || slot.phase === 'empty' || slot.phase === 'lost') return;
  const { stage, step } = slot;
  if (slot.phase === 'swapping') {
    if (!slot.loading) return;
    noteTrouble(state, stage, error, nowMs);
    state.slots[index] = isGivenUp(state, stage) ? { phase: 'empty' } : { phase: 'lost', stage, step, sinceMs: nowMs };
    return;
  }
  state.slots[index] = slot.phase === 'running' ? withoutContainer(slot, nowMs) : { phase: 'lost', stage, step, sinceMs: nowMs };
  if (slot.phase === 'running' && !slot.cancelled) failRun(state, slot.shardId, stage, error, nowMs, effects);
}

const withoutContainer = (slot: SlotState & { phase: 'running' }, nowMs: number): SlotState =>
  slot.stale ? { phase: 'empty' } : { phase: 'lost', stage: slot.stage, step: slot.step, sinceMs: nowMs };

/** Runs, swaps and lost containers whose time is over. */
export function expireSlots(state: LineState, nowMs: number, effects: LineEffect[]): void {
  for (const [index, slot] of state.slots.entries()) {
    const untilMs = slotDeadlineMs(state, index);
    if (slot.phase === 'empty' || untilMs === undefined || untilMs > nowMs) continue;
    const { stage } = slot;
    if (slot.phase === 'running') {
      const tookMs = nowMs - slot.sinceMs;
      const error = wireError(
        'PDL_STAGE_TIMEOUT',
        `stage "${stage}" ran ${String(tookMs)} ms, longer than its time limit`,
        `stages.${stage}.timeout`,
      );
      const reason = slot.cancelled ? 'the run did not end when it was asked to' : error.message;
      state.slots[index] = withoutContainer(slot, nowMs);
      effects.push({ type: 'cancelRun', slot: index, runId: slot.runId, reason, kill: true });
      if (!slot.cancelled) failRun(state, slot.shardId, stage, error, nowMs, effects);
      continue;
    }
    const what =
      slot.phase === 'lost'
        ? 'did not come back'
        : slot.phase === 'swapping' && slot.loading
          ? 'did not load its stage'
          : 'was not heard of';
    const error = wireError(
      'PDL_SWAP_FAILED',
      `slot ${String(index)} ${what} within ${String(nowMs - slot.sinceMs)} ms (stage "${stage}")`,
      `slots.${String(index)}`,
    );
    state.slots[index] = { phase: 'empty' };
    noteTrouble(state, stage, error, nowMs);
  }
}

/** When the phase of a slot is over at the latest. */
export function slotDeadlineMs(state: LineState, index: number): number | undefined {
  const slot = state.slots[index];
  if (slot?.phase === 'running') return slot.deadlineMs;
  if (slot?.phase === 'swapping' && slot.loading) return slot.sinceMs + limits.stageLoadTimeoutMs;
  if (slot?.phase === 'swapping' || slot?.phase === 'lost')
    return slot.sinceMs + limits.swapTimeoutMs + (state.config.swapGraceMs ?? 0);
  return undefined;
}

/** By whoever was to carry it out: the cluster, or the coordinator before it. That says nothing of the stage. */
const notTaken: ReadonlySet<string> = new Set(['PDL_SWAP_NOT_TAKEN', 'PDL_UNREACHABLE'] satisfies ErrorCode[]);

function noteTrouble(state: LineState, stage: string, error: WireError, nowMs: number): void {
  const before = state.troubles.get(stage)?.tries ?? 0;
  const tries = notTaken.has(error.code) ? before : error.retry === 'never' ? limits.swapTriesMax : before + 1;
  const waitMs = tries >= limits.swapTriesMax ? state.config.stageBackoff.maxMs : backoffMs(state.config.stageBackoff, tries);
  state.troubles.set(stage, { tries, notBeforeMs: nowMs + waitMs, error });
}

export const isGivenUp = (state: LineState, stage: string): boolean =>
  (state.troubles.get(stage)?.tries ?? 0) >= limits.swapTriesMax;

/** Shards that are ready for a stage which no slot can hold fail; after a while the stage is tried again. */
export function failWhatCannotBeServed(state: LineState, nowMs: number, effects: LineEffect[]): void {
  for (const [stage, trouble] of state.troubles) {
    if (trouble.tries < limits.swapTriesMax || state.slots.some((slot) => slot.phase !== 'empty' && slot.stage === stage))
      continue;
    for (const [shardId, resident] of state.residents) {
      if (resident.phase === 'stages' && resident.stages.get(stage)?.phase === 'ready')
        failShard(state, shardId, trouble.error, stage, nowMs, effects);
    }
    if (trouble.notBeforeMs <= nowMs) state.troubles.delete(stage);
  }
}
