/** What a slot is told of a run. */
import type { Lineage } from '../../runtime/contracts/block.js';
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { RunRequest } from '../../runtime/contracts/shim-protocol.js';
import { visibleParameters } from '../../runtime/line/lineage.js';
import type { Scratch } from '../../runtime/scratch/types.js';
import type { Resident } from './resident.js';

export function requestOf(
  scratch: Pick<Scratch, 'stream' | 'progress'>,
  { lease }: Pick<Resident, 'lease'>,
  stage: ResolvedStage,
  lineage: Lineage,
  { growing = [], trace, ...run }: Pick<RunRequest, 'runId' | 'attempt' | 'growing' | 'trace'>,
): RunRequest {
  const { shardId, key, epoch, parameters } = lease;
  const left = scratch.stream(shardId, stage.name);
  return {
    ...run,
    ...{ shardId, shardKey: key, epoch, lineage },
    parameters: visibleParameters(stage, parameters),
    inputs: stage.after,
    consumed: left === undefined ? 0 : (scratch.progress(shardId, stage.name)?.consumed ?? 0),
    ...(growing.length === 0 ? {} : { growing }),
    ...(trace === undefined ? {} : { trace }),
  };
}
