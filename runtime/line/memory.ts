/** Memory of the scratch, planned: what a shard will need before it is leased, and which streams go to SSD when it gets tight. */
import { inputStream } from '../contracts/block.js';
import type { InputFormat } from '../contracts/manifest.js';
import { readersOf } from './graph.js';
import type { LineState, ResidentState } from './types.js';

/** Bytes in memory for each byte of the source, by format: compressed columns grow, text shrinks or stays. Until it was observed. */
const growth: Record<InputFormat, number> = { parquet: 8, csv: 1.5, ndjson: 1, arrow: 1, bytes: 1 };
/** What a stage adds to the input, as a part of it, and of how many stages at most it is counted; while nothing was observed. */
const eachStageAdds = 0.25;
const stagesCounted = 6;
const needBytesMin = 1024 * 1024;
/** A shard may turn out larger than those before it. */
const margin = 1.25;

/** What shards of a pipeline needed so far on a line: the largest peak of one's streams, in all and per byte of source. */
export interface ObservedNeed {
  peakBytesMax: number;
  peakPerSourceByteMax: number;
}
export const nothingObserved: ObservedNeed = { peakBytesMax: 0, peakPerSourceByteMax: 0 };

export function observeNeed(before: ObservedNeed, peakBytes: number, sourceBytes: number | undefined): ObservedNeed {
  const perByte = sourceBytes === undefined || sourceBytes <= 0 ? 0 : peakBytes / sourceBytes;
  return {
    peakBytesMax: Math.max(before.peakBytesMax, peakBytes),
    peakPerSourceByteMax: Math.max(before.peakPerSourceByteMax, perByte),
  };
}

export interface ShardSize {
  format: InputFormat;
  /** Of the shard's own part of the source; absent where it cannot be known beforehand. */
  sourceBytes?: number | undefined;
  /** Of how many stages the output is there at once (`outputs-at-once.ts`): columns that nothing reads any more are given back. */
  outputsAtOnce: number;
}

/** Bytes of scratch that a shard is assumed to need. */
export function needOfShard({ format, sourceBytes, outputsAtOnce }: ShardSize, observed: ObservedNeed = nothingObserved): number {
  if (sourceBytes === undefined) return Math.max(needBytesMin, Math.ceil(observed.peakBytesMax * margin));
  const assumed = growth[format] * (1 + Math.min(outputsAtOnce, stagesCounted) * eachStageAdds);
  const perByte = observed.peakPerSourceByteMax > 0 ? observed.peakPerSourceByteMax * margin : assumed;
  return Math.max(needBytesMin, Math.ceil(sourceBytes * perByte));
}

/** A stream in memory. */
export interface SpillableStream {
  shardId: string;
  stream: string;
  bytes: number;
  sealed: boolean;
  /** A stage that runs reads or writes it. */
  inUse: boolean;
  /** The greater, the later it is read; `nextReadOf` says it. */
  nextUse: number;
}

/**
 * Streams to move to SSD so that `neededBytes` become free: none that is in use; those first that are read last, and among them the
 * largest. All that there are, when they do not suffice.
 */
export function planSpill(streams: readonly SpillableStream[], neededBytes: number): SpillableStream[] {
  const candidates = streams
    .filter((stream) => stream.sealed && !stream.inUse && stream.bytes > 0)
    .sort((a, b) => b.nextUse - a.nextUse || b.bytes - a.bytes);
  const spilled: SpillableStream[] = [];
  let freedBytes = 0;
  for (const stream of candidates) {
    if (freedBytes >= neededBytes) break;
    spilled.push(stream);
    freedBytes += stream.bytes;
  }
  return spilled;
}

/** When a stream is read next: 0 while a running stage reads it, 1 when one is ready to, more the later; infinite when none will. */
export function nextReadOf(state: LineState, shardId: string, stream: string): number {
  const resident = state.residents.get(shardId);
  if (resident === undefined || resident.phase === 'queued') return Infinity;
  if (resident.phase === 'loading') return stream === inputStream ? 0 : 1;
  let next = Infinity;
  for (const reader of readersOf(state.graph, stream)) next = Math.min(next, stagesBefore(state, resident, reader));
  return next;
}

/** Stages that begin before this one; infinite when it is done. */
function stagesBefore(state: LineState, resident: ResidentState, stage: string): number {
  const at = resident.stages.get(stage);
  if (at === undefined || at.phase === 'done') return Infinity;
  if (at.phase === 'running') return 0;
  if (at.phase === 'ready') return 1;
  const before = (state.graph.stages.get(stage)?.after ?? [])
    .map((stream) => stagesBefore(state, resident, stream))
    .filter((count) => count !== Infinity);
  return 1 + Math.max(0, ...before);
}
