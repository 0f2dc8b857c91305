/** What does not fit the table of routes because its body is a stream: NDJSON in and out, SSE, files of results. */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Caller, Gate } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { SubmitAnswer } from '../contracts/shard.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import { mayToShard, requireScope } from './authorize.js';
import type { ServerBounds } from './bounds.js';
import { callerOf, note, tokenOf } from './guard.js';
import { parseOrThrow } from './handlers.js';
import { HttpProblem, toPodlineError } from './problem.js';
import { traceOfRequest } from './request-headers.js';
import { openResultFile, parseRange } from './result-files.js';
import { eventsQuerySchema, resultFileParamsSchema, routes } from './routes.js';
import { sseLines } from './sse.js';
import { answerGroups, ndjsonGroups } from './submit-stream.js';

export const ndjson = 'application/x-ndjson';

export interface StreamParts {
  coordinator: Coordinator;
  gate: Gate;
  bounds: ServerBounds;
  /** Aborted when the server ends: streams end with it. */
  ending: AbortSignal;
}

/** Streams of one kind that are open, bounded. */
class OpenStreams {
  #open = 0;

  constructor(
    private readonly kind: string,
    private readonly most: number,
  ) {}

  /** Until the answer ends, however it ends. Throws PDL_QUEUE_FULL. */
  take(reply: FastifyReply): void {
    if (this.#open >= this.most)
      throw new PodlineError('PDL_QUEUE_FULL', `${String(this.most)} streams of ${this.kind} are open already`, {
        hint: 'Wait for one to end, or use one for more.',
      });
    this.#open += 1;
    reply.raw.once('close', () => {
      this.#open -= 1;
    });
  }
}

export class Submissions {
  readonly #open: OpenStreams;

  constructor(private readonly parts: StreamParts) {
    this.#open = new OpenStreams('submissions', parts.bounds.submitStreamsMax);
  }

  /** Throws PDL_QUEUE_FULL when too many are under way. The caller is allowed to submit to the pipeline. */
  async take(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { coordinator, bounds } = this.parts;
    this.#open.take(reply);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      gone.abort();
    });
    const { name } = parseOrThrow(routes.submit.params, request.params, 'path');
    const groups = ndjsonGroups(
      request.body as AsyncIterable<Uint8Array>,
      limits.streamedGroupMax,
      bounds.requestBytesMax,
      bounds.nestingMax,
    );
    const ending = AbortSignal.any([gone.signal, this.parts.ending]);
    const answers = answerGroups(coordinator, name, groups, { trace: traceOfRequest(request), ending });
    // The first group is awaited, so that an unknown pipeline is an error of the request and not of a line.
    const first = await answers.next();
    const count = { accepted: 0, duplicate: 0, rejected: 0 };
    note(request, { answers: count });
    const tell = (group: readonly SubmitAnswer[]): string => {
      for (const { outcome } of group) count[outcome] += 1;
      return toNdjson(group);
    };
    const lines = async function* (): AsyncGenerator<string, void, undefined> {
      try {
        if (first.done !== true) yield tell(first.value);
        for await (const group of answers) yield tell(group);
      } catch (thrown) {
        yield tell([{ outcome: 'rejected', error: toPodlineError(thrown).toWire() }]);
      }
    };
    void reply.header('content-type', ndjson);
    return reply.send(Readable.from(lines(), { objectMode: false, highWaterMark: 64 * 1024 }));
  }
}

function toNdjson(answers: readonly SubmitAnswer[]): string {
  let text = '';
  for (const answer of answers) text += `${JSON.stringify(answer)}\n`;
  return text;
}

export function serveEvents(app: FastifyInstance, { coordinator, gate, bounds, ending }: StreamParts): void {
  const open = new OpenStreams('events', coordinator.limits.eventStreamsMax);
  app.get('/v1/events', async (request, reply) => {
    const query = parseOrThrow(eventsQuerySchema, request.query, 'query');
    const requireRead = (caller: Caller): Promise<void> =>
      query.pipeline === undefined && query.shard !== undefined
        ? mayToShard(caller, coordinator, 'read', query.shard)
        : requireScope(caller, { scope: 'read', pipeline: query.pipeline });
    await requireRead(callerOf(request));
    open.take(reply);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      gone.abort();
    });
    const after = lastEventId(request) ?? query.after ?? (await coordinator.lastEventId());
    const events = coordinator.events({
      after,
      pipeline: query.pipeline,
      shardId: query.shard,
      signal: AbortSignal.any([gone.signal, ending]),
    });
    void reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-store')
      .header('x-accel-buffering', 'no');
    const token = tokenOf(request) ?? '';
    // A token may have ended meanwhile, or may do less.
    const mayGoOn = async (): Promise<boolean> => {
      const caller = await gate.identify(token);
      if (caller === undefined) return false;
      return requireRead(caller).then(
        () => true,
        () => false,
      );
    };
    const lines = sseLines(events, { quietMs: bounds.sseQuietMs, mayGoOn });
    return reply.send(Readable.from(lines, { objectMode: false, highWaterMark: 64 * 1024 }));
  });
}

function lastEventId(request: FastifyRequest): number | undefined {
  const header = request.headers['last-event-id'];
  if (header === undefined || header === '') return undefined;
  const id = typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
  if (id === undefined)
    throw new PodlineError('PDL_REQUEST_INVALID', 'Last-Event-ID is not the id of an event', { place: 'Last-Event-ID' });
  return id;
}

/** What browsers show instead of saving is never HTML: a result is data, whatever a stage has put into it. */
const typesByEnding: Record<string, string> = {
  json: 'application/json',
  ndjson,
  csv: 'text/csv; charset=utf-8',
  txt: 'text/plain; charset=utf-8',
};

export function serveResultFiles(app: FastifyInstance, { coordinator }: StreamParts): void {
  app.get('/v1/shards/:id/result/files/:file', async (request, reply) => {
    const { id, file: name } = parseOrThrow(resultFileParamsSchema, request.params, 'path');
    await mayToShard(callerOf(request), coordinator, 'read', id);
    const shard = await coordinator.get(id);
    const etag = `"${shard.result?.files.find((file) => file.name === name)?.sha256 ?? ''}"`;
    void reply.header('etag', etag).header('accept-ranges', 'bytes');
    if (matches(request.headers['if-none-match'], etag)) return reply.code(304).send();
    const condition = request.headers['if-range'];
    const range = condition === undefined || condition === etag ? parseRange(request.headers.range) : undefined;
    const opened = await openResultFile(shard, name, range);
    if (opened === undefined) {
      const size = shard.result?.files.find((file) => file.name === name)?.bytes ?? 0;
      throw new HttpProblem('PDL_REQUEST_INVALID', `${name} has ${String(size)} bytes; the range lies beyond them`, {
        status: 416,
        headers: { 'content-range': `bytes */${String(size)}` },
      });
    }
    const { from, to } = opened.range;
    void reply
      .code(range === undefined ? 200 : 206)
      .header('content-length', String(to - from))
      .header('content-type', typesByEnding[/\.([a-z]+)$/.exec(name)?.[1] ?? ''] ?? 'application/octet-stream')
      .header('x-content-type-options', 'nosniff');
    if (range !== undefined)
      void reply.header('content-range', `bytes ${String(from)}-${String(to - 1)}/${String(opened.sizeBytes)}`);
    return reply.send(opened.stream);
  });
}

/** If-None-Match, by the weak comparison. */
export const matches = (header: string | undefined, etag: string): boolean =>
  header !== undefined &&
  (header.trim() === '*' || header.split(',').some((given) => given.trim().replace(/^W\//, '') === etag.replace(/^W\//, '')));
