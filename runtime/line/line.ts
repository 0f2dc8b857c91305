/**
 * The heart of a line: what to lease, load, swap, start, release, deliver and give up, as a function of what happened.
 *
 * `step` is deterministic and has no I/O, clock or randomness. It changes the state that it is given (a line may hold
 * 256 shards of 128 stages; copying them for each event would be most of the work) and returns what is to be done, in
 * order. The agent and the simulator in `test/simulation` run the same function.
 *
 * Who decides what: `admission.ts` which shards come, `residents.ts` where each stands, `runs.ts` what starts and how
 * runs end, `streaming.ts` what may begin before its inputs are whole, `prepare.ts` what its slot is told beforehand, `outlook.ts` and `slots.ts` which stage belongs in which slot, `swaps.ts` what becomes of slots,
 * `revision.ts` what a new graph changes.
 *
 * Invariants
 *  1. A slot holds at most one run; a stage of a shard has at most one run that is not cancelled.
 *  2. A shard's runs have ended before it is freed; after `free` no effect names it until it is leased again.
 *  3. For each lease there is at most one of `complete` and `fail`, and exactly one unless the lease was lost.
 *  4. Runs of cpu-bound stages at once are at most `cores`.
 *  5. Every wait has an end: a run with a timeout, a swap, a lost slot, a back-off and a drain each name a `wakeAt`.
 *  6. Events about a step, run or shard that is no longer current change nothing.
 */
import { answerLease, askForLeases, loadWhatFits, takeLeases, turnOver } from './admission.js';
import { countDemand } from './demand.js';
import { failShard, letGo, startDraining } from './endings.js';
import { buildGraph } from './graph.js';
import { prepareRuns } from './prepare.js';
import { deliverWhatIsDue, settleDelivery, takeLoaded } from './residents.js';
import { revise } from './revision.js';
import { endRunCommitted, endRunFailed, startRuns } from './runs.js';
import { planSwaps } from './slots.js';
import { noteGrowth } from './streaming.js';
import {
  expireSlots,
  failWhatCannotBeServed,
  loseSlot,
  orderSwap,
  failSwap,
  refuseSwap,
  slotIsReady,
  takeHello,
} from './swaps.js';
import type { LineConfig, LineEffect, LineEvent, LinePipeline, LineState } from './types.js';
import { nextWake } from './wake.js';

/** A line with empty slots and no shards. Its first effects come with its first `step`; `{ type: 'tick' }` begins. */
export function initialLine(config: LineConfig, pipeline: LinePipeline, instance: string): LineState {
  const state: LineState = {
    config,
    revision: pipeline.revision,
    graph: buildGraph(pipeline.stages, pipeline.spec.result.stages),
    streaming: pipeline.spec.streaming !== 'off',
    slots: Array.from({ length: config.slots }, () => ({ phase: 'empty' as const })),
    prepared: new Map(),
    residents: new Map(),
    demand: new Map(),
    backoffs: [],
    troubles: new Map(),
    leasing: false,
    leaseNotBeforeMs: 0,
    leaseAskedAtMs: 0,
    leaseWaited: false,
    needBytesSeen: undefined,
    draining: false,
    drainDeadlineMs: undefined,
    paused: false,
    queued: 0,
    counter: 0,
    instance,
    swaps: 0,
    wakeAtMs: undefined,
  };
  countDemand(state);
  return state;
}

/** Takes one event in; returns what is to be done now, in this order. Changes `state`. `nowMs` never goes back. */
export function step(state: LineState, event: LineEvent, nowMs: number): LineEffect[] {
  const effects: LineEffect[] = [];
  take(state, event, nowMs, effects);
  expireSlots(state, nowMs, effects);
  failWhatCannotBeServed(state, nowMs, effects);
  startDraining(state, nowMs, effects);
  turnOver(state, nowMs, effects);
  loadWhatFits(state, effects);
  deliverWhatIsDue(state, nowMs, effects);
  const isCoreMissing = startRuns(state, nowMs, effects);
  for (const swap of planSwaps(state, nowMs)) orderSwap(state, swap, nowMs, effects);
  prepareRuns(state, isCoreMissing, nowMs, effects);
  askForLeases(state, nowMs, effects);
  const wakeAtMs = nextWake(state, nowMs, event.type === 'tick');
  if (wakeAtMs !== undefined) effects.push({ type: 'wakeAt', atMs: wakeAtMs });
  return effects;
}

function take(state: LineState, event: LineEvent, nowMs: number, effects: LineEffect[]): void {
  switch (event.type) {
    case 'tick':
      return;
    case 'leased':
      takeLeases(state, event.leases, event.queued, nowMs, effects);
      return;
    case 'leaseRequestEnded':
      answerLease(state, event.queued, true, nowMs);
      return;
    case 'loaded':
      takeLoaded(state, event.shardId, event.known, nowMs, effects);
      return;
    case 'loadFailed':
      failShard(state, event.shardId, event.error, undefined, nowMs, effects);
      return;
    case 'slotHello':
      takeHello(state, event, nowMs, effects);
      return;
    case 'slotReady':
      slotIsReady(state, event.slot, event.step, nowMs);
      return;
    case 'swapFailed':
      failSwap(state, event.slot, event.step, event.error, nowMs);
      return;
    case 'slotUnusable':
      refuseSwap(state, event.slot, event.step, event.error, nowMs);
      return;
    case 'slotLost':
      loseSlot(state, event.slot, event.error, nowMs, effects);
      return;
    case 'runGrew':
      noteGrowth(state, event.slot, event.runId, nowMs);
      return;
    case 'runCommitted':
      endRunCommitted(state, event.slot, event.runId, nowMs, effects);
      return;
    case 'runFailed':
      endRunFailed(state, event.slot, event.runId, event.error, nowMs, effects);
      return;
    case 'delivered':
    case 'deliverFailed':
      settleDelivery(state, event, nowMs, effects);
      return;
    case 'ended':
    case 'leaseLost':
      if (event.epoch !== undefined && event.epoch < (state.residents.get(event.shardId)?.lease.epoch ?? 0)) return;
      letGo(state, event.shardId, event.type === 'ended' ? 'the shard has ended' : event.reason, nowMs, effects);
      return;
    case 'revised':
      revise(state, event.pipeline, event.known, event.incomplete ?? new Set(), nowMs, effects);
      return;
    case 'drain':
      state.draining = true;
      state.drainDeadlineMs = event.deadlineMs ?? state.drainDeadlineMs;
      return;
    case 'stay':
      if (state.drainDeadlineMs === undefined) state.draining = false;
      return;
    case 'paused':
      state.paused = event.paused;
      return;
  }
}
