/**
 * How many residents stand where, of each stage: kept in step with the stage states, so that no step has to count them.
 * Only residents in phase `stages` are counted.
 */
import type { LineState, ResidentState, StageDemand, StageState } from './types.js';

/** Counts from the start: after the graph has changed. */
export function countDemand(state: LineState): void {
  state.demand = new Map(state.graph.order.map((stage) => [stage, { waiting: 0, ready: 0, running: 0 }]));
  for (const resident of state.residents.values()) if (resident.phase === 'stages') addDemand(state, resident, 1);
}

/** Counts a resident in (1) or out (-1). */
export function addDemand(state: LineState, resident: ResidentState, by: 1 | -1): void {
  for (const [stage, at] of resident.stages) count(state.demand.get(stage), at, by);
}

/** The only way in which a stage of a resident in phase `stages` changes its state. */
export function moveStage(state: LineState, resident: ResidentState, stage: string, to: StageState): void {
  const from = resident.stages.get(stage);
  if (from !== undefined) count(state.demand.get(stage), from, -1);
  resident.stages.set(stage, to);
  count(state.demand.get(stage), to, 1);
  const untilMs = backsOffUntilMs(to);
  if (untilMs !== undefined) state.backoffs.push({ shardId: resident.lease.shardId, stage, untilMs });
}

/** When the back-off of a stage that has failed is over. */
export function backsOffUntilMs(at: StageState | undefined): number | undefined {
  if (at?.phase === 'waiting') return at.failed?.notBeforeMs;
  return at?.phase === 'ready' && at.attempt > 1 ? at.notBeforeMs : undefined;
}

function count(demand: StageDemand | undefined, at: StageState, by: 1 | -1): void {
  if (demand !== undefined && at.phase !== 'done') demand[at.phase] += by;
}
