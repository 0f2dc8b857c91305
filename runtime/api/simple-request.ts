/** A request in simple words → the submission that it is. Pure. */
import { createHash } from 'node:crypto';
import type { Pipeline } from '../contracts/manifest.js';
import type { ShardSource, SimpleRequest, Submission } from '../contracts/shard.js';
import { canonicalJson } from '../line/lineage.js';

/** Without a key, the digest of the request is it: the same request again is the same shard. */
export function toSubmission(request: SimpleRequest, pipeline: Pick<Pipeline, 'spec'>): Submission {
  const { payload, resultDir, parameters, priority, trace, callback } = request;
  const { format } = pipeline.spec.input;
  const source: ShardSource = isAddress(payload) ? { uri: payload.uri, format } : { inline: payload, format };
  return {
    key: request.key ?? digestOf(request),
    source,
    parameters,
    priority,
    ...(resultDir === undefined ? {} : { resultDir }),
    ...(trace === undefined ? {} : { trace }),
    ...(callback === undefined ? {} : { callback }),
  };
}

const isAddress = (payload: SimpleRequest['payload']): payload is { uri: string } =>
  typeof payload === 'object' &&
  !Array.isArray(payload) &&
  typeof payload['uri'] === 'string' &&
  Object.keys(payload).length === 1;

const digestOf = ({ task, payload, resultDir, parameters }: SimpleRequest): string =>
  createHash('sha256')
    .update(canonicalJson([task, payload, resultDir ?? null, parameters]), 'utf8')
    .digest('hex')
    .slice(0, 32);
