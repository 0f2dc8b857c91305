/**
 * What is needed next: for each stage, how soon a shard on the line will be ready for it. The order of stages is known, so
 * this is not a guess of what, only of when.
 */
import { backsOffUntilMs } from './demand.js';
import { readersOf } from './graph.js';
import { isAdvancing, missingInputs } from './streaming.js';
import type { LineState } from './types.js';

/** Distance of a stage's next use. Below `now` + 2 a swap that is begun at once is just in time, or late. */
export const use = {
  /** A shard is ready for it. */
  now: 0,
  /** What a shard lacks for it is being made. */
  soon: 1,
  /** Needed by a shard on the line, more than one stage ahead: this, and more the farther it is. */
  later: 2,
  /** Not by a shard on the line: plus the stage's place in the order. The next shards may come to it. */
  nextShard: 1_000_000,
  never: Infinity,
} as const;

export interface Outlook {
  /** By stage; absent for a stage that is not in the graph. */
  nextUse: ReadonlyMap<string, number>;
  /** Shards ready now, by stage; those that back off are not counted. */
  ready: ReadonlyMap<string, number>;
  /** More shards wait at the coordinator and this line may take them. */
  moreWait: boolean;
  /** A shard that had been on a line before is being loaded: what it needs is not known yet. */
  unknown: boolean;
}

/** A back-off that ends within about the time of a swap is no reason to let the stage go. */
const shortBackoffMs = 1_000;

export function outlookOf(state: LineState, nowMs: number): Outlook {
  const { graph } = state;
  const backingOff = countBackoffs(state, nowMs);
  const soon = soonStages(state);
  const { fresh, unknown } = loadingShards(state);
  const nextUse = new Map<string, number>();
  const ready = new Map<string, number>();
  for (const stage of graph.order) {
    const demand = state.demand.get(stage) ?? { waiting: 0, ready: 0, running: 0 };
    const off = backingOff.get(stage) ?? { short: 0, long: 0 };
    const readyNow = demand.ready - off.short - off.long;
    ready.set(stage, readyNow);
    let at: number = use.nextShard + (graph.index.get(stage) ?? 0);
    if (readyNow > 0) at = use.now;
    else if (soon.has(stage) || off.short > 0) at = use.soon;
    else if (demand.ready > 0) at = use.later;
    else if (demand.waiting > 0) at = afterInputs(state, stage, nextUse);
    if (fresh) at = Math.min(at, use.soon + 2 * (graph.depth.get(stage) ?? 0));
    nextUse.set(stage, at);
  }
  return { nextUse, ready, unknown, moreWait: state.queued > 0 && !state.draining && !state.paused };
}

/** Two for a stage that can begin at once: to be taken up, and to run. One for what runs. */
function afterInputs(state: LineState, stage: string, nextUse: ReadonlyMap<string, number>): number {
  let at: number = use.soon;
  for (const stream of state.graph.stages.get(stage)?.after ?? []) {
    const demand = state.demand.get(stream);
    if (demand === undefined) continue;
    if (demand.waiting + demand.ready > 0) at = Math.max(at, (nextUse.get(stream) ?? 0) + 2);
  }
  return Math.max(at, use.later);
}

/** Stages of which a shard lacks only what is being made for it at this moment. */
function soonStages(state: LineState): Set<string> {
  const soon = new Set<string>();
  for (const slot of state.slots) {
    if (slot.phase !== 'running' || slot.cancelled) continue;
    const resident = state.residents.get(slot.shardId);
    if (resident?.phase !== 'stages') continue;
    for (const reader of readersOf(state.graph, slot.stage)) {
      if (soon.has(reader) || resident.stages.get(reader)?.phase !== 'waiting') continue;
      if (missingInputs(state, resident, reader).every((stream) => isAdvancing(state, resident, stream))) soon.add(reader);
    }
  }
  return soon;
}

/** A first lease brings a shard that needs every stage; a later one may find some of it done. */
function loadingShards(state: LineState): { fresh: boolean; unknown: boolean } {
  let fresh = false;
  let unknown = false;
  for (const resident of state.residents.values()) {
    if (resident.phase !== 'loading' && resident.phase !== 'queued') continue;
    if (resident.lease.epoch <= 1) fresh = true;
    else unknown = true;
  }
  return { fresh, unknown };
}

/** Also forgets the back-offs that are over. */
function countBackoffs(state: LineState, nowMs: number): Map<string, { short: number; long: number }> {
  const counts = new Map<string, { short: number; long: number }>();
  if (state.backoffs.length === 0) return counts;
  state.backoffs = state.backoffs.filter(({ shardId, stage, untilMs }) => {
    const resident = state.residents.get(shardId);
    const at = resident?.phase === 'stages' ? resident.stages.get(stage) : undefined;
    return untilMs > nowMs && backsOffUntilMs(at) === untilMs;
  });
  for (const { shardId, stage, untilMs } of state.backoffs) {
    if (state.residents.get(shardId)?.stages.get(stage)?.phase !== 'ready') continue;
    const count = counts.get(stage) ?? { short: 0, long: 0 };
    count[untilMs - nowMs <= shortBackoffMs ? 'short' : 'long'] += 1;
    counts.set(stage, count);
  }
  return counts;
}
