/** The end of a shard → the completion that is published. Pure. */
import type { Completion } from '../contracts/connectors.js';
import { errorCatalogue, type ErrorCode } from '../contracts/errors.js';
import type { PodlineEvent } from '../contracts/events.js';
import type { Shard } from '../contracts/shard.js';
import { traceIn } from '../contracts/trace.js';

const outcomes = { 'shard.completed': 'completed', 'shard.failed': 'failed', 'shard.cancelled': 'cancelled' } as const;
export type EndEvent = PodlineEvent & { type: keyof typeof outcomes; shardId: string };

export const isEnd = (event: PodlineEvent): event is EndEvent => event.type in outcomes && event.shardId !== undefined;

/** An end has one id, whether it is told from its event or from its shard. */
const idOf = (shardId: string, at: string): string => `${shardId}@${at}`;

/** The key, if the event has not got it, is the shard's. */
export function completionOf(event: EndEvent, key: string): Completion {
  const { data, shardId, at, pipeline } = event;
  const outcome = outcomes[event.type];
  const { dir, files, hash, code, message, place } = data;
  const trace = traceIn(data);
  return {
    id: idOf(shardId, at),
    task: pipeline,
    key,
    shardId,
    outcome,
    at,
    ...(outcome === 'completed' && typeof dir === 'string' ? { resultDir: dir } : {}),
    ...(typeof files === 'number' ? { files } : {}),
    ...(typeof hash === 'string' ? { hash } : {}),
    ...(outcome === 'failed' && isCode(code)
      ? { error: { code, message: String(message), ...(typeof place === 'string' ? { place } : {}) } }
      : {}),
    ...(trace === undefined ? {} : { trace }),
  };
}

/** `undefined` while it has not ended. */
export function completionOfShard(shard: Shard): Completion | undefined {
  const { id, pipeline, key, state, endedAt, result, error, trace } = shard;
  if (state === 'pending' || state === 'running' || endedAt === undefined) return undefined;
  return {
    id: idOf(id, endedAt),
    task: pipeline,
    key,
    shardId: id,
    outcome: state,
    at: endedAt,
    ...(result === undefined || state !== 'completed'
      ? {}
      : { resultDir: result.dir, files: result.files.length, hash: result.hash }),
    ...(error === undefined || state !== 'failed'
      ? {}
      : { error: { code: error.code, message: error.message, ...(error.place === undefined ? {} : { place: error.place }) } }),
    ...(trace === undefined ? {} : { trace }),
  };
}

const isCode = (code: unknown): code is ErrorCode => typeof code === 'string' && code in errorCatalogue;
