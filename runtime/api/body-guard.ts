/** Bodies: only as they are (no compression to unpack), in time, and not nested without end. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PodlineError } from '../contracts/errors.js';
import { systemClock } from '../platform/clock.js';
import { nestsDeeperThan, type ServerBounds } from './bounds.js';
import { Deadlines } from './deadlines.js';
import { HttpProblem, sendProblem } from './problem.js';

/** Smaller bodies cannot nest deep enough to harm. */
export const nestingLooksFromBytes = 1_024;

export function guardBodies(app: FastifyInstance, bounds: ServerBounds, ndjson: string): void {
  const awaited = new Deadlines<FastifyReply>(systemClock, bounds.bodyTimeoutMs, (reply) => {
    if (reply.sent || reply.raw.headersSent) return;
    void reply.header('connection', 'close');
    reply.raw.once('close', () => reply.request.raw.destroy());
    sendProblem(reply, new PodlineError('PDL_TOO_SLOW', `the body was not there after ${String(bounds.bodyTimeoutMs)} ms`));
  });
  app.addHook('preParsing', (request, reply, payload, done) => {
    const encoding = request.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity')
      throw new HttpProblem(
        'PDL_MEDIA_TYPE',
        `a body with content-encoding ${encoding} is not taken`,
        {},
        'Send it uncompressed.',
      );
    if (request.headers['content-type']?.startsWith(ndjson) !== true && hasBody(request)) {
      awaited.add(reply);
      const isThere = (): void => {
        awaited.remove(reply);
      };
      payload.once('end', isThere).once('close', isThere);
    }
    done(null, payload);
  });
  app.addHook('preValidation', (request, _reply, done) => {
    const { body, headers } = request;
    const isSmall = Number(headers['content-length'] ?? Number.POSITIVE_INFINITY) < nestingLooksFromBytes;
    if (!isSmall && typeof body === 'object' && body !== null && !('pipe' in body) && nestsDeeperThan(body, bounds.nestingMax))
      throw tooDeep('the body', bounds.nestingMax);
    done();
  });
  app.addHook('onClose', (_app, done) => {
    awaited.close();
    done();
  });
}

/** Of one without, nobody reads to the end: an event stream lasts as long as it lasts. */
const hasBody = ({ headers }: FastifyRequest): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

export const tooDeep = (what: string, nestingMax: number): PodlineError =>
  new PodlineError('PDL_REQUEST_INVALID', `${what} is nested deeper than ${String(nestingMax)}`, {
    hint: 'Give data of such a shape by address.',
  });
