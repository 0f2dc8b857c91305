/**
 * Whether a caller may do what a request asks for: the scope of the route, on the pipeline that the request is about.
 *
 * Invariants
 *  1. What a caller may not see is answered as what is not there.
 *  2. A line speaks under its own name and for its own pipeline only.
 */
import type { Action, Caller } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import { routes, type RouteName } from './routes.js';

export interface RawRequest {
  params: unknown;
  query: unknown;
  body: unknown;
}

const text = (from: unknown, field: string): string | undefined => {
  const value: unknown = typeof from === 'object' && from !== null ? Reflect.get(from, field) : undefined;
  return typeof value === 'string' ? value : undefined;
};

/** Throws PDL_FORBIDDEN, or the error of what is not there. */
export async function authorize(caller: Caller, coordinator: Coordinator, name: RouteName, raw: RawRequest): Promise<void> {
  const { scope, about } = routes[name];
  switch (about) {
    case 'nothing':
      return;
    case 'all':
      return requireScope(caller, { scope });
    case 'pipeline':
      return requireScope(caller, { scope, pipeline: text(raw.params, 'name') ?? text(raw.body, 'task') });
    case 'shard':
      return mayToShard(caller, coordinator, scope, text(raw.params, 'id') ?? '');
    case 'line':
      return mayToLine(caller, coordinator, scope, text(raw.params, 'line') ?? '', text(raw.body, 'pipeline'));
  }
}

/** Throws PDL_FORBIDDEN. */
export async function requireScope(caller: Caller, action: Action): Promise<void> {
  if (await caller.may(action)) return;
  const { scope, pipeline, line } = action;
  const what =
    line !== undefined
      ? `line ${line}${pipeline === undefined ? '' : ` of ${pipeline}`}`
      : pipeline !== undefined
        ? `pipeline ${pipeline}`
        : 'all pipelines';
  throw new PodlineError('PDL_FORBIDDEN', `${caller.name} may not ${scope === 'line' ? 'speak as' : scope} ${what}`, {
    hint:
      pipeline === undefined && line === undefined
        ? `Name a pipeline, or use a token with the scope ${scope} on all of them.`
        : `Use a token with the scope ${scope}${scope === 'line' ? ' that was made for this line' : ''}.`,
  });
}

/** Whoever may not read a shard learns nothing of it, not even that it is there. */
export async function mayToShard(caller: Caller, coordinator: Coordinator, scope: Action['scope'], id: string): Promise<void> {
  if (await caller.may({ scope })) return;
  const { pipeline } = await coordinator.get(id);
  if (await caller.may({ scope, pipeline })) return;
  if (!(await caller.may({ scope: 'read', pipeline }))) throw new PodlineError('PDL_SHARD_UNKNOWN', `there is no shard ${id}`);
  await requireScope(caller, { scope, pipeline });
}

async function mayToLine(
  caller: Caller,
  coordinator: Coordinator,
  scope: Action['scope'],
  line: string,
  pipeline: string | undefined,
): Promise<void> {
  // A line that was heard names no pipeline any more: it is that of its hello, and another one's line may have the same name.
  if (caller.kind === 'line')
    return requireScope(caller, { scope, line, pipeline: pipeline ?? (await coordinator.line(line)).pipeline });
  if (await caller.may({ scope, ...(scope === 'line' ? { line, ...(pipeline === undefined ? {} : { pipeline }) } : {}) })) return;
  const of = pipeline ?? (await coordinator.line(line)).pipeline;
  if (await caller.may({ scope, pipeline: of, line })) return;
  if (scope === 'read') throw new PodlineError('PDL_LINE_UNKNOWN', `there is no line ${line}`);
  await requireScope(caller, { scope, pipeline: of });
}

/** Those that the caller may read. */
export async function readable<T>(caller: Caller, items: readonly T[], pipelineOf: (item: T) => string): Promise<T[]> {
  if (await caller.may({ scope: 'read' })) return [...items];
  const pipelines = [...new Set(items.map(pipelineOf))];
  const may = new Map(
    await Promise.all(pipelines.map(async (pipeline) => [pipeline, await caller.may({ scope: 'read', pipeline })] as const)),
  );
  return items.filter((item) => may.get(pipelineOf(item)) === true);
}
