/**
 * When to checkpoint: which streams of a shard are to be written to which place now, and why, with the numbers.
 *
 * Pure. The agent asks after each `stageDone`, and from time to time while stages run; it gives the streams that
 * are worth keeping (`neededStreams`), what each place holds of them already, and what writing cost so far.
 *
 * Invariants
 *  1. A stream of which a place holds everything is never written there again.
 *  2. `never` writes nothing, `stage` exactly the sealed streams, the others also what is committed of unsealed ones.
 *  3. `auto` writes when doing again what was done since the last checkpoint would take longer than writing it.
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

export interface CheckpointDecision {
  place: CheckpointPlace;
  /** Streams to write; never empty. */
  streams: string[];
  why: string;
  newBlocks: number;
  newBytes: number;
  /** What would have to be done again without it. */
  atRiskMs: number;
  /** What writing is expected to take. */
  writeMs: number;
}

/**
 * Before a write was measured. Origin: buffered write with fsync was measured at 786–1,772 MiB/s on a local disk;
 * a volume may lie behind a network of 1 Gbit/s.
 */
const assumedBytesPerMs = { ssd: 800_000, volume: 100_000 } as const;
/** Each write costs some syncs and renames whatever its size. */
const fixedWriteMs = 10;
/** Weight of the newest measure in the running mean. */
const newestWeight = 0.5;

export function decideCheckpoints(
  streams: readonly StreamToKeep[],
  places: Partial<Record<CheckpointPlace, PlaceState>>,
  nowMs: number,
): CheckpointDecision[] {
  return checkpointPlaces.flatMap((place) => {
    const state = places[place];
    if (state === undefined || state.busy || state.cadence === 'never') return [];
    const decision = decide(place, state, state.cadence, streams, nowMs);
    return decision === undefined ? [] : [decision];
  });
}

function decide(
  place: CheckpointPlace,
  state: PlaceState,
  cadence: Exclude<Cadence, 'never'>,
  streams: readonly StreamToKeep[],
  nowMs: number,
): CheckpointDecision | undefined {
  const changed = streams.filter((stream) => isNew(stream, state.written.get(stream.stream)));
  const chosen = cadence === 'stage' ? changed.filter((stream) => stream.sealed) : changed;
  if (chosen.length === 0) return undefined;

  const newBlocks = sum(chosen, (stream) => stream.blocks - (state.written.get(stream.stream)?.blocks ?? 0));
  const newBytes = sum(chosen, (stream) => stream.bytes - (state.written.get(stream.stream)?.bytes ?? 0));
  const atRiskMs = sum(chosen, (stream) => stream.workMs - (state.written.get(stream.stream)?.workMs ?? 0));
  const writeMs = fixedWriteMs + newBytes / (state.bytesPerMs ?? assumedBytesPerMs[place]);
  const why = whyNow(cadence, { chosen, newBlocks, newBytes, atRiskMs, writeMs, sinceMs: nowMs - state.lastAtMs });
  if (why === undefined) return undefined;
  return { place, streams: chosen.map((stream) => stream.stream), why, newBlocks, newBytes, atRiskMs, writeMs };
}

interface Measures {
  chosen: readonly StreamToKeep[];
  newBlocks: number;
  newBytes: number;
  atRiskMs: number;
  writeMs: number;
  sinceMs: number;
}

function whyNow(cadence: Exclude<Cadence, 'never'>, m: Measures): string | undefined {
  const names = m.chosen.map((stream) => stream.stream).join(', ');
  if (cadence === 'stage') return `${names} ${m.chosen.length === 1 ? 'is' : 'are'} whole`;
  if (cadence === 'auto') {
    if (m.atRiskMs <= m.writeMs) return undefined;
    return `doing ${names} again would take ${ms(m.atRiskMs)}, writing ${String(m.newBytes)} bytes about ${ms(m.writeMs)}`;
  }
  if ('blocks' in cadence) {
    if (m.newBlocks < cadence.blocks) return undefined;
    return `${String(m.newBlocks)} blocks are new, a checkpoint is due every ${String(cadence.blocks)}`;
  }
  if (m.sinceMs < cadence.everyMs) return undefined;
  return `the last checkpoint was begun ${ms(m.sinceMs)} ago, one is due every ${ms(cadence.everyMs)}`;
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
