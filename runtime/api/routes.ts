/**
 * Every path of the API, once: method, path, schemas of what goes in and comes out. The server registers this table, the
 * client calls by it, and `/v1/openapi.json` is made from it.
 *
 * Streams are not in it, because they have no JSON body: submissions as NDJSON and events as SSE (`server.ts`).
 */
import { z } from 'zod';
import { eventSchema } from '../contracts/events.js';
import { limits } from '../contracts/limits.js';
import {
  completeSchema,
  failSchema,
  heartbeatAnswerSchema,
  heartbeatSchema,
  leaseAnswerSchema,
  leaseRequestSchema,
  lineHelloSchema,
  lineWelcomeSchema,
  swapRequestSchema,
} from '../contracts/line-api.js';
import { shardSchema, shardStates, submissionSchema, submitAnswerSchema } from '../contracts/shard.js';
import {
  countsSchema,
  explanationSchema,
  lineViewSchema,
  pipelineOnWireSchema,
  pipelineViewSchema,
  shardPageSchema,
} from '../contracts/views.js';

export interface Route<
  P extends z.ZodType = z.ZodType,
  Q extends z.ZodType = z.ZodType,
  B extends z.ZodType = z.ZodType,
  R extends z.ZodType = z.ZodType,
> {
  method: 'GET' | 'POST' | 'PUT';
  /** `{name}` stands for a path parameter. */
  path: string;
  summary: string;
  params: P;
  query: Q;
  body: B;
  response: R;
}

const none = z.object({});
const done = z.object({});
const byName = z.object({ name: z.string().min(1) });
const byId = z.object({ id: z.string().min(1) });
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
  parts: { params?: P; query?: Q; body?: B; response: R },
): Route<P, Q, B, R> => ({
  method,
  path,
  summary,
  params: parts.params ?? (none as unknown as P),
  query: parts.query ?? (none as unknown as Q),
  body: parts.body ?? (z.undefined() as unknown as B),
  response: parts.response,
});

export const listQuerySchema = z.object({
  state: z.enum(shardStates).optional(),
  cursor: z
    .string()
    .regex(/^[0-9a-z]{1,12}$/)
    .optional(),
  max: z.coerce.number().int().min(1).max(limits.listPageMax).optional(),
});

export const routes = {
  pipelines: route('GET', '/v1/pipelines', 'The pipelines, with their counts.', {
    response: z.object({ pipelines: z.array(pipelineViewSchema) }),
  }),
  pipeline: route('GET', '/v1/pipelines/{name}', 'One pipeline, resolved.', { params: byName, response: pipelineViewSchema }),
  applyPipeline: route('PUT', '/v1/pipelines/{name}', 'Takes a resolved pipeline in; its revision counts up if it changed.', {
    params: byName,
    body: pipelineOnWireSchema,
    response: pipelineViewSchema.extend({ changed: z.boolean() }),
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

  submit: route('POST', '/v1/pipelines/{name}/shards', 'Submits one shard (JSON), or many (NDJSON, answered line by line).', {
    params: byName,
    body: submissionSchema,
    response: submitAnswerSchema,
  }),
  submitAll: route('POST', '/v1/pipelines/{name}/shards/batch', 'Submits several shards in one transaction.', {
    params: byName,
    body: z.object({ submissions: z.array(submissionSchema).max(limits.submitBatchMax) }),
    response: z.object({ answers: z.array(submitAnswerSchema) }),
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

  get: route('GET', '/v1/shards/{id}', 'One shard with its result and report.', { params: byId, response: shardSchema }),
  explain: route('GET', '/v1/shards/{id}/explain', 'Why it is where it is.', { params: byId, response: explanationSchema }),
  cancel: route('POST', '/v1/shards/{id}/cancel', 'Pending or running → cancelled.', { params: byId, response: shardSchema }),
  retry: route('POST', '/v1/shards/{id}/retry', 'Failed or cancelled → pending.', { params: byId, response: shardSchema }),
  resumeFrom: route('POST', '/v1/shards/{id}/resume', 'Back into the queue, to run a stage and what follows it again.', {
    params: byId,
    body: z.object({ stage: z.string().min(1) }),
    response: shardSchema,
  }),

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
  }),

  lineHello: route('POST', '/v1/lines/{line}/hello', 'An agent introduces its line.', {
    params: byLine,
    body: lineHelloSchema,
    response: lineWelcomeSchema,
  }),
  lease: route('POST', '/v1/lines/{line}/leases', 'Long poll for work.', {
    params: byLine,
    body: leaseRequestSchema,
    response: leaseAnswerSchema,
  }),
  heartbeat: route('POST', '/v1/lines/{line}/heartbeat', 'Renews leases.', {
    params: byLine,
    body: heartbeatSchema,
    response: heartbeatAnswerSchema,
  }),
  complete: route('POST', '/v1/lines/{line}/complete', 'A shard is done; refused under an old epoch.', {
    params: byLine,
    body: completeSchema,
    response: done,
  }),
  fail: route('POST', '/v1/lines/{line}/fail', 'A shard failed, or is given back.', {
    params: byLine,
    body: failSchema,
    response: done,
  }),
  requestSwap: route('POST', '/v1/lines/{line}/swaps', 'Put a stage into a slot; answered when the order is taken.', {
    params: byLine,
    body: swapRequestSchema,
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
  pipeline: z.string().optional(),
  shard: z.string().optional(),
  after: z.coerce.number().int().nonnegative().optional(),
});

/** Schemas that the document names once. */
export const namedSchemas = {
  Shard: shardSchema,
  Submission: submissionSchema,
  SubmitAnswer: submitAnswerSchema,
  Event: eventSchema,
  Line: lineViewSchema,
  Pipeline: pipelineViewSchema,
};
