/** Which notices an event calls for, and when one is tried again. Pure. */
import type { PodlineEvent } from '../contracts/events.js';
import type { Pipeline } from '../contracts/manifest.js';
import { traceIn, type TraceContext } from '../contracts/trace.js';
import { backoffMs } from '../line/backoff.js';

export interface Notice {
  /** The same however often it is sent: by it the taker knows what it has already. */
  id: string;
  url: string;
  body: string;
  /** Of the shard; sent in the headers. */
  trace?: TraceContext | undefined;
}

const endings = { 'shard.completed': 'completed', 'shard.failed': 'failed', 'shard.cancelled': 'cancelled' } as const;

/** One for each webhook of the pipeline that asks for this ending, and one for the callback of the shard; none twice to one address. */
export function noticesOf(event: PodlineEvent, pipeline: Pick<Pipeline, 'spec'> | undefined): Notice[] {
  const ending = event.type in endings ? endings[event.type as keyof typeof endings] : undefined;
  if (ending === undefined || event.shardId === undefined) return [];
  const { id, type, at, shardId, line } = event;
  const { callback, ...data } = event.data;
  const body = JSON.stringify({
    type,
    timestamp: at,
    data: { eventId: id, pipeline: event.pipeline, shardId, state: ending, line, ...data },
  });
  // A pipeline that was deleted has none any more, and one of an older Podline, from the journal, no such list.
  const webhooks = (pipeline?.spec as Partial<Pipeline['spec']> | undefined)?.webhooks ?? [];
  const urls = new Set(webhooks.flatMap(({ url, on }) => (on.includes(ending) ? [url] : [])));
  if (typeof callback === 'string') urls.add(callback);
  const trace = traceIn(data);
  return Array.from(urls, (url) => ({ id: `${shardId}.${String(id)}`, url, body, trace }));
}

const pauses = { initialMs: 1_000, factor: 2, maxMs: 10 * 60_000 };

/** After try number `tries`; `random` in [0, 1). */
export const pauseMs = (tries: number, random: number): number => backoffMs(pauses, tries) * (0.5 + random / 2);
