/**
 * What stands before every request: who it comes from, how often, and what is written down of it.
 *
 * Invariants
 *  1. Nothing but `openPaths` is answered without a token that is known.
 *  2. Of every call that changes something, and of every one that was refused, the audit log has one line: who, what, the
 *     outcome. Leases and heartbeats of lines are not in it: there are thousands a second, and the event log has what came of them.
 *  3. A token is never logged.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Caller, Gate } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import { Rates } from '../access/rate.js';
import type { Logger } from '../platform/logger.js';
import type { ServerBounds } from './bounds.js';
import { HttpProblem } from './problem.js';

export interface GuardOptions {
  gate: Gate;
  bounds: ServerBounds;
  audit: Logger;
  /** Monotonic. */
  nowMs: () => number;
}

/** The same for everybody, and without anything of a pipeline. */
export const openPaths: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/v1/openapi.json', '/v1/docs']);
const unlogged = /^\/v1\/lines\/[^/]+\/(leases|heartbeat)$/;

const callers = new WeakMap<FastifyRequest, Caller>();

/** Who the request comes from. Only behind the guard, and not for open paths. */
export function callerOf(request: FastifyRequest): Caller {
  const caller = callers.get(request);
  if (caller === undefined) throw new PodlineError('PDL_INTERNAL', `${request.method} ${request.url} came past the guard`);
  return caller;
}

/** The token of a request, which lasts longer than one look at it: asked again while a stream is open. */
export const tokenOf = (request: FastifyRequest): string | undefined =>
  /^Bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? '')?.[1];

const pathOf = (url: string): string => url.split('?', 1)[0] ?? url;

export function guard(app: FastifyInstance, { gate, bounds, audit, nowMs }: GuardOptions): void {
  const rates = new Rates(nowMs, bounds.burstMs, bounds.callersMax);

  app.addHook('onRequest', async (request) => {
    if (openPaths.has(pathOf(request.url))) return;
    const token = tokenOf(request);
    if (token === undefined) throw new PodlineError('PDL_UNAUTHORIZED', 'there is no bearer token');
    const found = gate.identify(token);
    // Awaited only where there is something to wait for: most calls are those of lines.
    const caller = found instanceof Promise ? await found : found;
    if (caller === undefined) {
      const waitMs = rates.take(`refused ${request.ip}`, bounds.ratePerSecond);
      if (waitMs > 0) throw limited('this address', waitMs);
      throw new PodlineError('PDL_UNAUTHORIZED', 'the bearer token is not known, or not any more');
    }
    callers.set(request, caller);
    if (caller.kind === 'line') return;
    const waitMs = rates.take(caller.name, caller.ratePerSecond ?? bounds.ratePerSecond);
    if (waitMs > 0) throw limited(caller.name, waitMs);
  });

  app.addHook('onResponse', async (request, reply) => {
    const { method, url, ip } = request;
    const path = pathOf(url);
    const { statusCode: status } = reply;
    const refused = status === 401 || status === 403 || status === 429;
    if ((method === 'GET' || method === 'HEAD' || unlogged.test(path)) && !refused) return;
    const outcome = status < 400 ? 'done' : refused ? 'refused' : 'failed';
    audit.info(
      {
        audit: true,
        who: callers.get(request)?.name ?? 'unknown',
        from: ip,
        method,
        path,
        status,
        outcome,
        ...auditNotes.get(request),
      },
      'a call',
    );
  });
}

const auditNotes = new WeakMap<FastifyRequest, Record<string, unknown>>();

/** What the audit log says of this request besides. */
export function note(request: FastifyRequest, fields: Record<string, unknown>): void {
  auditNotes.set(request, { ...auditNotes.get(request), ...fields });
}

const limited = (who: string, waitMs: number): PodlineError =>
  new HttpProblem('PDL_RATE_LIMITED', `${who} asks too often`, {
    headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) },
  });
