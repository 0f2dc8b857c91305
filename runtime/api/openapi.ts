/** The OpenAPI document of the API, from the schemas that the server checks with. Every status that can be answered stands in it. */
import { z } from 'zod';
import { eventsQuerySchema, namedSchemas, resultFileParamsSchema, routes, type Route } from './routes.js';
import { problemSchema } from '../contracts/views.js';
import { contentTag } from './etags.js';
import { problemType } from './problem.js';

type Json = Record<string, unknown>;

const words: Record<number, string> = {
  304: 'It is as If-None-Match says.',
  400: 'The request does not fit its schema.',
  401: 'The token is missing or not known.',
  403: 'The token does not allow this, or a place is not allowed.',
  404: 'There is no such thing.',
  408: 'The request did not arrive in time.',
  409: 'Its state does not allow this.',
  412: 'It has changed since it was read.',
  413: 'The request is larger than the bound.',
  415: 'The body is of another type, or compressed.',
  416: 'The range lies beyond the file.',
  421: 'This coordinator does not lead: `place` says who does.',
  429: 'Asked too often, or the queue is full: wait as long as Retry-After says.',
  431: 'The head of the request is too large.',
  500: 'A fault of Podline, or of its disk.',
  503: 'It does not answer now: wait as long as Retry-After says.',
};
const always = [400, 401, 403, 408, 421, 429, 431, 500, 503];
const withBody = [413, 415];

function responsesOf(good: Json, statuses: readonly number[]): Json {
  const refusal = (status: number): Json => ({
    description: words[status],
    ...(status === 429 || status === 503
      ? { headers: { 'Retry-After': { schema: { type: 'integer' }, description: 'Seconds.' } } }
      : {}),
    ...(status === 401 ? { headers: { 'WWW-Authenticate': { schema: { type: 'string' } } } } : {}),
    ...(status === 304 ? {} : { content: { [problemType]: { schema: { $ref: '#/components/schemas/Problem' } } } }),
  });
  const sorted = [...new Set(statuses)].sort((a, b) => a - b);
  return { ...good, ...Object.fromEntries(sorted.map((status) => [String(status), refusal(status)])) };
}

function toSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  for (const [name, named] of Object.entries(namedSchemas)) if (named === schema) return { $ref: `#/components/schemas/${name}` };
  return inline(schema, io);
}

/** A pair of the same is written as a list of two: the same to a validator, and tools of today understand it. */
function asList({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  const [first, ...others] = jsonSchema.prefixItems ?? [];
  if (first === undefined || others.some((item) => JSON.stringify(item) !== JSON.stringify(first))) return;
  delete jsonSchema.prefixItems;
  Object.assign(jsonSchema, { items: first, minItems: others.length + 1, maxItems: others.length + 1 });
}

const inline = (schema: z.ZodType, io: 'input' | 'output'): Json => {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', override: asList }) as Json;
  return rest;
};

function parametersOf(schema: z.ZodType, place: 'path' | 'query'): Json[] {
  const { properties = {}, required = [] } = inline(schema, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...property }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: property,
  }));
}

const header = (name: string, description: string, schema: Json = { type: 'string' }): Json => ({
  name,
  in: 'header',
  required: false,
  description,
  schema,
});
const etag = { headers: { ETag: { schema: { type: 'string' } } } };

const idempotencyKey = header('Idempotency-Key', 'Is the key of the shard where the body names none.', {
  type: 'string',
  minLength: 1,
  maxLength: 512,
});
const trace = [
  header('traceparent', 'Trace Context of the W3C: the trace of what names none itself. Passed over where it is none.'),
  header('tracestate', 'Goes with it.'),
];

/** What some routes take and give besides what the table says. */
const more: Record<string, { parameters?: Json[]; body?: Json; good?: Json; headers?: Json; statuses?: number[] }> = {
  submit: {
    parameters: [idempotencyKey, ...trace],
    body: { 'application/x-ndjson': { schema: { type: 'string', description: 'A Submission a line.' } } },
    good: {
      'application/x-ndjson': {
        schema: { type: 'string', description: 'A SubmitAnswer a line, in the order of the submissions.' },
      },
    },
  },
  submitAll: { parameters: trace },
  request: { parameters: [idempotencyKey, ...trace] },
  pipeline: { headers: etag },
  get: { headers: etag, parameters: [header('If-None-Match', 'ETag of the answer before.')], statuses: [304] },
  result: { headers: etag, parameters: [header('If-None-Match', 'ETag of the answer before.')], statuses: [304] },
  inputSchema: { headers: etag, parameters: [header('If-None-Match', 'ETag of the answer before.')], statuses: [304] },
  applyPipeline: {
    parameters: [
      header('If-Match', 'Only if the pipeline has this ETag.'),
      header('If-None-Match', '`*`: only if there is none of the name.'),
    ],
  },
};

function operation(name: string, route: Route): Json {
  const hasBody = !(route.body instanceof z.ZodUndefined);
  const { parameters = [], body = {}, good = {}, headers = {}, statuses = [] } = more[name] ?? {};
  return {
    operationId: name,
    summary: route.summary,
    tags: [tagOf(route.path)],
    'x-podline-scope': route.scope,
    parameters: [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query'), ...parameters],
    ...(hasBody
      ? { requestBody: { required: true, content: { 'application/json': { schema: toSchema(route.body, 'input') }, ...body } } }
      : {}),
    responses: responsesOf(
      {
        200: {
          description: 'Done.',
          ...headers,
          content: { 'application/json': { schema: toSchema(route.response, 'output') }, ...good },
        },
      },
      [
        ...always,
        ...(hasBody ? withBody : []),
        ...(route.about === 'nothing' || route.about === 'all' ? [] : [404]),
        ...route.refusals,
        ...statuses,
      ],
    ),
  };
}

const tagOf = (path: string): string => {
  const [, , what = '', , below = ''] = path.split('/');
  return what === 'requests' || below.startsWith('shard') || below === 'dead-letters' ? 'shards' : what;
};

const self = (operationId: string, summary: string, good: Json, statuses: number[], isOpen: boolean): Json => ({
  operationId,
  summary,
  tags: ['server'],
  ...(isOpen ? { security: [] } : {}),
  responses: responsesOf(good, statuses),
});
const ok = (description: string, content: Json): Json => ({ 200: { description, content } });
const statusText = (value: string): Json => ({
  'application/json': { schema: { type: 'object', properties: { status: { const: value } }, required: ['status'] } },
});

const fileOf = (description: string): Json => ({
  description,
  headers: { ...etag.headers, 'Accept-Ranges': { schema: { const: 'bytes' } } },
  content: { '*/*': { schema: {} } },
});

const streams = (): Record<string, Json> => ({
  '/v1/events': {
    get: {
      operationId: 'events',
      summary: 'Events as they happen, as SSE; Last-Event-ID goes on where a stream broke off.',
      tags: ['events'],
      'x-podline-scope': 'read',
      parameters: [
        ...parametersOf(eventsQuerySchema, 'query'),
        header('Last-Event-ID', 'Goes before `after`.', { type: 'integer', minimum: 0, maximum: 999_999_999_999_999 }),
      ],
      responses: responsesOf(
        ok('A stream: the `data` of each message is an Event.', { 'text/event-stream': { schema: { type: 'string' } } }),
        [...always, 404],
      ),
    },
  },
  '/v1/shards/{id}/result/files/{file}': {
    get: {
      operationId: 'resultFile',
      summary: 'A file of its result, or a range of it.',
      tags: ['shards'],
      'x-podline-scope': 'read',
      parameters: [
        ...parametersOf(resultFileParamsSchema, 'path'),
        header('Range', 'One range of bytes; of several, the whole is sent.'),
        header('If-Range', 'ETag with which the range is meant.'),
        header('If-None-Match', 'ETag of the answer before.'),
      ],
      responses: responsesOf({ 200: fileOf('The file.'), 206: fileOf('The range.') }, [...always, 304, 404, 416]),
    },
  },
  '/v1/openapi.json': {
    get: self(
      'document',
      'This document.',
      ok('OpenAPI 3.1.', { 'application/json': { schema: { type: 'object' } } }),
      [304, 408, 431],
      true,
    ),
  },
  '/v1/docs': {
    get: self('docs', 'A page to read it.', ok('A page.', { 'text/html': { schema: { type: 'string' } } }), [408, 431], true),
  },
  '/healthz': { get: self('health', 'Whether the process lives.', ok('It does.', statusText('ok')), [408, 431], true) },
  '/readyz': { get: self('readiness', 'Whether it takes requests.', ok('It does.', statusText('ready')), [408, 431, 503], true) },
  '/metrics': {
    get: self(
      'metrics',
      'Metrics in the text format of Prometheus.',
      ok('Metrics.', { 'text/plain': { schema: { type: 'string' } } }),
      always,
      false,
    ),
  },
});

function makeDocument(): Json {
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(name, route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Podline',
      version: 'v1',
      description:
        'Submit shards to pipelines, watch them, get their results, and speak as a line. Every error is problem+json with a `PDL_…` code.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    paths: { ...paths, ...streams() },
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token with the scope that `x-podline-scope` names, on the pipeline that the request is about.',
        },
      },
      schemas: {
        ...Object.fromEntries(
          Object.entries(namedSchemas).map(([name, schema]) => [
            name,
            inline(schema, name === 'Submission' || name === 'Request' ? 'input' : 'output'),
          ]),
        ),
        Problem: inline(problemSchema, 'output'),
      },
    },
  };
}

let made: { text: string; etag: string } | undefined;

export function openApiDocument(): { text: string; etag: string } {
  if (made === undefined) {
    const text = JSON.stringify(makeDocument());
    made = { text, etag: contentTag(text) };
  }
  return made;
}
