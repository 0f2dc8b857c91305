/**
 * The input of a manifest, split and submitted under keys that stay the same: done again after a crash, it adds nothing.
 *
 * Invariants
 *  1. A key names one source: what was submitted under it with another one (the input was edited, a file has changed) stays, and the new
 *     one gets a key of its own, `<key>~<digest of the source>`.
 *  2. A shard from an earlier life of the pipeline (its resource went without the finalizer, and was created again) is run again.
 */
import { createHash } from 'node:crypto';
import { inputStream } from '../contracts/block.js';
import { limits } from '../contracts/limits.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Submission } from '../contracts/shard.js';
import { resolveParameters } from '../config/parameters.js';
import { canonicalJson } from '../line/lineage.js';
import type { Desk, SplitInput } from './desk.js';

/** Submissions of one durable transaction. */
const batchShards = Math.min(1_000, limits.submitBatchMax);

export interface SubmitOptions {
  desk: Pick<Desk, 'submit' | 'get' | 'resumeFrom'>;
  split: SplitInput;
  /** Wall time, ISO 8601: what ended before it is of an earlier life. */
  since: string;
  signal: AbortSignal;
}

/** How many shards the input has. Throws PDL_SOURCE_*, PDL_PARAMETER_INVALID, PDL_QUEUE_FULL. */
export async function submitInput(pipeline: Pipeline, { desk, split, since, signal }: SubmitOptions): Promise<number> {
  const parameters = resolveParameters(pipeline.spec.parameters, {}, 'spec.parameters');
  let submitted = 0;
  let batch: Submission[] = [];
  const send = async (batchOf: readonly Submission[]): Promise<void> => {
    const others: Submission[] = [];
    for (const [index, answer] of (await desk.submit(pipeline.name, batchOf)).entries()) {
      const submission = batchOf[index];
      if (answer.outcome === 'rejected') throw PodlineError.fromWire(answer.error);
      if (answer.outcome === 'accepted' || submission === undefined) continue;
      const there = await desk.get(answer.id);
      if (!isSame(submission, there)) others.push({ ...submission, key: `${submission.key}~${digestOf(submission)}` });
      else if (there.endedAt !== undefined && Date.parse(there.endedAt) < Date.parse(since))
        await desk.resumeFrom(answer.id, inputStream);
    }
    if (others.length > 0) await send(others);
  };
  for await (const { key, source } of split(pipeline.spec.input, { baseDir: pipeline.baseDir, signal })) {
    batch.push({ key, source, parameters, priority: 5 });
    if (batch.length < batchShards) continue;
    await send(batch);
    submitted += batch.length;
    batch = [];
  }
  if (batch.length > 0) await send(batch);
  return submitted + batch.length;
}

type Content = Pick<Submission, 'source' | 'parameters'>;
const contentOf = ({ source, parameters }: Content): string => canonicalJson(JSON.parse(JSON.stringify({ source, parameters })));
const isSame = (one: Content, other: Content): boolean => contentOf(one) === contentOf(other);
const digestOf = (submission: Content): string => createHash('sha256').update(contentOf(submission)).digest('hex').slice(0, 8);
