/** Which notices an event calls for, and when one is tried again. Pure. */
import type { PodlineEvent } from '../contracts/events.js';
import type { Pipeline } from '../contracts/manifest.js';
import { backoffMs } from '../line/backoff.js';

export interface Notice {
  /** The same however often it is sent: by it the taker knows what it has already. */
  id: string;
  url: string;
  body: string;
}

const endings = { 'shard.completed': 'completed', 'shard.failed': 'failed', 'shard.cancelled': 'cancelled' } as const;

/** One for each webhook of the pipeline that asks for this ending. */
export function noticesOf(event: PodlineEvent, pipeline: Pick<Pipeline, 'spec'> | undefined): Notice[] {
  const ending = event.type in endings ? endings[event.type as keyof typeof endings] : undefined;
  if (ending === undefined || event.shardId === undefined || pipeline === undefined) return [];
  const { id, type, at, shardId, line, data } = event;
  const body = JSON.stringify({
    type,
    timestamp: at,
    data: { eventId: id, pipeline: event.pipeline, shardId, state: ending, line, ...data },
  });
  // A pipeline of an older Podline, from the journal, has no such list.
  const webhooks = (pipeline.spec as Partial<Pipeline['spec']>).webhooks ?? [];
  return webhooks.flatMap(({ url, on }) => (on.includes(ending) ? [{ id: `${shardId}.${String(id)}`, url, body }] : []));
}

const pauses = { initialMs: 1_000, factor: 2, maxMs: 10 * 60_000 };

/** After try number `tries`; `random` in [0, 1). */
export const pauseMs = (tries: number, random: number): number => backoffMs(pauses, tries) * (0.5 + random / 2);
