/**
 * Where each stage of a shard on the line stands: what must run, what is there already, what is not needed, and what is done
 * with a stream when its last reader has run.
 *
 * Invariants
 *  1. A stage is `ready` only when all its inputs are sealed, and `running` besides only when it follows what makes them;
 *     `done` stages never run again under one revision.
 *  2. A stream is released once, when no stage that must still run reads it and it is no result.
 *  3. A shard is delivered when all its stages are done.
 */
import { inputStream } from '../contracts/block.js';
import { limits } from '../contracts/limits.js';
import { backoffMs } from './backoff.js';
import { addDemand, moveStage } from './demand.js';
import { failShard } from './endings.js';
import { readersOf, withDescendants } from './graph.js';
import { beginTimeLimit, missingInputs } from './streaming.js';
import type { KnownStream, LineEffect, LineEvent, LineState, ResidentState, StageState } from './types.js';

/** The shard is in the scratch with these streams: stages stand by what is still to be made. */
export function takeLoaded(
  state: LineState,
  shardId: string,
  known: readonly KnownStream[],
  nowMs: number,
  effects: LineEffect[],
): void {
  const resident = state.residents.get(shardId);
  if (resident?.phase !== 'loading') return;
  const sealed = new Set(known.filter((stream) => stream.sealed).map((stream) => stream.stream));
  const from = resident.lease.resumeFrom;
  if (from !== undefined) for (const stage of withDescendants(state.graph, from)) sealed.delete(stage);
  resident.stages = planStages(state, sealed);
  resident.phase = 'stages';
  addDemand(state, resident, 1);
  for (const stage of state.graph.order) makeReady(state, resident, stage, nowMs);
  for (const stream of [inputStream, ...known.map((stream) => stream.stream)]) releaseIfRead(state, resident, stream, effects);
  deliverIfDone(resident, effects);
}

/**
 * Walks back from the ends: what is sealed is restored and what it was made from is not needed; the rest must run.
 * `running`: stages whose run goes on, which will be there.
 */
export function planStages(
  state: LineState,
  sealed: ReadonlySet<string>,
  running?: ReadonlyMap<string, StageState>,
): Map<string, StageState> {
  const { graph } = state;
  const needed = new Set<string>();
  const stages = new Map<string, StageState>();
  for (const stage of graph.order.toReversed()) {
    const isEnd = graph.results.includes(stage) || readersOf(graph, stage).length === 0;
    const goesOn = running?.get(stage);
    if (goesOn !== undefined) stages.set(stage, goesOn);
    else if (sealed.has(stage)) stages.set(stage, { phase: 'done', how: 'restored' });
    else if (!isEnd && !readersOf(graph, stage).some((reader) => needed.has(reader)))
      stages.set(stage, { phase: 'done', how: 'skipped' });
    else {
      needed.add(stage);
      stages.set(stage, { phase: 'waiting' });
    }
  }
  return new Map(graph.order.map((stage) => [stage, stages.get(stage) ?? { phase: 'waiting' }]));
}

/** The stream of a stage is sealed. */
export function stageIsDone(
  state: LineState,
  resident: ResidentState,
  stage: string,
  nowMs: number,
  effects: LineEffect[],
): void {
  moveStage(state, resident, stage, { phase: 'done', how: 'ran' });
  effects.push({ type: 'stageDone', shardId: resident.lease.shardId, stage });
  for (const reader of readersOf(state.graph, stage)) {
    makeReady(state, resident, reader, nowMs);
    beginTimeLimit(state, resident, reader, nowMs);
  }
  for (const stream of state.graph.stages.get(stage)?.after ?? []) releaseIfRead(state, resident, stream, effects);
  releaseIfRead(state, resident, stage, effects);
  deliverIfDone(resident, effects);
}

/** A waiting stage whose inputs are all there may begin. */
export function makeReady(state: LineState, resident: ResidentState, stage: string, nowMs: number): void {
  const at = resident.stages.get(stage);
  if (at?.phase !== 'waiting' || missingInputs(state, resident, stage).length > 0) return;
  const { attempt, notBeforeMs, error } = at.failed ?? { attempt: 1, notBeforeMs: nowMs, error: undefined };
  moveStage(state, resident, stage, { phase: 'ready', sinceMs: nowMs, attempt, notBeforeMs, error });
}

export function releaseIfRead(state: LineState, resident: ResidentState, stream: string, effects: LineEffect[]): void {
  const { graph } = state;
  if (resident.released.has(stream) || graph.results.includes(stream)) return;
  if (stream !== inputStream && graph.stages.has(stream) && resident.stages.get(stream)?.phase !== 'done') return;
  if (!readersOf(graph, stream).every((reader) => resident.stages.get(reader)?.phase === 'done')) return;
  resident.released.add(stream);
  effects.push({ type: 'release', shardId: resident.lease.shardId, stream });
}

export function deliverIfDone(resident: ResidentState, effects: LineEffect[]): void {
  for (const at of resident.stages.values()) if (at.phase !== 'done') return;
  resident.phase = 'delivering';
  deliver(resident, effects);
}

function deliver(resident: ResidentState, effects: LineEffect[]): void {
  resident.deliveries += 1;
  resident.deliverAtMs = undefined;
  effects.push({ type: 'deliver', shardId: resident.lease.shardId });
}

/** Delivered → complete; failed → again with back-off, as often as `limits.deliverTriesMax` says. */
export function settleDelivery(
  state: LineState,
  event: LineEvent & { type: 'delivered' | 'deliverFailed' },
  nowMs: number,
  effects: LineEffect[],
): void {
  const resident = state.residents.get(event.shardId);
  if (resident?.phase !== 'delivering' || resident.deliverAtMs !== undefined) return;
  if (event.type === 'delivered') {
    resident.phase = 'ending';
    effects.push({ type: 'complete', shardId: event.shardId });
  } else if (event.error.retry === 'never' || resident.deliveries >= limits.deliverTriesMax) {
    failShard(state, event.shardId, event.error, undefined, nowMs, effects);
  } else resident.deliverAtMs = nowMs + backoffMs(state.config.stageBackoff, resident.deliveries);
}

export function deliverWhatIsDue(state: LineState, nowMs: number, effects: LineEffect[]): void {
  for (const resident of state.residents.values()) {
    if (resident.phase === 'delivering' && resident.deliverAtMs !== undefined && resident.deliverAtMs <= nowMs)
      deliver(resident, effects);
  }
}
