/** Memory of the scratch, planned: what a shard will need before it is leased, and which streams go to SSD when it gets tight. */
import { inputStream } from '../contracts/block.js';
import type { InputFormat } from '../contracts/manifest.js';
import { readersOf } from './graph.js';
import type { LineState, ResidentState } from './types.js';

/** Bytes in memory for each byte of the source, by format: compressed columns grow, text shrinks or stays. Until it was observed. */
const growth: Record<InputFormat, number> = { parquet: 8, csv: 1.5, ndjson: 1, arrow: 1, bytes: 1 };
/** What the stages add to the input, as a part of it, while nothing was observed. */
const stagesAdd = 1;
const needBytesMin = 1024 * 1024;
/** A shard may turn out larger than those before it. */
const margin = 1.25;

/** What shards of a pipeline needed so far on a line. */
export interface ObservedNeed {
  shards: number;
  /** The largest peak of a shard's streams, and the largest peak per byte of source. */
  peakBytesMax: number;
  peakPerSourceByteMax: number;
}
export const nothingObserved: ObservedNeed = { shards: 0, peakBytesMax: 0, peakPerSourceByteMax: 0 };

export function observeNeed(before: ObservedNeed, peakBytes: number, sourceBytes: number | undefined): ObservedNeed {
  const ratio = sourceBytes === undefined || sourceBytes <= 0 ? 0 : peakBytes / sourceBytes;
  return {
    shards: before.shards + 1,
    peakBytesMax: Math.max(before.peakBytesMax, peakBytes),
    peakPerSourceByteMax: Math.max(before.peakPerSourceByteMax, ratio),
  };
}

export interface SourceSize {
  format: InputFormat;
  /** Of the shard's own part of the source; absent where it cannot be known beforehand. */
  bytes?: number | undefined;
}

/** Bytes of scratch that a shard is assumed to need. */
export function planNeedBytes(source: SourceSize, observed: ObservedNeed = nothingObserved): number {
  if (source.bytes === undefined) return Math.max(needBytesMin, Math.ceil(observed.peakBytesMax * margin));
  const perByte = observed.peakPerSourceByteMax > 0 ? observed.peakPerSourceByteMax * margin : growth[source.format] * (1 + stagesAdd);
  return Math.max(needBytesMin, Math.ceil(source.bytes * perByte));
}

/** A sealed stream in memory. */
export interface SpillableStream {
  shardId: string;
  stream: string;
  bytes: number;
}

/**
 * Streams to move to SSD so that `neededBytes` become free: none that a running stage reads; those first that are read last, and
 * among them the largest. All that there are, when they do not suffice.
 */
export function planSpill(state: LineState, streams: readonly SpillableStream[], neededBytes: number): SpillableStream[] {
  const candidates = streams
    .map((stream) => ({ stream, nextUse: nextReadOf(state, stream) }))
    .filter(({ stream, nextUse }) => nextUse > 0 && stream.bytes > 0)
    .sort((a, b) => b.nextUse - a.nextUse || b.stream.bytes - a.stream.bytes);
  const spilled: SpillableStream[] = [];
  let freedBytes = 0;
  for (const { stream } of candidates) {
    if (freedBytes >= neededBytes) break;
    spilled.push(stream);
    freedBytes += stream.bytes;
  }
  return spilled;
}

/** 0: a running stage reads it; else the more, the later it is read; infinite when no stage will. */
function nextReadOf(state: LineState, { shardId, stream }: SpillableStream): number {
  const resident = state.residents.get(shardId);
  if (resident === undefined || resident.phase === 'queued') return Infinity;
  if (state.slots.some((slot) => slot.phase === 'running' && slot.shardId === shardId && state.graph.stages.get(slot.stage)?.after.includes(stream))) return 0;
  if (resident.phase === 'loading') return stream === inputStream ? 0 : 1;
  let next = Infinity;
  for (const reader of readersOf(state.graph, stream)) next = Math.min(next, stagesBefore(state, resident, reader));
  return next;
}

/** Stages that run before this one begins, itself counted; infinite when it is done. */
function stagesBefore(state: LineState, resident: ResidentState, stage: string): number {
  const at = resident.stages.get(stage);
  if (at === undefined || at.phase === 'done') return Infinity;
  if (at.phase !== 'waiting') return 1;
  const before = (state.graph.stages.get(stage)?.after ?? []).map((stream) => stagesBefore(state, resident, stream)).filter((count) => count !== Infinity);
  return 1 + Math.max(0, ...before);
}
