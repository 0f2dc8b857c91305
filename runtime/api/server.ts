/**
 * The API over HTTP, on loopback: the table of `routes.ts`, submissions as NDJSON, events as SSE, metrics and health.
 *
 * Invariants
 *  1. Everything but `/healthz` wants the bearer token, compared in constant time.
 *  2. Every error is problem+json with a PDL_ code; what the coordinator threw is what a client throws.
 *  3. Bodies are bounded; streams are read no faster than they are worked off.
 *  4. Leases that could not be handed over, because the line went away, are taken back.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Readable } from 'node:stream';
import { fastify, type FastifyReply, type FastifyRequest } from 'fastify';
import { PodlineError, errorCatalogue, isPodlineError } from '../contracts/errors.js';
import type { PodlineEvent } from '../contracts/events.js';
import { limits } from '../contracts/limits.js';
import type { Coordinator, LeaseAnswer } from '../coordinator/coordinator.js';
import { silentLogger, type Logger } from '../platform/logger.js';
import { handle, parseOrThrow } from './handlers.js';
import { openApiDocument } from './openapi.js';
import { eventsQuerySchema, routes, type RouteName } from './routes.js';
import { ndjsonGroups, answerGroups } from './submit-stream.js';

export interface ApiServerOptions {
  coordinator: Coordinator;
  token: string;
  /** 127.0.0.1 without it. */
  host?: string | undefined;
  /** A free one without it. */
  port?: number | undefined;
  logger?: Logger | undefined;
  /** What `/metrics` answers. */
  metricsText?: (() => Promise<string>) | undefined;
}

export interface ApiServer {
  /** `http://host:port`. */
  readonly url: string;
  /** Ends streams and long polls, then lets go of the port. Idempotent. */
  close(): Promise<void>;
}

const ndjson = 'application/x-ndjson';
/** A comment line this often keeps proxies from cutting a quiet stream off. */
const sseQuietMs = 15_000;

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { coordinator, token } = options;
  const logger = options.logger ?? silentLogger;
  const ending = new AbortController();
  const app = fastify({
    bodyLimit: limits.requestBytesMax,
    logger: false,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 512 },
  });

  const wanted = digest(token);
  app.addHook('onRequest', async (request) => {
    if (request.url === '/healthz') return;
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (!timingSafeEqual(digest(given), wanted))
      throw new PodlineError(
        'PDL_UNAUTHORIZED',
        given === '' ? 'there is no bearer token' : 'the bearer token is not the one of this coordinator',
      );
  });
  app.setErrorHandler((thrown, request, reply) => {
    const error = toPodlineError(thrown);
    if (error.code === 'PDL_INTERNAL')
      logger.error({ url: request.url, err: thrown instanceof Error ? thrown.stack : String(thrown) }, 'a request failed');
    return sendProblem(reply, error);
  });
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      reply,
      new PodlineError('PDL_REQUEST_INVALID', `there is no ${request.method} ${request.url}`, {
        hint: 'The paths are in /v1/openapi.json.',
      }),
      404,
    ),
  );
  app.addContentTypeParser(ndjson, (_request, payload, parsed) => {
    parsed(null, payload);
  });

  for (const name of Object.keys(routes) as RouteName[]) {
    const { method, path } = routes[name];
    app.route({
      method,
      url: path.replaceAll(/\{(\w+)\}/g, ':$1'),
      handler: async (request, reply) => {
        if (name === 'submit' && request.headers['content-type']?.startsWith(ndjson) === true)
          return takeNdjson(coordinator, request, reply);
        const raw = { params: request.params, query: request.query, body: request.body };
        const gone = new AbortController();
        if (name === 'lease') {
          const { line } = request.params as { line: string };
          reply.raw.once('close', () => {
            gone.abort();
          });
          const answer: LeaseAnswer = await handle(coordinator, 'lease', raw, AbortSignal.any([gone.signal, ending.signal]));
          if (answer.leases.length > 0) takeBackUnlessSent(coordinator, line, answer, reply, logger);
          return answer;
        }
        return handle(coordinator, name, raw);
      },
    });
  }

  app.get('/v1/events', async (request, reply) => {
    const query = parseOrThrow(eventsQuerySchema, request.query, 'query');
    const last = Number(request.headers['last-event-id']);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      gone.abort();
    });
    const after =
      Number.isSafeInteger(last) && request.headers['last-event-id'] !== undefined
        ? last
        : (query.after ?? (await coordinator.lastEventId()));
    const events = coordinator.events({
      after,
      pipeline: query.pipeline,
      shardId: query.shard,
      signal: AbortSignal.any([gone.signal, ending.signal]),
    });
    void reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-store')
      .header('x-accel-buffering', 'no');
    return reply.send(Readable.from(sseLines(events), { objectMode: false, highWaterMark: 64 * 1024 }));
  });
  app.get('/v1/openapi.json', async () => openApiDocument());
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/metrics', async (_request, reply) => {
    void reply.type('text/plain; version=0.0.4; charset=utf-8');
    return (await options.metricsText?.()) ?? '';
  });

  await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new PodlineError('PDL_INTERNAL', 'the API listens nowhere');
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  let closed: Promise<void> | undefined;
  return {
    url: `http://${host}:${String(address.port)}`,
    close: () => {
      ending.abort();
      return (closed ??= app.close());
    },
  };
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

async function takeNdjson(coordinator: Coordinator, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { name } = parseOrThrow(routes.submit.params, request.params, 'path');
  const groups = ndjsonGroups(request.body as AsyncIterable<Uint8Array>, limits.submitGroupMax, limits.requestBytesMax);
  const answers = answerGroups(coordinator, name, groups);
  // The first group is awaited, so that an unknown pipeline is an error of the request and not of a line.
  const first = await answers.next();
  const lines = async function* (): AsyncGenerator<string, void, undefined> {
    try {
      if (first.done !== true) yield toNdjson(first.value);
      for await (const group of answers) yield toNdjson(group);
    } catch (thrown) {
      yield toNdjson([{ outcome: 'rejected', error: toPodlineError(thrown).toWire() }]);
    }
  };
  void reply.header('content-type', ndjson);
  return reply.send(Readable.from(lines(), { objectMode: false, highWaterMark: 64 * 1024 }));
}

const toNdjson = (values: readonly unknown[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('');

async function* sseLines(events: AsyncGenerator<PodlineEvent, void, undefined>): AsyncGenerator<string, void, undefined> {
  yield `retry: 1000\n\n`;
  let next = events.next();
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const quiet = new Promise<'quiet'>((resolve) => {
        timer = setTimeout(resolve, sseQuietMs, 'quiet');
        timer.unref();
      });
      const result = await Promise.race([next, quiet]);
      clearTimeout(timer);
      if (result === 'quiet') {
        yield ': still here\n\n';
        continue;
      }
      if (result.done === true) return;
      yield `id: ${String(result.value.id)}\nevent: ${result.value.type}\ndata: ${JSON.stringify(result.value)}\n\n`;
      next = events.next();
    }
  } finally {
    void events.return();
  }
}

function takeBackUnlessSent(
  coordinator: Coordinator,
  line: string,
  answer: LeaseAnswer,
  reply: FastifyReply,
  logger: Logger,
): void {
  let sent = false;
  const giveBack = (): void => {
    if (sent || reply.raw.writableFinished) return;
    sent = true;
    coordinator.takeBack(line, answer.leases).catch((thrown: unknown) => {
      logger.warn({ line, err: String(thrown) }, 'leases could not be taken back; they will run out');
    });
  };
  reply.raw.once('finish', () => {
    sent = true;
  });
  if (reply.raw.destroyed) giveBack();
  else reply.raw.once('close', giveBack);
}

function toPodlineError(thrown: unknown): PodlineError {
  if (isPodlineError(thrown)) return thrown;
  const status = (thrown as { statusCode?: unknown }).statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500) return PodlineError.from(thrown, 'PDL_REQUEST_INVALID');
  return PodlineError.from(thrown);
}

function sendProblem(reply: FastifyReply, error: PodlineError, status: number = errorCatalogue[error.code].status): FastifyReply {
  const { title } = errorCatalogue[error.code];
  if (status === 429) void reply.header('retry-after', '1');
  return reply
    .code(status)
    .type('application/problem+json')
    .send(
      JSON.stringify({
        type: `https://podline.dev/errors/${error.code}`,
        title,
        status,
        detail: error.message,
        ...error.toWire(),
      }),
    );
}
