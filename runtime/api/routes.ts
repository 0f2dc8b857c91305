/**
 * Every path of the API, once: method, path, schemas of what goes in and comes out. The server registers this table, the
 * client calls by it, and `/v1/openapi.json` is made from it.
 *
 * Streams are not in it, because they have no JSON body: submissions as NDJSON and events as SSE (`server.ts`).
 */
import { z } from 'zod';
import type { Scope } from '../contracts/access.js';
import { connectorViewSchema } from '../contracts/connectors.js';
import { eventSchema } from '../contracts/events.js';
import { limits } from '../contracts/limits.js';
import {
  completeAnswerSchema,
  completeRequestSchema,
  failSchema,
  heartbeatAnswerSchema,
  heartbeatSchema,
  leaseAnswerSchema,
  leaseRequestSchema,
  lineHelloSchema,
  lineWelcomeSchema,
  swapRequestSchema,
} from '../contracts/line-api.js';
import {
  replaySchema,
  replayedSchema,
  requestSchema,
  shardResultSchema,
  shardSchema,
  shardStates,
  submissionSchema,
  submitAnswerSchema,
  submittedSchema,
} from '../contracts/shard.js';
import {
  countsSchema,
  explanationSchema,
  lineViewSchema,
  pipelineOnWireSchema,
  pipelineViewSchema,
  removedPipelineSchema,
  shardPageSchema,
} from '../contracts/views.js';

export interface Route<
  P extends z.ZodType = z.ZodType,
  Q extends z.ZodType = z.ZodType,
  B extends z.ZodType = z.ZodType,
  R extends z.ZodType = z.ZodType,
> {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `{name}` stands for a path parameter. */
  path: string;
  summary: string;
  /** What a caller's token must allow, and of what: of the pipeline, shard or line that the request names. */
  scope: Scope;
  about: 'pipeline' | 'shard' | 'line' | 'all' | 'nothing';
  /** What may be answered besides what every route may (`openapi.ts`). */
  refusals: readonly number[];
  params: P;
  query: Q;
  body: B;
  response: R;
}

const none = z.object({});
const done = z.object({});
const byName = z.object({ name: z.string().min(1).max(512) });
const byId = z.object({ id: z.string().min(1).max(512) });
const byLine = z.object({ line: z.string().min(1).max(253) });
const changed = z.object({ changed: z.boolean() });

const route = <
  P extends z.ZodType = typeof none,
  Q extends z.ZodType = typeof none,
  B extends z.ZodType = z.ZodUndefined,
  R extends z.ZodType = typeof done,
>(
  method: Route['method'],
  path: string,
  summary: string,
  parts: { params?: P; query?: Q; body?: B; response: R; scope?: Scope; about?: Route['about']; refusals?: readonly number[] },
): Route<P, Q, B, R> => ({
  method,
  path,
  summary,
  scope: parts.scope ?? (path.startsWith('/v1/lines/{line}/') ? 'line' : method === 'GET' ? 'read' : 'operate'),
  about:
    parts.about ??
    (path.includes('{name}') ? 'pipeline' : path.includes('{id}') ? 'shard' : path.includes('{line}') ? 'line' : 'nothing'),
  refusals: parts.refusals ?? [],
  params: parts.params ?? (none as unknown as P),
  query: parts.query ?? (none as unknown as Q),
  body: parts.body ?? (z.undefined() as unknown as B),
  response: parts.response,
});

const pageQuery = {
  cursor: z
    .string()
    .regex(/^[0-9a-z]{1,10}$/)
    .optional()
    .describe('`next` of the page before.'),
  max: z.coerce.number().int().min(1).max(limits.listPageMax).optional().describe('Shards of a page.'),
};
const filters = {
  keyPrefix: z.string().min(1).max(512).optional().describe('Only keys that begin so.'),
  code: z
    .string()
    .regex(/^PDL_[A-Z_]{1,60}$/)
    .optional()
    .describe('Only shards whose last error has this code.'),
  line: z.string().min(1).max(253).optional().describe('Only shards that this line holds, or held last.'),
  submittedFrom: z.iso.datetime({ offset: true }).optional().describe('Only those submitted at this time or later.'),
  submittedTo: z.iso.datetime({ offset: true }).optional().describe('Only those submitted before.'),
};
export const listQuerySchema = z.object({ state: z.enum(shardStates).optional(), ...pageQuery, ...filters });

export const routes = {
  pipelines: route('GET', '/v1/pipelines', 'The pipelines, with their counts.', {
    response: z.object({ pipelines: z.array(pipelineViewSchema) }),
  }),
  pipeline: route('GET', '/v1/pipelines/{name}', 'One pipeline, resolved.', { params: byName, response: pipelineViewSchema }),
  applyPipeline: route('PUT', '/v1/pipelines/{name}', 'Takes a resolved pipeline in; its revision counts up if it changed.', {
    params: byName,
    body: pipelineOnWireSchema,
    response: pipelineViewSchema.extend({ changed: z.boolean() }),
    refusals: [409, 412],
  }),
  deletePipeline: route(
    'DELETE',
    '/v1/pipelines/{name}',
    'Removes a pipeline with its shards and lines; refused while shards wait or run, unless they are to be cancelled.',
    {
      params: byName,
      query: z.object({
        cancel: z
          .enum(['true', 'false'])
          .default('false')
          .describe('Whether what waits or runs is cancelled, instead of being a reason to refuse.'),
      }),
      response: removedPipelineSchema,
      refusals: [409],
    },
  ),
  inputSchema: route('GET', '/v1/pipelines/{name}/schema', 'The JSON Schema of what this pipeline takes as a submission.', {
    params: byName,
    response: z.record(z.string(), z.unknown()),
  }),
  pause: route('POST', '/v1/pipelines/{name}/pause', 'Nothing of it is leased until it is resumed.', {
    params: byName,
    response: changed,
  }),
  resume: route('POST', '/v1/pipelines/{name}/resume', 'Its shards are leased again.', { params: byName, response: changed }),
  progress: route('GET', '/v1/pipelines/{name}/progress', 'How many shards are in which state.', {
    params: byName,
    response: countsSchema,
  }),

  request: route(
    'POST',
    '/v1/requests',
    'A request in simple words: a task, which is the name of a pipeline, a payload and a result directory.',
    {
      body: requestSchema,
      response: submittedSchema,
      scope: 'submit',
      about: 'pipeline',
      refusals: [404],
    },
  ),
  submit: route('POST', '/v1/pipelines/{name}/shards', 'Submits one shard (JSON), or many (NDJSON, answered line by line).', {
    params: byName,
    body: submissionSchema,
    response: submittedSchema,
    scope: 'submit',
  }),
  submitAll: route('POST', '/v1/pipelines/{name}/shards/batch', 'Submits several shards in one transaction.', {
    params: byName,
    body: z.object({ submissions: z.array(submissionSchema).max(limits.submitBatchMax) }),
    response: z.object({ answers: z.array(submitAnswerSchema) }),
    scope: 'submit',
  }),
  list: route('GET', '/v1/pipelines/{name}/shards', 'Shards in the order of submission, a page at a time.', {
    params: byName,
    query: listQuerySchema,
    response: shardPageSchema,
  }),
  getByKey: route('GET', '/v1/pipelines/{name}/shard', 'The shard of a key.', {
    params: byName,
    query: z.object({ key: z.string().min(1) }),
    response: shardSchema,
  }),

  deadLetters: route(
    'GET',
    '/v1/pipelines/{name}/dead-letters',
    'Shards that failed for good, each with its error and log tail.',
    {
      params: byName,
      query: z.object({ ...pageQuery, ...filters }),
      response: shardPageSchema,
    },
  ),
  replay: route(
    'POST',
    '/v1/pipelines/{name}/dead-letters/replay',
    'Dead letters go back into the queue: those named, or all that fit the filter.',
    {
      params: byName,
      body: replaySchema,
      response: replayedSchema,
    },
  ),

  get: route('GET', '/v1/shards/{id}', 'One shard with its result and report.', { params: byId, response: shardSchema }),
  explain: route('GET', '/v1/shards/{id}/explain', 'Why it is where it is.', { params: byId, response: explanationSchema }),
  cancel: route('POST', '/v1/shards/{id}/cancel', 'Pending or running → cancelled.', {
    params: byId,
    response: shardSchema,
    refusals: [409],
  }),
  retry: route('POST', '/v1/shards/{id}/retry', 'Failed or cancelled → pending.', {
    params: byId,
    response: shardSchema,
    refusals: [409],
  }),
  resumeFrom: route('POST', '/v1/shards/{id}/resume', 'Back into the queue, to run a stage and what follows it again.', {
    params: byId,
    body: z.object({ stage: z.string().min(1) }),
    response: shardSchema,
    refusals: [409],
  }),

  result: route('GET', '/v1/shards/{id}/result', 'The files of its result.', { params: byId, response: shardResultSchema }),

  lastEvent: route('GET', '/v1/events/last', 'Id of the newest event: where to begin to watch.', {
    response: z.object({ id: z.int().nonnegative() }),
  }),

  lines: route('GET', '/v1/lines', 'The lines, with the shards that they hold.', {
    response: z.object({ lines: z.array(lineViewSchema) }),
  }),
  line: route('GET', '/v1/lines/{line}', 'One line by its stable name.', { params: byLine, response: lineViewSchema }),
  drainLine: route('POST', '/v1/lines/{line}/drain', 'It finishes or checkpoints what it has and takes nothing new.', {
    params: byLine,
    response: lineViewSchema,
    scope: 'operate',
  }),

  connectors: route('GET', '/v1/connectors', 'How the connectors to brokers and folders are doing.', {
    response: z.object({ connectors: z.array(connectorViewSchema) }),
    about: 'all',
  }),

  lineHello: route('POST', '/v1/lines/{line}/hello', 'An agent introduces its line.', {
    params: byLine,
    body: lineHelloSchema,
    refusals: [409],
    response: lineWelcomeSchema,
  }),
  lease: route('POST', '/v1/lines/{line}/leases', 'Long poll for work.', {
    params: byLine,
    body: leaseRequestSchema,
    refusals: [409],
    response: leaseAnswerSchema,
  }),
  heartbeat: route('POST', '/v1/lines/{line}/heartbeat', 'Renews leases.', {
    params: byLine,
    body: heartbeatSchema,
    refusals: [409],
    response: heartbeatAnswerSchema,
  }),
  complete: route(
    'POST',
    '/v1/lines/{line}/complete',
    'A shard is done; refused under an old epoch. With `next`, leases come with the answer.',
    {
      params: byLine,
      body: completeRequestSchema,
      refusals: [409],
      response: completeAnswerSchema,
    },
  ),
  fail: route('POST', '/v1/lines/{line}/fail', 'A shard failed, or is given back.', {
    params: byLine,
    body: failSchema,
    refusals: [409],
    response: done,
  }),
  requestSwap: route('POST', '/v1/lines/{line}/swaps', 'Put a stage into a slot; answered when the order is taken.', {
    params: byLine,
    body: swapRequestSchema,
    refusals: [409],
    response: done,
  }),
};

export type Routes = typeof routes;
export type RouteName = keyof Routes;
export interface RouteRequest<N extends RouteName> {
  params: z.output<Routes[N]['params']>;
  query: z.output<Routes[N]['query']>;
  body: z.output<Routes[N]['body']>;
}
/** As a caller writes it: with defaults left out. */
export interface RouteInput<N extends RouteName> {
  params?: z.input<Routes[N]['params']> | undefined;
  query?: z.input<Routes[N]['query']> | undefined;
  body?: z.input<Routes[N]['body']> | undefined;
}
export type RouteResponse<N extends RouteName> = z.output<Routes[N]['response']>;

/** Query of `GET /v1/events`; `Last-Event-ID` goes before `after`. */
export const eventsQuerySchema = z.object({
  pipeline: z.string().min(1).max(512).optional().describe('Only events of this pipeline.'),
  shard: z.string().min(1).max(512).optional().describe('Only events of this shard.'),
  after: z.coerce
    .number()
    .int()
    .nonnegative()
    .optional()
    .describe('Only events with a higher id; without it, those from now on.'),
});

/** Path of `GET /v1/shards/{id}/result/files/{file}`. */
export const resultFileParamsSchema = byId.extend({
  file: z.string().min(1).max(2_048).describe('Its name, as the result lists it.'),
});

/** Schemas that the document names once. */
export const namedSchemas = {
  Shard: shardSchema,
  Submission: submissionSchema,
  Request: requestSchema,
  SubmitAnswer: submitAnswerSchema,
  Event: eventSchema,
  Line: lineViewSchema,
  Pipeline: pipelineViewSchema,
  Connector: connectorViewSchema,
};
