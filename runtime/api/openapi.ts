/** The OpenAPI document of the API, from the schemas that the server checks with. */
import { z } from 'zod';
import { wireErrorSchema } from '../contracts/shard.js';
import { eventsQuerySchema, namedSchemas, routes, type Route } from './routes.js';

type Json = Record<string, unknown>;

const problem = {
  description: 'What went wrong, and the way out.',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
};

function toSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  for (const [name, named] of Object.entries(namedSchemas)) if (named === schema) return { $ref: `#/components/schemas/${name}` };
  return inline(schema, io);
}

const inline = (schema: z.ZodType, io: 'input' | 'output'): Json => {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json;
  return rest;
};

function parametersOf(schema: z.ZodType, place: 'path' | 'query'): Json[] {
  const { properties = {}, required = [] } = inline(schema, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: property,
  }));
}

function operation(name: string, route: Route): Json {
  const hasBody = !(route.body instanceof z.ZodUndefined);
  return {
    operationId: name,
    summary: route.summary,
    parameters: [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')],
    ...(hasBody
      ? { requestBody: { required: true, content: { 'application/json': { schema: toSchema(route.body, 'input') } } } }
      : {}),
    responses: {
      200: { description: 'Done.', content: { 'application/json': { schema: toSchema(route.response, 'output') } } },
      default: problem,
    },
  };
}

export function openApiDocument(): Json {
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(name, route) };
  }
  paths['/v1/events'] = {
    get: {
      operationId: 'events',
      summary: 'Events as they happen, as SSE; Last-Event-ID goes on where a stream broke off.',
      parameters: [
        ...parametersOf(eventsQuerySchema, 'query'),
        { name: 'Last-Event-ID', in: 'header', required: false, schema: { type: 'integer' } },
      ],
      responses: {
        200: { description: 'A stream.', content: { 'text/event-stream': { schema: { type: 'string' } } } },
        default: problem,
      },
    },
  };
  return {
    openapi: '3.1.0',
    info: { title: 'Podline', version: 'v1', description: 'Submit shards to pipelines, watch them, and speak as a line.' },
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: {
        ...Object.fromEntries(Object.entries(namedSchemas).map(([name, schema]) => [name, inline(schema, 'output')])),
        Problem: inline(wireErrorSchema, 'output'),
      },
    },
  };
}
