/** Why a shard or a line does what it does, in words. Reads the state, decides nothing. */
import type { WireError } from '../contracts/errors.js';
import { allStagesFit, roomForLeases } from './admission.js';
import { cpuBoundRuns } from './cores.js';
import { missingInputs } from './streaming.js';
import type { LineState, ResidentState, StageState } from './types.js';

export interface StageExplanation {
  stage: string;
  phase: StageState['phase'];
  why: string;
}
export interface ShardExplanation {
  /** One sentence. */
  summary: string;
  /** In the order of the graph. */
  stages: StageExplanation[];
}

const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
const listed = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ');

/** Undefined when the shard is not on this line. */
export function explainShard(state: LineState, shardId: string, nowMs: number): ShardExplanation | undefined {
  const resident = state.residents.get(shardId);
  if (resident === undefined) return undefined;
  const stages = [...resident.stages].map(([stage, at]): StageExplanation => ({
    stage,
    phase: at.phase,
    why: explainStage(state, resident, stage, at, nowMs),
  }));
  return { summary: summarize(state, resident, stages, nowMs), stages };
}

function summarize(state: LineState, resident: ResidentState, stages: readonly StageExplanation[], nowMs: number): string {
  switch (resident.phase) {
    case 'queued':
      return `It waits for room in the scratch: it is assumed to need ${String(resident.needBytes)} bytes, and the shards before it leave less of ${String(state.config.scratchBytesMax)}.`;
    case 'loading':
      return resident.lease.epoch > 1 ? 'What is left of it is restored, and the rest loaded.' : 'Its source is loaded.';
    case 'delivering':
      return resident.deliverAtMs === undefined
        ? 'Its results are delivered.'
        : `Its delivery failed and is tried again in ${seconds(resident.deliverAtMs - nowMs)}.`;
    case 'ending':
      return resident.letGo
        ? 'It is no longer this line’s; its memory is freed when its runs have ended.'
        : 'Its outcome is told to the coordinator.';
    case 'stages': {
      const running = stages.filter((stage) => stage.phase === 'running');
      if (running.length > 0) return `It runs: ${running.map((stage) => `${stage.stage} ${stage.why}`).join('; ')}.`;
      const ready = stages.find((stage) => stage.phase === 'ready');
      return ready === undefined ? 'It waits.' : `It waits: stage "${ready.stage}" ${ready.why}.`;
    }
  }
}

function explainStage(state: LineState, resident: ResidentState, stage: string, at: StageState, nowMs: number): string {
  switch (at.phase) {
    case 'done':
      if (at.how === 'ran') return 'ran';
      return at.how === 'restored'
        ? 'was restored: its stream was there and was made from the same things'
        : 'was skipped: what reads it was restored';
    case 'running': {
      const slot = state.slots[at.slot];
      const since = slot?.phase === 'running' ? ` for ${seconds(nowMs - slot.sinceMs)}` : '';
      const behind = missingInputs(state, resident, stage);
      const follows = behind.length > 0 ? `, behind ${listed(behind)}` : '';
      return `in slot ${String(at.slot)}${since}${at.attempt > 1 ? `, try ${String(at.attempt)}` : ''}${follows}`;
    }
    case 'waiting':
      return at.failed !== undefined && at.failed.notBeforeMs > nowMs
        ? explainBackoff(at.failed, nowMs)
        : `waits for ${listed(missingInputs(state, resident, stage))}`;
    case 'ready':
      return explainReady(state, stage, at, nowMs);
  }
}

const explainBackoff = (
  { attempt, notBeforeMs, error }: { attempt: number; notBeforeMs: number; error?: WireError | undefined },
  nowMs: number,
): string =>
  `failed (${error?.message ?? 'unknown'}) and is tried again in ${seconds(notBeforeMs - nowMs)}, for the ${String(attempt)}. time`;

function explainReady(state: LineState, stage: string, at: StageState & { phase: 'ready' }, nowMs: number): string {
  if (at.notBeforeMs > nowMs) return explainBackoff(at, nowMs);
  const holding = state.slots.filter((slot) => slot.phase !== 'empty' && slot.stage === stage);
  if (holding.some((slot) => slot.phase === 'idle')) {
    return `has its slot and waits for a core: ${String(cpuBoundRuns(state))} cpu-bound stages run on ${String(state.config.cores)}`;
  }
  if (holding.some((slot) => slot.phase === 'swapping')) return 'waits for its slot: the stage is being put into it';
  if (holding.some((slot) => slot.phase === 'lost')) return 'waits for its slot: the container ended and has not come back yet';
  const busyWith = holding.find((slot) => slot.phase === 'running');
  if (busyWith?.phase === 'running')
    return `waits for its slot, which works on shard "${state.residents.get(busyWith.shardId)?.lease.key ?? busyWith.shardId}"`;
  const trouble = state.troubles.get(stage);
  if (trouble !== undefined) {
    const what = trouble.tries === 0 ? 'the order for a swap was not taken' : `${String(trouble.tries)} swaps failed`;
    return `waits for a slot: ${what} (${trouble.error.message}); the next is tried in ${seconds(trouble.notBeforeMs - nowMs)}`;
  }
  return 'waits for a slot: all hold stages that are needed sooner or by more shards';
}

/** What a line does, or what it waits for; one or two sentences. */
export function explainLine(state: LineState, nowMs: number): string {
  const running = state.slots.filter((slot) => slot.phase === 'running').length;
  const swapping = state.slots.flatMap((slot) => (slot.phase === 'swapping' ? [slot.stage] : []));
  const does = [
    running > 0 ? `${String(running)} of ${String(state.slots.length)} slots work` : '',
    swapping.length > 0
      ? `${listed(swapping)} ${swapping.length > 1 ? 'are' : 'is'} put into ${swapping.length > 1 ? 'slots' : 'a slot'}`
      : '',
    `${String(state.residents.size)} of at most ${String(state.config.residentsMax)} shards are here`,
  ].filter((text) => text !== '');
  return `${does.join('; ')}. ${explainAdmission(state, nowMs)}`;
}

function explainAdmission(state: LineState, nowMs: number): string {
  if (state.draining) return 'It takes no new shards: it is drained.';
  if (state.paused) return 'It takes no new shards: the pipeline is paused.';
  if (state.leasing) return state.residents.size === 0 ? 'It waits for work.' : 'It asks for more.';
  if (state.residents.size >= state.config.residentsMax) return 'It is full.';
  if (roomForLeases(state) < 1) return 'It takes no new shards: the scratch has no room for another.';
  if (state.leaseNotBeforeMs > nowMs) return 'There was no work when it last asked.';
  return allStagesFit(state) ? 'It asks for more.' : 'It takes new shards when the first stage is in a slot again.';
}

/** What a line that does no work waits for, as part of a sentence; undefined while it works, or has nothing to do. */
export function whyWaiting(state: LineState, nowMs: number): string | undefined {
  if (state.slots.some((slot) => slot.phase === 'running')) return undefined;
  const residents = [...state.residents.values()].filter((resident) => resident.phase !== 'ending');
  if (residents.length === 0) {
    if (state.draining) return 'it is drained and takes no new shards';
    return state.paused ? 'the pipeline is paused' : undefined;
  }
  for (const resident of residents) {
    if (resident.phase !== 'stages') continue;
    for (const [stage, at] of resident.stages) {
      if (at.phase === 'ready' || (at.phase === 'waiting' && at.failed !== undefined))
        return `stage "${stage}" of shard "${resident.lease.key}" ${explainStage(state, resident, stage, at, nowMs)}`;
    }
  }
  const [first] = residents;
  if (first === undefined) return undefined;
  const what = { queued: 'has no room in the scratch yet', loading: 'is loaded', delivering: 'is delivered', stages: 'waits' };
  return `shard "${first.lease.key}" ${what[first.phase as keyof typeof what]}`;
}
