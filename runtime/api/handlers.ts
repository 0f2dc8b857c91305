/** What stands behind each route: the same functions for calls in process and over HTTP. */
import { z } from 'zod';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Submission } from '../contracts/shard.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import { replay } from './dead-letters.js';
import { inputSchemaOf } from './input-schema.js';
import { resultOf } from './result-files.js';
import { toSubmission } from './simple-request.js';
import { routes, type RouteName, type RouteRequest, type RouteResponse } from './routes.js';

export type { Coordinator } from '../coordinator/coordinator.js';

type Handlers = {
  [N in RouteName]: (
    coordinator: Coordinator,
    request: RouteRequest<N>,
    signal: AbortSignal | undefined,
  ) => Promise<RouteResponse<N>>;
};

const handlers: Handlers = {
  pipelines: async (coordinator) => ({ pipelines: await coordinator.pipelines() }),
  pipeline: (coordinator, { params }) => coordinator.pipeline(params.name),
  applyPipeline: (coordinator, { params, body }) => {
    if (body.name !== params.name)
      throw new PodlineError('PDL_REQUEST_INVALID', `the path says ${params.name}, the pipeline ${body.name}`, { place: 'name' });
    return coordinator.applyPipeline(body);
  },
  deletePipeline: (coordinator, { params, query }) =>
    coordinator.deletePipeline(params.name, { cancel: query.cancel === 'true' }),
  pause: (coordinator, { params }) => coordinator.pause(params.name),
  resume: (coordinator, { params }) => coordinator.resume(params.name),
  progress: (coordinator, { params }) => coordinator.progress(params.name),

  inputSchema: async (coordinator, { params }) => inputSchemaOf(await pipelineOf(coordinator, params.name)),

  request: async (coordinator, { body }) =>
    submitOne(coordinator, body.task, toSubmission(body, await pipelineOf(coordinator, body.task))),
  submit: (coordinator, { params, body }) => submitOne(coordinator, params.name, body),
  submitAll: async (coordinator, { params, body }) => ({ answers: await coordinator.submit(params.name, body.submissions) }),
  list: (coordinator, { params, query }) => coordinator.list(params.name, query),
  getByKey: (coordinator, { params, query }) => coordinator.getByKey(params.name, query.key),

  deadLetters: (coordinator, { params, query }) => coordinator.list(params.name, { ...query, state: 'failed' }),
  replay: (coordinator, { params, body }) => replay(coordinator, params.name, body),

  get: (coordinator, { params }) => coordinator.get(params.id),
  explain: (coordinator, { params }) => coordinator.explain(params.id),
  cancel: (coordinator, { params }) => coordinator.cancel(params.id),
  retry: (coordinator, { params }) => coordinator.retry(params.id),
  resumeFrom: (coordinator, { params, body }) => coordinator.resumeFrom(params.id, body.stage),

  result: async (coordinator, { params }) => resultOf(await coordinator.get(params.id)),

  lastEvent: async (coordinator) => ({ id: await coordinator.lastEventId() }),

  lines: async (coordinator) => ({ lines: await coordinator.lines() }),
  line: (coordinator, { params }) => coordinator.line(params.line),
  drainLine: (coordinator, { params }) => coordinator.drainLine(params.line),

  connectors: async (coordinator) => ({ connectors: await coordinator.connectors() }),

  lineHello: (coordinator, { params, body }) => coordinator.lineHello(params.line, body),
  lease: (coordinator, { params, body }, signal) => coordinator.lease(params.line, body, signal),
  heartbeat: (coordinator, { params, body }) => coordinator.heartbeat(params.line, body),
  complete: async (coordinator, { params, body: { next, ...body } }) =>
    (await coordinator.complete(params.line, body, next)) ?? {},
  fail: async (coordinator, { params, body }) => done(coordinator.fail(params.line, body)),
  requestSwap: async (coordinator, { params, body }) => done(coordinator.requestSwap(params.line, body)),
};

async function pipelineOf(coordinator: Coordinator, name: string): Promise<Pipeline> {
  const { pipeline } = await coordinator.pipeline(name);
  if (pipeline === undefined) throw new PodlineError('PDL_INTERNAL', `the view of pipeline ${name} is without it`);
  return pipeline;
}

async function submitOne(coordinator: Coordinator, pipeline: string, submission: Submission): Promise<RouteResponse<'submit'>> {
  const [answer] = await coordinator.submit(pipeline, [submission]);
  if (answer === undefined) throw new PodlineError('PDL_INTERNAL', 'a submission got no answer');
  if (answer.outcome === 'rejected') throw PodlineError.fromWire(answer.error);
  return answer;
}

async function done(work: Promise<void>): Promise<Record<string, never>> {
  await work;
  return {};
}

/** Throws PDL_REQUEST_INVALID with the path of the first fault. */
export function parseOrThrow<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = [where, ...(issue?.path ?? []).map(String)].filter((part) => part !== '').join('.');
  throw new PodlineError('PDL_REQUEST_INVALID', `${path}: ${issue?.message ?? 'does not fit its schema'}`, { place: path });
}

/** Checks a request against the schemas of its route and carries it out. */
export async function handle<N extends RouteName>(
  coordinator: Coordinator,
  name: N,
  raw: { params: unknown; query: unknown; body: unknown },
  signal?: AbortSignal,
): Promise<RouteResponse<N>> {
  const route = routes[name];
  const request = {
    params: parseOrThrow(route.params, raw.params, 'path'),
    query: parseOrThrow(route.query, raw.query, 'query'),
    body: route.body instanceof z.ZodUndefined ? undefined : parseOrThrow(route.body, raw.body, 'body'),
  } as RouteRequest<N>;
  const handler = handlers[name] as (
    coordinator: Coordinator,
    request: RouteRequest<N>,
    signal: AbortSignal | undefined,
  ) => Promise<RouteResponse<N>>;
  return handler(coordinator, request, signal);
}
