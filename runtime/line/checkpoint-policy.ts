/**
 * When to checkpoint: which streams of a shard are to be written to which place now, and why, with the numbers.
 *
 * Pure. The agent asks after each `stageDone`, and from time to time while stages run; it gives the streams that
 * are worth keeping (`neededStreams`), what each place holds of them already, and what writing cost so far.
 *
 * Invariants
 *  1. A stream of which a place holds everything is never written there again.
 *  2. `never` writes nothing, `stage` exactly the sealed streams, the others also what is committed of unsealed ones.
 *  3. `auto` writes when doing again what would be lost costs more than restoring and writing it. Work of a shard that was never lost
 *     counts half, so that all writing, and reading it back, takes less than half of the time of the work; of one that was lost before
 *     it counts whole.
 *  4. Work counts towards one write of a place only, provided that the write succeeds.
 */
import { inputStream } from '../contracts/block.js';

export type CheckpointPlace = 'ssd' | 'volume';
export const checkpointPlaces: readonly CheckpointPlace[] = ['ssd', 'volume'];

/** A cadence with its duration read. */
export type Cadence = 'stage' | 'never' | 'auto' | { blocks: number } | { everyMs: number };

/** A stream as it stands in the scratch. */
export interface StreamToKeep {
  stream: string;
  sealed: boolean;
  blocks: number;
  bytes: number;
  /** Work that went into it so far, all runs: what making it again would take. */
  workMs: number;
}

/** What a place holds of a stream: the same measures, as they were when it was last written. */
export type StreamWritten = Omit<StreamToKeep, 'stream'>;

export interface PlaceState {
  cadence: Cadence;
  /** When the last checkpoint of the shard was begun, or when the shard was taken in. */
  lastAtMs: number;
  /** A write is under way: nothing new is decided for this place. */
  busy: boolean;
  written: ReadonlyMap<string, StreamWritten>;
  /** As measured by `observeWrite`; absent before the first write. */
  bytesPerMs?: number | undefined;
}

/** Where a stream comes from, and the work that went into it. */
export interface Making {
  after: readonly string[];
  workMs: number;
}

/** What `auto` wants to know beside the streams themselves. */
export interface History {
  /** All streams of the graph by name, also those that are gone: doing a stream again may mean doing these again. */
  makings: ReadonlyMap<string, Making>;
  /** How often the shard was lost by a line, or given back, so far. */
  losses: number;
}
const noHistory: History = { makings: new Map(), losses: 0 };

/** What was weighed for a place in which something is new; `due` says whether it is to be written now. */
export interface CheckpointVerdict {
  place: CheckpointPlace;
  due: boolean;
  /** Streams with something new that the cadence may write; never empty. */
  streams: string[];
  /** In words, with the numbers. */
  why: string;
  newBlocks: number;
  newBytes: number;
  /** What would have to be done again without it, streams that are no longer there included. */
  atRiskMs: number;
  /** What restoring it is expected to take: as long as writing it. */
  restoreMs: number;
  /** What writing is expected to take. */
  writeMs: number;
}
/** A verdict that is due. */
export type CheckpointDecision = CheckpointVerdict & { due: true };

/**
 * Before a write was measured. Origin: buffered write with fsync was measured at 786–1,772 MiB/s on a local disk;
 * a volume may lie behind a network of 1 Gbit/s.
 */
const assumedBytesPerMs = { ssd: 800_000, volume: 100_000 } as const;
/** Each write costs some syncs and renames whatever its size. */
const fixedWriteMs = 10;
/** Weight of the newest measure in the running mean. */
const newestWeight = 0.5;

/** What work of a shard that was never lost counts for: moving its bytes to the place and back takes at most this share of it. */
const shareNeverLost = 0.5;

/** What is to be written now. */
export function decideCheckpoints(
  streams: readonly StreamToKeep[],
  places: Partial<Record<CheckpointPlace, PlaceState>>,
  nowMs: number,
  history: History = noHistory,
): CheckpointDecision[] {
  return weighCheckpoints(streams, places, nowMs, history).filter((verdict): verdict is CheckpointDecision => verdict.due);
}

/** The same with what is not due, for whoever asks why not. Places that are busy, or hold everything, have no verdict. */
export function weighCheckpoints(
  streams: readonly StreamToKeep[],
  places: Partial<Record<CheckpointPlace, PlaceState>>,
  nowMs: number,
  history: History = noHistory,
): CheckpointVerdict[] {
  return checkpointPlaces.flatMap((place) => {
    const state = places[place];
    if (state === undefined || state.busy || state.cadence === 'never') return [];
    const verdict = weigh(place, state, state.cadence, { streams, nowMs, history });
    return verdict === undefined ? [] : [verdict];
  });
}

interface Question {
  streams: readonly StreamToKeep[];
  nowMs: number;
  history: History;
}

function weigh(
  place: CheckpointPlace,
  state: PlaceState,
  cadence: Exclude<Cadence, 'never'>,
  { streams, nowMs, history }: Question,
): CheckpointVerdict | undefined {
  const changed = streams.filter((stream) => isNew(stream, state.written.get(stream.stream)));
  const chosen = cadence === 'stage' ? changed.filter((stream) => stream.sealed) : changed;
  if (chosen.length === 0) return undefined;

  const newBlocks = sum(chosen, (stream) => stream.blocks - (state.written.get(stream.stream)?.blocks ?? 0));
  const newBytes = sum(chosen, (stream) => stream.bytes - (state.written.get(stream.stream)?.bytes ?? 0));
  const ownMs = sum(chosen, (stream) => stream.workMs - (state.written.get(stream.stream)?.workMs ?? 0));
  const atRiskMs = ownMs + workBehind(chosen, streams, state, history);
  const restoreMs = newBytes / (state.bytesPerMs ?? assumedBytesPerMs[place]);
  const writeMs = fixedWriteMs + restoreMs;
  const measures = { chosen, newBlocks, newBytes, atRiskMs, restoreMs, writeMs, sinceMs: nowMs - state.lastAtMs };
  const { due, why } = judge(cadence, measures, history.losses);
  return { place, due, streams: chosen.map((stream) => stream.stream), why, newBlocks, newBytes, atRiskMs, restoreMs, writeMs };
}

/**
 * Work in streams that are gone because the chosen ones are whole, and that the place does not hold: with these it would be lost too.
 * What is still there is either chosen itself, or held, or needed whatever is written now.
 */
function workBehind(
  chosen: readonly StreamToKeep[],
  streams: readonly StreamToKeep[],
  state: PlaceState,
  { makings }: History,
): number {
  const there = new Set(streams.map((stream) => stream.stream));
  const behind = new Set<string>();
  const toVisit = chosen.flatMap((stream) => (stream.sealed ? (makings.get(stream.stream)?.after ?? []) : []));
  for (let stream = toVisit.pop(); stream !== undefined; stream = toVisit.pop()) {
    if (there.has(stream) || behind.has(stream) || state.written.get(stream)?.sealed === true) continue;
    behind.add(stream);
    toVisit.push(...(makings.get(stream)?.after ?? []));
  }
  return [...behind].reduce((total, stream) => total + (makings.get(stream)?.workMs ?? 0), 0);
}

interface Measures {
  chosen: readonly StreamToKeep[];
  newBlocks: number;
  newBytes: number;
  atRiskMs: number;
  restoreMs: number;
  writeMs: number;
  sinceMs: number;
}

function judge(cadence: Exclude<Cadence, 'never'>, m: Measures, losses: number): { due: boolean; why: string } {
  const names = m.chosen.map((stream) => stream.stream).join(', ');
  if (cadence === 'stage') return { due: true, why: `${names} ${m.chosen.length === 1 ? 'is' : 'are'} whole` };
  if (cadence === 'auto') {
    const weight = losses === 0 ? shareNeverLost : 1;
    const lost = losses === 0 ? 'which counts half because the shard was never lost' : `and the shard was lost ${times(losses)}`;
    return {
      due: m.atRiskMs * weight - m.restoreMs > m.writeMs,
      why: `doing ${names} again would take ${ms(m.atRiskMs)}, ${lost}; writing ${String(m.newBytes)} bytes about ${ms(m.writeMs)}, restoring them ${ms(m.restoreMs)}`,
    };
  }
  if ('blocks' in cadence) {
    return {
      due: m.newBlocks >= cadence.blocks,
      why: `${String(m.newBlocks)} blocks are new, a checkpoint is due every ${String(cadence.blocks)}`,
    };
  }
  return {
    due: m.sinceMs >= cadence.everyMs,
    why: `the last checkpoint was begun ${ms(m.sinceMs)} ago, one is due every ${ms(cadence.everyMs)}`,
  };
}

/** The running mean of a place's speed with one more write in it. Writes of nothing say nothing. */
export function observeWrite(bytesPerMs: number | undefined, bytes: number, tookMs: number): number | undefined {
  const workMs = tookMs - fixedWriteMs;
  if (bytes <= 0 || workMs <= 0) return bytesPerMs;
  const observed = bytes / workMs;
  return bytesPerMs === undefined ? observed : bytesPerMs + (observed - bytesPerMs) * newestWeight;
}

function isNew(stream: StreamToKeep, written: StreamWritten | undefined): boolean {
  // The loader does not go on in the middle of a source: half an input is of no use.
  if (stream.stream === inputStream && !stream.sealed) return false;
  if (written === undefined) return stream.blocks > 0 || stream.sealed;
  return stream.blocks > written.blocks || (stream.sealed && !written.sealed);
}
const sum = (streams: readonly StreamToKeep[], of: (stream: StreamToKeep) => number): number =>
  streams.reduce((total, stream) => total + Math.max(0, of(stream)), 0);
const ms = (value: number): string => (value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(0)} ms`);
const times = (count: number): string => (count === 1 ? 'once' : `${String(count)} times`);
