/**
 * A new revision of the pipeline while shards are on the line: each stage stands anew by what is still valid. Runs whose stage and
 * inputs are as before go on; others are cancelled. Shards that are being delivered, or end, keep what they were taken in under.
 */
import { inputStream } from '../contracts/block.js';
import type { ResolvedStage } from '../contracts/manifest.js';
import { addDemand, countDemand } from './demand.js';
import { cancelRun, cancelRunsOf } from './endings.js';
import { buildGraph, readersOf, type Graph } from './graph.js';
import { deliverIfDone, makeReady, planStages, releaseIfRead } from './residents.js';
import { beginTimeLimit, missingInputs } from './streaming.js';
import type { KnownStream, LineEffect, LinePipeline, LineState, ResidentState, SlotState, StageState } from './types.js';

/** An older revision than the line's changes nothing. Throws as `buildGraph` does, before anything is changed. */
export function revise(
  state: LineState,
  pipeline: LinePipeline,
  known: ReadonlyMap<string, readonly KnownStream[]>,
  incomplete: ReadonlySet<string>,
  nowMs: number,
  effects: LineEffect[],
): void {
  if (pipeline.revision <= state.revision) return;
  const before = state.graph;
  state.graph = buildGraph(pipeline.stages, pipeline.spec.result.stages);
  state.revision = pipeline.revision;
  state.streaming = pipeline.spec.streaming !== 'off';
  state.troubles.clear();
  for (const [shardId, resident] of state.residents) {
    if (resident.phase === 'stages') reviseResident(state, before, resident, known.get(shardId) ?? [], nowMs, effects);
  }
  for (const [index, slot] of state.slots.entries()) {
    if (slot.phase === 'empty' || isSameProcess(before.stages.get(slot.stage), state.graph.stages.get(slot.stage))) continue;
    // The stage that it holds is of yesterday: what is swapped in next ends its process. A run of it was cancelled above.
    if (slot.phase === 'running') slot.stale = true;
    else state.slots[index] = { phase: 'empty' };
  }
  countDemand(state);
  for (const resident of state.residents.values()) {
    if (resident.phase !== 'stages') continue;
    for (const stage of state.graph.order) {
      makeReady(state, resident, stage, nowMs);
      beginTimeLimit(state, resident, stage, nowMs);
    }
    if (incomplete.has(resident.lease.shardId) || isInputMissing(state, resident)) {
      addDemand(state, resident, -1);
      resident.phase = 'loading';
      cancelRunsOf(state, resident, 'its shard is loaded again', nowMs, effects);
      resident.released.clear();
      effects.push({ type: 'load', shardId: resident.lease.shardId, lease: resident.lease });
      continue;
    }
    for (const stream of [inputStream, ...(known.get(resident.lease.shardId) ?? []).map((stream) => stream.stream)])
      releaseIfRead(state, resident, stream, effects);
    deliverIfDone(resident, effects);
  }
}

function reviseResident(
  state: LineState,
  before: Graph<ResolvedStage>,
  resident: ResidentState,
  known: readonly KnownStream[],
  nowMs: number,
  effects: LineEffect[],
): void {
  const { shardId } = resident.lease;
  const sealed = new Set(known.filter((stream) => stream.sealed).map((stream) => stream.stream));
  const old = resident.stages;
  const goOn = new Map<string, StageState>();
  for (const { index, slot } of runsOf(state, shardId)) {
    const stage = state.graph.stages.get(slot.stage);
    const at = old.get(slot.stage);
    const stands = (stream: string): boolean => stream === inputStream || sealed.has(stream) || goOn.has(stream);
    const inputsStand = stage?.after.every(stands) === true;
    if (at !== undefined && inputsStand && isSameWork(before.stages.get(slot.stage), stage)) goOn.set(slot.stage, at);
    else cancelRun(state, index, `stage "${slot.stage}" is another one since revision ${String(state.revision)}`, nowMs, effects);
  }
  resident.stages = planStages(state, sealed, goOn);
  for (const [stage, at] of resident.stages) {
    const was = old.get(stage);
    if (at.phase === 'done' && was?.phase === 'done') resident.stages.set(stage, was);
    if (at.phase !== 'done') resident.released.delete(stage);
    if (at.phase === 'waiting' && was?.phase === 'waiting' && isSameWork(before.stages.get(stage), state.graph.stages.get(stage)))
      resident.stages.set(stage, was);
    // Its tries count on: a revision of another stage is no reason to begin again.
    if (at.phase === 'waiting' && was?.phase === 'ready' && isSameWork(before.stages.get(stage), state.graph.stages.get(stage))) {
      if (missingInputs(state, resident, stage).length === 0) resident.stages.set(stage, was);
    }
  }
}

/** The runs of a shard that are wanted so far, leaders before their followers. */
const runsOf = (state: LineState, shardId: string): { index: number; slot: SlotState & { phase: 'running' } }[] =>
  state.slots
    .flatMap((slot, index) => (slot.phase === 'running' && !slot.cancelled && slot.shardId === shardId ? [{ index, slot }] : []))
    .sort((a, b) => (state.graph.index.get(a.slot.stage) ?? 0) - (state.graph.index.get(b.slot.stage) ?? 0));

/** `input` was released, and a stage that reads it is to run again. */
const isInputMissing = (state: LineState, resident: ResidentState): boolean =>
  resident.released.has(inputStream) &&
  readersOf(state.graph, inputStream).some((stage) => resident.stages.get(stage)?.phase === 'ready');

/** Whether a run of the one makes what a run of the other would, from the same inputs. */
function isSameWork(a: ResolvedStage | undefined, b: ResolvedStage | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  const work = (stage: ResolvedStage): string => JSON.stringify([stage.after, stage.combine, stage.parameters]);
  return isSameProcess(a, b) && work(a) === work(b);
}

/** Whether a process that was given the one can run the other: what a run gets with its start may differ. */
function isSameProcess(a: ResolvedStage | undefined, b: ResolvedStage | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  const { version, module, command, image, executor, stdio, output, workers, cwd } = b;
  const given = JSON.stringify([version, module, command, image, executor, stdio, output, workers, cwd]);
  return given === JSON.stringify([a.version, a.module, a.command, a.image, a.executor, a.stdio, a.output, a.workers, a.cwd]);
}
