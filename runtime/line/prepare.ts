/**
 * Runs that are prepared: the next stage of a shard is told its run while the stage before it still works, or the shard is loaded. Its slot
 * makes everything ready, and begins at the moment at which the index has its input whole; that it was wanted is said behind the hand-over.
 * So is the stage behind a prepared one, and so on: short stages have no time to get ready each in the time of the one before.
 *
 * A preparation is a hint. It takes no core, changes nothing of where shards and stages stand, and is looked at anew after every event: what
 * is not likely any more is withdrawn, and a run that is started in its slot takes its place.
 *
 * Invariants
 *  1. Only where the run would be the next on its slot whatever comes: no shard is ready for the stage, and of those that will be, the one
 *     that came first is chosen.
 *  2. A cpu-bound stage is prepared only behind cpu-bound ones, and behind each of them no other: it takes over the core of the one
 *     that ends; or behind a load, with a core to spare. Nothing is prepared while something that is ready waits for a core.
 *  3. Behind a load only where nothing of the shard can be there already, so that all that it lacks is its input.
 */
import { inputStream } from '../contracts/block.js';
import type { ResolvedStage } from '../contracts/manifest.js';
import { cpuBoundRuns } from './cores.js';
import { missingInputs, mayFollow, runOf } from './streaming.js';
import type { LineEffect, LineState, PreparedRun, ResidentState } from './types.js';

/** Withdraws what is not likely any more, and prepares what is. `isCoreMissing`: something that is ready was not started for want of one. */
export function prepareRuns(state: LineState, isCoreMissing: boolean, nowMs: number, effects: LineEffect[]): void {
  const wanted = isCoreMissing ? new Map<number, Wanted>() : wantedRuns(state, nowMs);
  for (const [slot, { runId }] of state.prepared) {
    if (isStill(state, slot, wanted.get(slot))) continue;
    state.prepared.delete(slot);
    effects.push({ type: 'withdraw', slot, runId });
  }
  for (const [slot, { stage, shardId, attempt, missing }] of wanted) {
    const step = stepIn(state, slot);
    if (state.prepared.has(slot) || step === undefined) continue;
    const runId = newRunId(state);
    const under = { epoch: epochOf(state, shardId), revision: state.revision };
    state.prepared.set(slot, { stage, shardId, attempt, runId, step, ...under });
    effects.push({ type: 'prepare', slot, shardId, stage, runId, attempt, growing: missing });
  }
}

type RunOfShard = Pick<PreparedRun, 'stage' | 'shardId' | 'attempt'>;

/** The run that was prepared in an idle slot, if it is this one; the slot has none then. */
export function takePrepared(state: LineState, slot: number, run: RunOfShard): string | undefined {
  if (!isStill(state, slot, run)) return undefined;
  const runId = state.prepared.get(slot)?.runId;
  state.prepared.delete(slot);
  return runId;
}

interface Wanted extends RunOfShard {
  missing: string[];
}

/** Whether this is the run that was prepared in the slot, by the same process and for the same work. */
function isStill(state: LineState, slot: number, run: RunOfShard | undefined): boolean {
  const prepared = state.prepared.get(slot);
  return (
    prepared !== undefined &&
    prepared.stage === run?.stage &&
    prepared.shardId === run.shardId &&
    prepared.attempt === run.attempt &&
    prepared.step === stepIn(state, slot) &&
    prepared.epoch === epochOf(state, run.shardId) &&
    prepared.revision === state.revision
  );
}

const epochOf = (state: LineState, shardId: string): number | undefined => state.residents.get(shardId)?.lease.epoch;

/** The step of a slot that could take a run. */
function stepIn(state: LineState, index: number): string | undefined {
  const slot = state.slots[index];
  return slot?.phase === 'idle' ? slot.step : undefined;
}

/** Unique with the line's instance. */
export function newRunId(state: LineState): string {
  state.counter += 1;
  return `${state.instance}-r${state.counter}`;
}

/** By slot, one for each stage, each behind those that it reads: what is prepared itself may be waited for, too. */
function wantedRuns(state: LineState, nowMs: number): Map<number, Wanted> {
  const wanted = new Map<number, Wanted>();
  const slots = idleSlots(state);
  if (slots.size === 0) return wanted;
  const promised: Promised = { coresFree: state.config.cores - cpuBoundRuns(state), heirs: new Set(), runs: new Set() };
  for (const stage of state.graph.order) {
    const slot = slots.get(stage);
    const run = slot === undefined ? undefined : nextRun(state, stage, promised, nowMs);
    if (slot === undefined || run === undefined) continue;
    promised.runs.add(keyOf(run.shardId, stage));
    wanted.set(slot, run);
  }
  return wanted;
}

/** By stage, one each; without stages that a shard is ready for, and those that no shard will come to. */
function idleSlots(state: LineState): Map<string, number> {
  const idle = new Map<string, number>();
  const isFreshLoading = [...state.residents.values()].some(isFresh);
  for (const [index, slot] of state.slots.entries()) {
    if (slot.phase !== 'idle' || idle.has(slot.stage)) continue;
    const { ready = 0, waiting = 0 } = state.demand.get(slot.stage) ?? {};
    if (ready === 0 && (waiting > 0 || isFreshLoading)) idle.set(slot.stage, index);
  }
  return idle;
}

/** What was given to others in the same look. */
interface Promised {
  coresFree: number;
  /** Runs, by shard and stage, whose core another one takes over. */
  heirs: Set<string>;
  /** Runs that are prepared, the same. */
  runs: Set<string>;
}

const keyOf = (shardId: string, stage: string): string => `${shardId}/${stage}`;

/** It is being loaded, and nothing of it can be there already. */
const isFresh = ({ phase, lease }: ResidentState): boolean =>
  phase === 'loading' && lease.epoch <= 1 && lease.resumeFrom === undefined;

function nextRun(state: LineState, stage: string, promised: Promised, nowMs: number): Wanted | undefined {
  const declared = state.graph.stages.get(stage);
  if (declared === undefined || !mayFollow(declared)) return undefined;
  for (const resident of state.residents.values()) {
    const missing = missingOf(state, resident, declared, promised, nowMs);
    if (missing === undefined) continue;
    const { shardId } = resident.lease;
    if (declared.bound === 'cpu' && !takeCore(state, shardId, missing, promised)) return undefined;
    const at = resident.stages.get(stage);
    return { stage, shardId, attempt: (at?.phase === 'waiting' ? at.failed?.attempt : undefined) ?? 1, missing };
  }
  return undefined;
}

/** Invariant 2. False where there is none. */
function takeCore({ graph }: LineState, shardId: string, missing: readonly string[], promised: Promised): boolean {
  const made = missing.filter((stream) => stream !== inputStream);
  if (made.length === 0) {
    promised.coresFree -= 1;
    return promised.coresFree >= 0;
  }
  const makers = made.map((stream) => keyOf(shardId, stream));
  if (made.some((stream) => graph.stages.get(stream)?.bound !== 'cpu') || makers.some((maker) => promised.heirs.has(maker)))
    return false;
  for (const maker of makers) promised.heirs.add(maker);
  return true;
}

/** The inputs that a waiting stage lacks, all of which are made at this moment or prepared; undefined where it is otherwise. */
function missingOf(
  state: LineState,
  resident: ResidentState,
  { name, after }: Pick<ResolvedStage, 'name' | 'after'>,
  { runs }: Pick<Promised, 'runs'>,
  nowMs: number,
): string[] | undefined {
  const { phase, lease } = resident;
  const isPrepared = (stream: string): boolean => runs.has(keyOf(lease.shardId, stream));
  if (phase === 'loading')
    return isFresh(resident) && after.every((stream) => stream === inputStream || isPrepared(stream)) ? [...after] : undefined;
  const at = phase === 'stages' ? resident.stages.get(name) : undefined;
  if (at?.phase !== 'waiting' || (at.failed?.notBeforeMs ?? nowMs) > nowMs) return undefined;
  const missing = missingInputs(state, resident, name);
  return missing.every((stream) => isPrepared(stream) || runOf(state, resident, stream) !== undefined) ? missing : undefined;
}
