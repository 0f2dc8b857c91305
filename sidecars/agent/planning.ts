/** What the heart is told about a line and a shard when it starts with them: sizes read from the manifest and the source. */
import { stat } from 'node:fs/promises';
import type { Lease } from '../../runtime/contracts/line-api.js';
import type { Pipeline } from '../../runtime/contracts/manifest.js';
import { scratchHolding } from '../../runtime/checkpoints/recovery.js';
import { parseQuantity } from '../../runtime/config/units.js';
import { residentsOf } from '../../runtime/line/concurrency.js';
import { needOfShard, type ObservedNeed } from '../../runtime/line/memory.js';
import { isSomethingGone } from '../../runtime/line/resume.js';
import type { KnownStream, LineConfig } from '../../runtime/line/types.js';
import type { Scratch } from '../../runtime/scratch/types.js';
import type { Resident } from './resident.js';

/** Between tries of a stage on one shard; the shard's own retries back off by the manifest's `retries.backoff`. */
const stageBackoff = { initialMs: 100, factor: 2, maxMs: 5_000 };

export function lineConfig(pipeline: Pipeline, slots: number, cores: number): LineConfig {
  return {
    slots,
    cores,
    residentsMax: residentsOf(pipeline.spec.residents, pipeline.stages.length, slots),
    stageBackoff,
    scratchBytesMax: parseQuantity(pipeline.spec.scratch.size),
    swapGraceMs: pipeline.spec.swap.gracePeriodSeconds * 1000,
  };
}

/** Bytes of scratch that a shard is expected to need. */
export async function needBytesOf(lease: Lease, outputsAtOnce: number, observed: ObservedNeed): Promise<number> {
  return needOfShard({ format: lease.source.format, sourceBytes: await sourceBytesOf(lease), outputsAtOnce }, observed);
}

/** Of the shard's own part of its source; undefined where that cannot be known beforehand. */
export async function sourceBytesOf({ source }: Lease): Promise<number | undefined> {
  if (!('uri' in source)) return undefined;
  if (source.bytes !== undefined) return source.bytes[1] - source.bytes[0];
  // A range of rows may be any part of the file.
  if (source.rows !== undefined) return undefined;
  try {
    return (await stat(source.uri)).size;
  } catch {
    return undefined;
  }
}

/** The streams of a shard that stand under the revision that it was given last, and whether they have all columns that are needed now. */
export function standingStreams(scratch: Scratch, resident: Resident): { streams: KnownStream[]; isComplete: boolean } {
  const standing = scratchHolding(scratch, resident.lease.shardId).streams.filter(
    ({ stream, lineage }) => lineage.digest === resident.lineages.get(stream)?.digest,
  );
  return {
    streams: standing.map(({ stream, sealed }) => ({ stream, sealed })),
    isComplete: !isSomethingGone({ stages: resident.pipeline.stages, results: resident.wanted }, standing),
  };
}
