/**
 * Streaming: the assembly line within a shard. A stage, the *follower*, begins while a stage that it reads, its *leader*, still
 * works, and works on the leader's blocks as they are committed. Which stages may, and since when.
 *
 * Blocks that are committed never change. So a leader that fails and is run again does not disturb its follower, which waits for
 * further blocks meanwhile and keeps its slot.
 *
 * Invariants
 *  1. A stage begins to follow only while everything that its missing inputs lack, directly or not, is being made. So followers that
 *     wait for a leader which does not run never hold all slots, or all cores: of those that wait, take the one that began last.
 *     Its leader ran then and failed since, which freed a slot (and a core); whatever has that one now began later, so does not wait.
 *  2. A follower takes a slot or a core only when no shard whose inputs are whole could use it.
 *  3. The time limit of a run counts from the moment at which its inputs are whole: waiting for a leader is not its fault. A leader
 *     that hangs ends by its own limit.
 */
import { inputStream } from '../contracts/block.js';
import type { ResolvedStage } from '../contracts/manifest.js';
import type { LineState, ResidentState, SlotState } from './types.js';

/** Whether blocks of the stage's stream appear one by one while it works. Commands and files become streams in the end. */
export const mayLead = ({ declares }: Pick<ResolvedStage, 'declares'>): boolean =>
  declares?.form === 'block' || declares?.form === 'row' || declares?.form === 'bytes';

/** Whether the stage takes its input block by block, where its shim can tell it of blocks that come. */
export const mayFollow = (stage: Pick<ResolvedStage, 'declares' | 'executor'>): boolean =>
  stage.executor !== 'process' && (mayLead(stage) || stage.declares?.form === 'aggregate');

/** The inputs of a stage that are not whole yet. */
export const missingInputs = ({ graph }: LineState, resident: ResidentState, stage: string): string[] =>
  (graph.stages.get(stage)?.after ?? []).filter(
    (stream) => stream !== inputStream && resident.stages.get(stream)?.phase !== 'done',
  );

/** Since when a waiting stage could follow the makers of all its missing inputs; undefined where it cannot. */
export function couldFollowSinceMs(state: LineState, resident: ResidentState, stage: string): number | undefined {
  const follower = state.graph.stages.get(stage);
  if (!state.streaming || follower === undefined || !mayFollow(follower)) return undefined;
  let sinceMs: number | undefined;
  for (const stream of missingInputs(state, resident, stage)) {
    const leader = state.graph.stages.get(stream);
    const leadsSinceMs = runOf(state, resident, stream)?.leadsSinceMs;
    if (leader === undefined || leadsSinceMs === undefined || !mayLead(leader) || !isAdvancing(state, resident, stream))
      return undefined;
    sinceMs = Math.max(sinceMs ?? 0, leadsSinceMs);
  }
  return sinceMs;
}

/** A run of the stage is under way, and of everything that it still lacks. */
export const isAdvancing = (state: LineState, resident: ResidentState, stage: string): boolean =>
  runOf(state, resident, stage) !== undefined &&
  missingInputs(state, resident, stage).every((stream) => isAdvancing(state, resident, stream));

/** The run of a stage that is under way and wanted. */
export function runOf(state: LineState, resident: ResidentState, stage: string): (SlotState & { phase: 'running' }) | undefined {
  const at = resident.stages.get(stage);
  const slot = at?.phase === 'running' ? state.slots[at.slot] : undefined;
  return slot?.phase === 'running' && !slot.cancelled ? slot : undefined;
}

/** The run has committed blocks, and is not at its last. */
export function noteGrowth(state: LineState, index: number, runId: string, nowMs: number): void {
  const slot = state.slots[index];
  if (slot?.phase === 'running' && slot.runId === runId && !slot.cancelled) slot.leadsSinceMs ??= nowMs;
}

/** An input of the stage has become whole: if it was the last that it lacked, the run's time begins. */
export function beginTimeLimit(state: LineState, resident: ResidentState, stage: string, nowMs: number): void {
  const run = runOf(state, resident, stage);
  if (run === undefined || missingInputs(state, resident, stage).length > 0) return;
  const timeoutMs = state.graph.stages.get(stage)?.timeoutMs;
  if (timeoutMs !== undefined) run.deadlineMs ??= nowMs + timeoutMs;
}
