/**
 * The API over HTTP: the table of `routes.ts`, streams (`streams.ts`), the document and its page, health and metrics.
 *
 * Invariants
 *  1. What `guard.ts` says of tokens, rates and the audit log holds for every path.
 *  2. Every error is problem+json with a PDL_ code; what the coordinator threw is what a client throws.
 *  3. Bodies, heads, connections and streams are bounded (`bounds.ts`); streams are read no faster than they are worked off.
 *  4. Leases that could not be handed over, because the line went away, are taken back.
 */
import { METHODS } from 'node:http';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { operatorGate } from '../access/tokens.js';
import type { Gate } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import type { ApiAnswer } from '../contracts/telemetry.js';
import type { Coordinator, LeaseAnswer } from '../coordinator/coordinator.js';
import { silentLogger, type Logger } from '../platform/logger.js';
import { authorize, readable, requireScope, type RawRequest } from './authorize.js';
import { guardBodies } from './body-guard.js';
import { defaultBounds, type ServerBounds } from './bounds.js';
import { boundConnections } from './connections.js';
import { docsPage } from './docs-page.js';
import { etagOf, requireRevision } from './etags.js';
import { callerOf, guard, note } from './guard.js';
import { handle, parseOrThrow } from './handlers.js';
import { openApiDocument } from './openapi.js';
import { HttpProblem, endWithProblem, sendProblem, toPodlineError } from './problem.js';
import { rawOf } from './request-headers.js';
import { routes, type RouteName } from './routes.js';
import { Submissions, matches, ndjson, serveEvents, serveResultFiles } from './streams.js';

export interface ApiServerOptions {
  coordinator: Coordinator;
  /** One token that may do everything; or a gate. */
  token?: string | undefined;
  gate?: Gate | undefined;
  /** 127.0.0.1 without it. */
  host?: string | undefined;
  /** A free one without it. */
  port?: number | undefined;
  tls?: TlsPair | undefined;
  logger?: Logger | undefined;
  /** What `/metrics` answers. */
  metricsText?: (() => Promise<string>) | undefined;
  /** Told of each request when it has been answered. */
  onAnswer?: ((answer: ApiAnswer) => void) | undefined;
  /** Why it does not take requests now; undefined: it does. */
  whyNotReady?: (() => Promise<string | undefined>) | undefined;
  bounds?: Partial<ServerBounds> | undefined;
}

/** PEM. */
export interface TlsPair {
  cert: string;
  key: string;
}

export interface ApiServer {
  /** `http(s)://host:port`. */
  readonly url: string;
  /** For connections from now on. Throws where it does not begin with TLS, or the pair is none. */
  renewTls(pair: TlsPair): void;
  /** Ends streams and long polls, then lets go of the port. Idempotent. */
  close(): Promise<void>;
}

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { coordinator } = options;
  const logger = options.logger ?? silentLogger;
  const bounds: ServerBounds = { ...defaultBounds, ...options.bounds };
  const gate = options.gate ?? operatorGate(options.token ?? never('a server without a token or a gate'));
  const ending = new AbortController();
  const app = makeApp(options.tls, bounds, logger);
  boundConnections(app.server, bounds.connectionsMax);
  guard(app, { gate, bounds, audit: logger, nowMs: () => performance.now() });
  guardBodies(app, bounds, ndjson);
  app.removeContentTypeParser('text/plain');
  app.addContentTypeParser(ndjson, (_request, payload, parsed) => {
    parsed(null, payload);
  });

  const { onAnswer } = options;
  if (onAnswer !== undefined)
    app.addHook('onResponse', ({ routeOptions }, { statusCode: status, elapsedTime: ms }, done) => {
      onAnswer({ route: routeOptions.url ?? 'other', status, ms });
      done();
    });

  const parts = { coordinator, gate, bounds, ending: ending.signal };
  const submissions = new Submissions(parts);
  let applying: Promise<unknown> = Promise.resolve();
  const answer = async (name: RouteName, request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const raw = rawOf(name, request);
    await authorize(callerOf(request), coordinator, name, raw);
    if (name === 'submit' && isNdjson(request)) return submissions.take(request, reply);
    if (name === 'lease') return leaseTo(coordinator, raw, reply, ending.signal, logger);
    if (name === 'applyPipeline') {
      parseOrThrow(routes.applyPipeline.body, raw.body, 'body');
      // One after another, so that nothing comes between the look at the revision and the change.
      const applied = applying.then(async () => {
        await requireRevision(coordinator, request.headers, raw.params);
        return handle(coordinator, 'applyPipeline', raw);
      });
      applying = applied.catch(() => undefined);
      return applied;
    }
    const result: unknown = await handle(coordinator, name, raw);
    if (name === 'complete') handOver(coordinator, raw, (result as Partial<LeaseAnswer>).leases ?? [], reply, logger);
    if (name === 'replay') note(request, { replayed: (result as { replayed: string[] }).replayed.length });
    if (name === 'pipelines')
      return { pipelines: await readable(callerOf(request), (result as Listed).pipelines, (view) => view.name) };
    if (name === 'lines') return { lines: await readable(callerOf(request), (result as Listed).lines, (view) => view.pipeline) };
    const etag = etagOf(name, result);
    if (etag === undefined) return result;
    void reply.header('etag', etag);
    // A pipeline's ETag is its revision, for If-Match; its counts change without it.
    return name !== 'pipeline' && matches(request.headers['if-none-match'], etag) ? reply.code(304).send() : result;
  };
  for (const name of Object.keys(routes) as RouteName[]) {
    const { method, path } = routes[name];
    app.route({ method, url: path.replaceAll(/\{(\w+)\}/g, ':$1'), handler: (request, reply) => answer(name, request, reply) });
  }
  serveEvents(app, parts);
  serveResultFiles(app, parts);
  serveSelf(app, options);
  refuseOtherMethods(app);

  await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new PodlineError('PDL_INTERNAL', 'the API listens nowhere');
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  let closed: Promise<void> | undefined;
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}:${String(address.port)}`,
    renewTls: (pair) => {
      if (!('setSecureContext' in app.server)) throw new PodlineError('PDL_INTERNAL', 'this server has no TLS to renew');
      (app.server as unknown as { setSecureContext(pair: TlsPair): void }).setSecureContext(pair);
    },
    close: () => {
      ending.abort();
      return (closed ??= app.close());
    },
  };
}

interface Listed {
  pipelines: { name: string }[];
  lines: { pipeline: string }[];
}

const never = (what: string): never => {
  throw new PodlineError('PDL_INTERNAL', what);
};

function makeApp(tls: TlsPair | undefined, bounds: ServerBounds, logger: Logger): FastifyInstance {
  const http = {
    maxHeaderSize: bounds.headerBytesMax,
    headersTimeout: bounds.headersTimeoutMs,
    // Of a whole request: a stream of submissions lasts as long as it lasts. Bodies of JSON have a time of their own.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.max(100, bounds.headersTimeoutMs / 4),
  };
  const shared = {
    bodyLimit: bounds.requestBytesMax,
    logger: false,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    connectionTimeout: bounds.silenceMs,
    keepAliveTimeout: bounds.keepAliveMs,
    // Their own schemas bound them, and the head bounds them all.
    routerOptions: { maxParamLength: bounds.headerBytesMax },
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Parameters<typeof endWithProblem>[0]) => {
      // Without a handshake there is nobody to tell.
      if (error.code?.startsWith('ERR_TLS_') === true || error.code?.startsWith('ERR_SSL_') === true) socket.destroy();
      else endWithProblem(socket, problemOfHead(error));
    },
    frameworkErrors: (error: unknown, _request: FastifyRequest, reply: FastifyReply) => {
      void sendProblem(reply, toPodlineError(error));
    },
  };
  const app = (
    tls === undefined
      ? fastify({ ...shared, http })
      : fastify({ ...shared, https: { ...http, ...tls, handshakeTimeout: bounds.headersTimeoutMs } })
  ) as FastifyInstance;
  app.setErrorHandler((thrown, request, reply) => {
    const error = toPodlineError(thrown);
    if (error.code === 'PDL_INTERNAL')
      logger.error(
        { path: request.routeOptions.url, err: thrown instanceof Error ? thrown.stack : String(thrown) },
        'a request failed',
      );
    return sendProblem(reply, error);
  });
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      reply,
      new PodlineError('PDL_PATH_UNKNOWN', `there is no ${request.method} ${request.url.split('?', 1)[0] ?? ''}`),
    ),
  );
  return app;
}

function problemOfHead(error: NodeJS.ErrnoException): PodlineError {
  if (error.code === 'HPE_HEADER_OVERFLOW')
    return new HttpProblem(
      'PDL_TOO_LARGE',
      'the head of the request is too large',
      { status: 431 },
      'Send fewer and shorter headers.',
    );
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new PodlineError('PDL_TOO_SLOW', 'the head of the request was not there in time');
  return new PodlineError('PDL_REQUEST_INVALID', `this is not HTTP: ${error.message}`);
}

const isNdjson = (request: FastifyRequest): boolean => request.headers['content-type']?.startsWith(ndjson) === true;

async function leaseTo(
  coordinator: Coordinator,
  raw: RawRequest,
  reply: FastifyReply,
  ending: AbortSignal,
  logger: Logger,
): Promise<LeaseAnswer> {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    gone.abort();
  });
  const answer = await handle(coordinator, 'lease', raw, AbortSignal.any([gone.signal, ending]));
  handOver(coordinator, raw, answer.leases, reply, logger);
  return answer;
}

/** Takes the leases back unless the answer goes out to its end. */
function handOver(
  coordinator: Coordinator,
  raw: RawRequest,
  leases: LeaseAnswer['leases'],
  reply: FastifyReply,
  logger: Logger,
): void {
  if (leases.length === 0) return;
  const { line } = raw.params as { line: string };
  let sent = false;
  const giveBack = (): void => {
    if (sent || reply.raw.writableFinished) return;
    sent = true;
    coordinator.takeBack(line, leases).catch((thrown: unknown) => {
      logger.warn({ line, err: String(thrown) }, 'leases could not be taken back; they will run out');
    });
  };
  reply.raw.once('finish', () => {
    sent = true;
  });
  if (reply.raw.destroyed) giveBack();
  else reply.raw.once('close', giveBack);
}

/** What the server says of itself. */
function serveSelf(app: FastifyInstance, { metricsText, whyNotReady }: ApiServerOptions): void {
  app.get('/v1/openapi.json', (request, reply) => {
    const document = openApiDocument();
    void reply.header('etag', document.etag);
    if (matches(request.headers['if-none-match'], document.etag)) return reply.code(304).send();
    return reply.type('application/json').send(document.text);
  });
  app.get('/v1/docs', (_request, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', docsPage.policy).send(docsPage.html),
  );
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const why = await whyNotReady?.();
    if (why !== undefined) throw new PodlineError('PDL_UNREACHABLE', why);
    return reply.send({ status: 'ready' });
  });
  app.get('/metrics', async (request, reply) => {
    await requireScope(callerOf(request), { scope: 'read' });
    void reply.type('text/plain; version=0.0.4; charset=utf-8');
    return (await metricsText?.()) ?? '';
  });
}

/** A path that is there, by another method: 405, and which ones there are. */
function refuseOtherMethods(app: FastifyInstance): void {
  const methods = METHODS.filter((method) => method !== 'CONNECT');
  for (const method of methods) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: false });
  const paths = new Set([
    ...Object.values(routes).map(({ path }) => path.replaceAll(/\{(\w+)\}/g, ':$1')),
    ...['/v1/events', '/v1/shards/:id/result/files/:file', '/v1/openapi.json', '/v1/docs', '/healthz', '/readyz', '/metrics'],
  ]);
  for (const url of paths) {
    const allowed = methods.filter((method) => app.hasRoute({ method: method, url }));
    app.route({
      method: methods.filter((method) => !allowed.includes(method)),
      url,
      // Before anything is read: the body is nobody's business.
      onRequest: async (request) => {
        throw new HttpProblem(
          'PDL_PATH_UNKNOWN',
          `there is no ${request.method} here`,
          { status: 405, headers: { allow: allowed.join(', ') } },
          `There is ${allowed.join(' and ')}.`,
        );
      },
      handler: () => undefined,
    });
  }
}
