/** Pages of shards through a filter, over a journal that knows pipeline, state and order. */
import type { Shard } from '../contracts/shard.js';
import type { ListRequest, ShardPage } from '../contracts/views.js';
import type { Journal } from '../journal/journal.js';

/** Shards that one call looks at: a filter that fits few of many is answered in several pages, some of them short. */
const lookedAtMax = 10_000;

export async function listShards(journal: Journal, pipeline: string, request: ListRequest, pageMax: number): Promise<ShardPage> {
  const max = Math.min(request.max ?? pageMax, pageMax);
  const fits = filterOf(request);
  const shards: Shard[] = [];
  let { cursor } = request;
  let lookedAt = 0;
  for (;;) {
    // Never more than are missing: where a page ends is where the next one begins.
    const page = await journal.list({
      pipeline,
      max: max - shards.length,
      ...(request.state === undefined ? {} : { state: request.state }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    shards.push(...(fits === undefined ? page.shards : page.shards.filter(fits)));
    lookedAt += page.shards.length;
    cursor = page.next;
    if (cursor === undefined) return { shards };
    if (shards.length >= max || lookedAt >= lookedAtMax) return { shards, next: cursor };
  }
}

function filterOf({ keyPrefix, code, line, submittedFrom, submittedTo }: ListRequest): ((shard: Shard) => boolean) | undefined {
  const [fromMs, toMs] = [submittedFrom, submittedTo].map((at) => (at === undefined ? undefined : Date.parse(at)));
  if ([keyPrefix, code, line, fromMs, toMs].every((part) => part === undefined)) return undefined;
  return (shard) =>
    (keyPrefix === undefined || shard.key.startsWith(keyPrefix)) &&
    (code === undefined || shard.error?.code === code) &&
    (line === undefined || shard.line === line) &&
    (fromMs === undefined || Date.parse(shard.submittedAt) >= fromMs) &&
    (toMs === undefined || Date.parse(shard.submittedAt) < toMs);
}
