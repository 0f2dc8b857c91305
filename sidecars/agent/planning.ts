/** What the heart is told about a line and a shard when it starts with them: sizes read from the manifest and the source. */
import { stat } from 'node:fs/promises';
import type { Lease } from '../../runtime/contracts/line-api.js';
import type { Pipeline } from '../../runtime/contracts/manifest.js';
import { parseQuantity } from '../../runtime/config/units.js';
import { residentsOf } from '../../runtime/line/concurrency.js';
import { needOfShard } from '../../runtime/line/memory.js';
import type { LineConfig } from '../../runtime/line/types.js';

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

/** Bytes of scratch that a shard is expected to need; 0 where nothing is known of its source. */
export async function needBytesOf(lease: Lease, pipeline: Pipeline): Promise<number> {
  const { source } = lease;
  if (!('uri' in source)) return 0;
  const format = source.format;
  if (source.bytes !== undefined) return needOfShard({ sourceBytes: source.bytes[1] - source.bytes[0], format, stages: pipeline.stages.length });
  try {
    const { size } = await stat(source.uri);
    return needOfShard({ sourceBytes: size, format, stages: pipeline.stages.length });
  } catch {
    return 0;
  }
}
