/**
 * Takes a shard up again: looks at what scratch, SSD and volume hold, plans (`line/resume.ts`), drops and restores.
 *
 * A checkpoint that proves corrupt while it is restored is left out and the plan is made anew, so that in the end an older
 * one or the source is used. What was restored before stays.
 */
import { addBytes, noBytes } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { ReadingStage } from '../line/live-columns.js';
import { knownStreams, planResume, type Holding, type ResumePlan, type StreamDecision } from '../line/resume.js';
import type { Lineages } from '../line/types.js';
import type { Logger } from '../platform/logger.js';
import type { Scratch } from '../scratch/types.js';
import { heldStream } from './held.js';
import type { Checkpoints, Recovery } from './types.js';

export interface RecoveryRequest {
  shardId: string;
  epoch: number;
  /** Its name. */
  pipeline: string;
  stages: readonly ReadingStage[];
  results: Iterable<string>;
  lineages: Lineages;
  /** Holds the shard already (`putShard`). */
  scratch: Scratch;
  checkpoints: Pick<Checkpoints, 'inventory' | 'restore'>;
  logger: Logger;
  nowMs: () => number;
  resumeFrom?: string | undefined;
}

/** Each corrupt manifest costs a try; places keep at most a hundred manifests each (`checkpoints.retain`). */
const triesMax = 256;

/** Throws PDL_SCRATCH_FULL, PDL_LEASE_LOST; what is torn, corrupt or missing is told in `refused`. */
export async function recover(request: RecoveryRequest): Promise<Recovery> {
  const { shardId, epoch, pipeline, stages, results, scratch, checkpoints, logger, nowMs } = request;
  const startedMs = nowMs();
  const bytes = noBytes();
  const refused = new Set<string>();
  const restored = new Map<string, StreamDecision>();
  for (let tries = 0; tries < triesMax; tries += 1) {
    const held = { scratch: scratchHolding(scratch, shardId), ...(await checkpoints.inventory(pipeline, shardId)) };
    const plan = planResume({ stages, results, wanted: request.lineages, held, resumeFrom: request.resumeFrom });
    for (const { why } of plan.refused) refused.add(why);
    for (const stream of plan.drop) await scratch.dropStream(shardId, stream);
    const wanted = plan.decisions.filter((decision) => decision.action === 'restore');
    try {
      if (wanted.length > 0) addBytes(bytes, (await checkpoints.restore({ shardId, pipeline, scratch, epoch, plan })).bytes);
    } catch (error) {
      if (!(error instanceof PodlineError) || error.code !== 'PDL_CHECKPOINT_CORRUPT') throw error;
      logger.warn({ shardId, err: error.message }, 'a checkpoint is not used');
      refused.add(error.message);
      for (const decision of wanted)
        if (scratch.stream(shardId, decision.stream) !== undefined) restored.set(decision.stream, decision);
      continue;
    }
    const told = asItWent(plan, restored);
    return {
      plan: told,
      known: knownStreams(told),
      resumedFrom: told.resumedFrom,
      refused: [...refused],
      bytes,
      ms: nowMs() - startedMs,
    };
  }
  throw new PodlineError(
    'PDL_CHECKPOINT_CORRUPT',
    `shard ${shardId}: ${String(triesMax)} checkpoints were tried and none could be restored`,
  );
}

/** What the scratch holds of a shard, as a plan wants to know it. */
export function scratchHolding(scratch: Scratch, shardId: string): Holding {
  const streams = scratch
    .streams(shardId)
    .map((record) =>
      heldStream(
        record,
        scratch.blocks(shardId, record.stream),
        scratch.progress(shardId, record.stream)?.consumed,
        record.bytes,
      ),
    );
  return { streams, refused: [] };
}

/** A stream that an earlier try restored was kept by the last plan; the words are those of the restore. */
function asItWent(plan: ResumePlan, restored: ReadonlyMap<string, StreamDecision>): ResumePlan {
  const decisions = plan.decisions.map((decision) =>
    decision.action === 'keep' ? (restored.get(decision.stream) ?? decision) : decision,
  );
  const from = new Set(decisions.flatMap((decision) => (decision.action === 'restore' ? [decision.from] : [])));
  const resumedFrom = from.has('volume') ? 'volume' : from.has('ssd') ? 'ssd' : plan.resumedFrom;
  return { ...plan, decisions, resumedFrom };
}
