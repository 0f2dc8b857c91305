/** Dead letters back into the queue: those that are named, or all that fit. */
import { PodlineError } from '../contracts/errors.js';
import type { Replayed, replaySchema } from '../contracts/shard.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import type { z } from 'zod';

/** Every one by itself: what cannot be replayed (it is of another pipeline, or somebody was faster) does not stop the others. */
export async function replay(
  coordinator: Coordinator,
  pipeline: string,
  { ids, code, keyPrefix, max }: z.output<typeof replaySchema>,
): Promise<Replayed> {
  const chosen =
    ids === undefined
      ? await fitting(coordinator, pipeline, { code, keyPrefix }, max)
      : { ids: ids.slice(0, max), more: ids.length > max };
  const answer: Replayed = { replayed: [], skipped: [], more: chosen.more };
  // Side by side: they share a commit.
  const outcomes = await Promise.all(chosen.ids.map((id) => replayOne(coordinator, pipeline, id)));
  for (const [index, error] of outcomes.entries()) {
    const id = chosen.ids[index] ?? '';
    if (error === undefined) answer.replayed.push(id);
    else answer.skipped.push({ id, error: error.toWire() });
  }
  return answer;
}

async function replayOne(coordinator: Coordinator, pipeline: string, id: string): Promise<PodlineError | undefined> {
  try {
    const shard = await coordinator.get(id);
    if (shard.pipeline !== pipeline) throw new PodlineError('PDL_SHARD_UNKNOWN', `pipeline ${pipeline} has no shard ${id}`);
    if (shard.state !== 'failed')
      throw new PodlineError('PDL_SHARD_STATE', `shard ${id} is ${shard.state}: it is no dead letter`);
    await coordinator.retry(id);
    return undefined;
  } catch (thrown) {
    return PodlineError.from(thrown);
  }
}

async function fitting(
  coordinator: Coordinator,
  pipeline: string,
  filter: { code: string | undefined; keyPrefix: string | undefined },
  max: number,
): Promise<{ ids: string[]; more: boolean }> {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await coordinator.list(pipeline, { ...filter, state: 'failed', max: max - ids.length, cursor });
    ids.push(...page.shards.map(({ id }) => id));
    cursor = page.next;
  } while (cursor !== undefined && ids.length < max);
  return { ids, more: cursor !== undefined };
}
