/**
 * Which shards come onto a line: when to ask for leases, for how many, and when there is room to load one.
 *
 * A line takes all its residents through the stages that are loaded before these are swapped out. A shard that comes when the
 * first stage is gone would make it come back for that shard alone; so new ones are asked for only while a first stage is in
 * a slot or on its way there, or all stages fit, or nobody else is here.
 *
 * A shard that is completed makes room, and its completion can bring what takes its place: one request instead of two. What it takes
 * up counts as free for that, since its end is heard before the leases are.
 */
import { limits } from '../contracts/limits.js';
import { freeWhatEnded, letGo } from './endings.js';
import type { LineEffect, LineState, ResidentState } from './types.js';
import type { Lease } from '../contracts/line-api.js';

const leasesMax = 256;
/** Where shards flow, a request is made when this share of the places is free. */
const askedShare = 4;

export function takeLeases(
  state: LineState,
  leases: readonly { lease: Lease; needBytes: number }[],
  queued: number,
  nowMs: number,
  effects: LineEffect[],
): void {
  answerLease(state, queued, leases.length === 0, nowMs);
  for (const { lease, needBytes } of leases) {
    state.needBytesSeen = Math.max(state.needBytesSeen ?? 0, needBytes);
    takeLease(state, lease, needBytes, nowMs, effects);
  }
}

/** A request has ended; `nothing`: it brought no shard. */
export function answerLease(state: LineState, queued: number, nothing: boolean, nowMs: number): void {
  state.leasing = false;
  state.queued = queued;
  state.leaseNotBeforeMs = nothing ? state.leaseAskedAtMs + limits.leaseAgainMs : nowMs;
}

/** A shard that is here already was leased again, as after a restart of the coordinator: it goes on under the new epoch. */
function takeLease(state: LineState, lease: Lease, needBytes: number, nowMs: number, effects: LineEffect[]): void {
  const resident = state.residents.get(lease.shardId);
  if (resident === undefined) admit(state, lease, needBytes, nowMs);
  else if (lease.epoch <= resident.lease.epoch) return;
  else if (resident.phase !== 'ending' && lease.resumeFrom === resident.lease.resumeFrom) {
    resident.lease = lease;
    if (resident.phase === 'loading') effects.push({ type: 'load', shardId: lease.shardId, lease });
  } else {
    letGo(state, lease.shardId, 'the shard was leased again', nowMs, effects);
    resident.next = { lease, needBytes };
  }
}

function admit(state: LineState, lease: Lease, needBytes: number, nowMs: number): void {
  state.residents.set(lease.shardId, {
    lease,
    phase: 'queued',
    stages: new Map(),
    needBytes,
    admittedAtMs: nowMs,
    released: new Set(),
    deliveries: 0,
    deliverAtMs: undefined,
    letGo: false,
  });
}

/** Frees what has ended and takes in what was leased again meanwhile. */
export function turnOver(state: LineState, nowMs: number, effects: LineEffect[]): void {
  for (const { lease, needBytes } of freeWhatEnded(state, effects)) admit(state, lease, needBytes, nowMs);
}

/** Loads queued residents, oldest first, while their needs fit into the scratch together; a lone one always. */
export function loadWhatFits(state: LineState, effects: LineEffect[]): void {
  let usedBytes = 0;
  let loaded = 0;
  for (const resident of state.residents.values()) {
    if (resident.phase === 'queued') continue;
    usedBytes += resident.needBytes;
    loaded += 1;
  }
  if (loaded === state.residents.size) return;
  for (const resident of state.residents.values()) {
    if (resident.phase !== 'queued') continue;
    if (loaded > 0 && usedBytes + resident.needBytes > state.config.scratchBytesMax) return;
    resident.phase = 'loading';
    usedBytes += resident.needBytes;
    loaded += 1;
    effects.push({ type: 'load', shardId: resident.lease.shardId, lease: resident.lease });
  }
}

/**
 * One request at a time; it waits at the coordinator only when this line has nothing else to do. With a completion that is to be told
 * in this step there is no reason to hold one back: it costs no call.
 */
export function askForLeases(state: LineState, nowMs: number, effects: LineEffect[]): void {
  const completion = effects.find((effect) => effect.type === 'complete');
  const leaving = completion === undefined ? undefined : leavingAtOnce(state, completion.shardId);
  if (!mayAsk(state, leaving)) return;
  const isCarried = completion !== undefined && leaving !== undefined;
  if (!isCarried && (isTooSoon(state, nowMs) || isWorthWaiting(state))) return;
  const max = roomForLeases(state, leaving);
  if (max < 1) return;
  const wait = !isCarried && state.residents.size === 0;
  state.leasing = true;
  state.leaseAskedAtMs = nowMs;
  state.leaseWaited = wait;
  if (isCarried) completion.lease = { max };
  else effects.push({ type: 'lease', max, wait });
}

/** A resident that is freed as soon as the coordinator has heard of its end: no run of it is still to end. */
function leavingAtOnce(state: LineState, shardId: string): ResidentState | undefined {
  if (state.slots.some((slot) => slot.phase === 'running' && slot.shardId === shardId)) return undefined;
  return state.residents.get(shardId);
}

/**
 * An empty answer holds the next request back for a while. Not so where the line has become empty since: the next request waits at
 * the coordinator, which the last one did not.
 */
const isTooSoon = (state: LineState, nowMs: number): boolean =>
  state.leaseNotBeforeMs > nowMs && (state.residents.size > 0 || state.leaseWaited);

/** Whether there would be a request but for time and memory. `leaving`: a resident that counts as gone. */
export function mayAsk(state: LineState, leaving?: ResidentState): boolean {
  const staying = stayingCount(state, leaving);
  if (state.leasing || state.draining || state.paused || staying >= state.config.residentsMax) return false;
  return staying === 0 || allStagesFit(state) || isEntryHeld(state);
}

/**
 * Shards that may come, by their number and by the memory that the largest one so far needed. The first comes alone, to be measured.
 * `leaving`: a resident that counts as gone.
 */
export function roomForLeases(state: LineState, leaving?: ResidentState): number {
  const { residents, config, needBytesSeen } = state;
  const staying = stayingCount(state, leaving);
  const places = Math.min(config.residentsMax - staying, leasesMax);
  if (needBytesSeen === undefined) return staying === 0 ? Math.min(1, places) : 0;
  let usedBytes = 0;
  for (const resident of residents.values()) if (resident !== leaving) usedBytes += resident.needBytes;
  const fitting = Math.floor((config.scratchBytesMax - usedBytes) / Math.max(1, needBytesSeen));
  return Math.min(places, staying === 0 ? Math.max(1, fitting) : fitting);
}

const stayingCount = ({ residents }: LineState, leaving: ResidentState | undefined): number =>
  residents.size - (leaving === undefined ? 0 : 1);

/** Shards flow, and there is room for few: more will leave soon, and one request can bring as many. */
function isWorthWaiting(state: LineState): boolean {
  const { residentsMax } = state.config;
  const { size } = state.residents;
  return size > 0 && allStagesFit(state) && residentsMax - size < Math.floor(residentsMax / askedShare);
}

export const allStagesFit = (state: LineState): boolean => state.graph.order.length <= state.slots.length;

const isEntryHeld = (state: LineState): boolean =>
  state.slots.some((slot) => slot.phase !== 'empty' && state.graph.entries.includes(slot.stage));
