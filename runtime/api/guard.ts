/**
 * What stands before every request: who it comes from, how often, and what is written down of it.
 *
 * Invariants
 *  1. Nothing but `openPaths` is answered without a token that is known.
 *  2. Of every call that changes something, and of every one that was refused, the audit log has one line: who, what, the
 *     outcome. Leases, heartbeats and completions of lines are not in it: there are thousands a second, and the event log has what
 *     came of them.
 *  3. A token is never logged.
 *  4. What is done for every request costs no promise and no timer of its own where there is nothing to wait for.
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
const unlogged = /^\/v1\/lines\/[^/]+\/(leases|heartbeat|complete)$/;

declare module 'fastify' {
  interface FastifyRequest {
    /** The guard's own; `callerOf` and `note` are for the others. */
    guarded: { caller: Caller; notes?: Record<string, unknown> | undefined } | undefined;
  }
}

/** Who the request comes from. Only behind the guard, and not for open paths. */
export function callerOf(request: FastifyRequest): Caller {
  return guardedOf(request).caller;
}

/** What the audit log says of this request besides. */
export function note(request: FastifyRequest, fields: Record<string, unknown>): void {
  const guarded = guardedOf(request);
  guarded.notes = { ...guarded.notes, ...fields };
}

function guardedOf({ guarded, method, url }: FastifyRequest): NonNullable<FastifyRequest['guarded']> {
  if (guarded === undefined) throw new PodlineError('PDL_INTERNAL', `${method} ${url} came past the guard`);
  return guarded;
}

/** The token of a request, which lasts longer than one look at it: asked again while a stream is open. */
export const tokenOf = (request: FastifyRequest): string | undefined =>
  /^Bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? '')?.[1];

function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

export function guard(app: FastifyInstance, { gate, bounds, audit, nowMs }: GuardOptions): void {
  const rates = new Rates(nowMs, bounds.burstMs, bounds.callersMax);
  app.decorateRequest('guarded', undefined);

  /** Throws what the request is refused with. */
  const admit = (request: FastifyRequest, caller: Caller | undefined): void => {
    if (caller === undefined) {
      const waitMs = rates.take(`refused ${request.ip}`, bounds.ratePerSecond);
      if (waitMs > 0) throw limited('this address', waitMs);
      throw new PodlineError('PDL_UNAUTHORIZED', 'the bearer token is not known, or not any more');
    }
    request.guarded = { caller };
    if (caller.kind === 'line') return;
    const waitMs = rates.take(caller.name, caller.ratePerSecond ?? bounds.ratePerSecond);
    if (waitMs > 0) throw limited(caller.name, waitMs);
  };

  app.addHook('onRequest', (request, _reply, done) => {
    if (openPaths.has(pathOf(request.url))) return done();
    const token = tokenOf(request);
    if (token === undefined) throw new PodlineError('PDL_UNAUTHORIZED', 'there is no bearer token');
    const found = gate.identify(token);
    if (found instanceof Promise) {
      found
        .then((caller) => {
          admit(request, caller);
        })
        .then(() => {
          done();
        }, done);
      return;
    }
    admit(request, found);
    done();
  });

  app.addHook('onResponse', (request, { statusCode: status }, done) => {
    const { method, ip, guarded } = request;
    const path = pathOf(request.url);
    const refused = status === 401 || status === 403 || status === 429;
    if (refused || !(method === 'GET' || method === 'HEAD' || unlogged.test(path))) {
      const outcome = status < 400 ? 'done' : refused ? 'refused' : 'failed';
      const who = guarded?.caller.name ?? 'unknown';
      audit.info({ audit: true, who, from: ip, method, path, status, outcome, ...guarded?.notes }, 'a call');
    }
    done();
  });
}

const limited = (who: string, waitMs: number): PodlineError =>
  new HttpProblem('PDL_RATE_LIMITED', `${who} asks too often`, {
    headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) },
  });
