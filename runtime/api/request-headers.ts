/** Headers that stand for fields of a submission which names none: `Idempotency-Key` for its key, `traceparent` for its trace. */
import type { FastifyRequest } from 'fastify';
import { PodlineError } from '../contracts/errors.js';
import { traceOf, type TraceContext } from '../contracts/trace.js';
import type { RawRequest } from './authorize.js';
import type { RouteName } from './routes.js';

export const traceOfRequest = ({ headers }: FastifyRequest): TraceContext | undefined =>
  traceOf(headers['traceparent'], headers['tracestate']);

/** What the route's schemas are to check. Throws PDL_REQUEST_INVALID where Idempotency-Key is none. */
export function rawOf(name: RouteName, request: FastifyRequest): RawRequest {
  const { params, query, body } = request;
  if (name !== 'submit' && name !== 'request' && name !== 'submitAll') return { params, query, body };
  const trace = traceOfRequest(request);
  if (name !== 'submitAll') {
    const key = idempotencyKey(request);
    return { params, query, body: isPlain(body) ? { ...given({ key, trace }), ...body } : body };
  }
  if (trace === undefined || !isPlain(body) || !Array.isArray(body['submissions'])) return { params, query, body };
  const submissions = body['submissions'].map((one: unknown) => (isPlain(one) ? { trace, ...one } : one));
  return { params, query, body: { ...body, submissions } };
}

/** What makes a shard one makes a request one, durably. */
function idempotencyKey({ headers }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || key === '' || key.length > 512)
    throw new PodlineError('PDL_REQUEST_INVALID', 'Idempotency-Key has 1 to 512 characters', { place: 'Idempotency-Key' });
  return key;
}

const given = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
