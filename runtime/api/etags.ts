/** ETags: of a pipeline its revision, by which a change is conditional; of what is long and seldom changes, its content. */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { PodlineError } from '../contracts/errors.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import type { RouteName } from './routes.js';

export const contentTag = (text: string): string =>
  `"${createHash('sha256').update(text, 'utf8').digest('base64url').slice(0, 27)}"`;

export function etagOf(name: RouteName, result: unknown): string | undefined {
  if (name === 'pipeline') return `"${String((result as { revision: number }).revision)}"`;
  return name === 'get' || name === 'inputSchema' || name === 'result' ? contentTag(JSON.stringify(result)) : undefined;
}

/** Throws PDL_PRECONDITION where If-Match or If-None-Match does not hold for the pipeline. */
export async function requireRevision(coordinator: Coordinator, headers: IncomingHttpHeaders, params: unknown): Promise<void> {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  if (match === undefined && noneMatch === undefined) return;
  const { name } = params as { name: string };
  const known = (await coordinator.pipelines()).find((pipeline) => pipeline.name === name);
  const tag = known === undefined ? undefined : `"${String(known.revision)}"`;
  const among = (header: string): boolean =>
    tag !== undefined && (header.trim() === '*' || header.split(',').some((given) => given.trim() === tag));
  const now = known === undefined ? 'it is not there' : `it has revision ${String(known.revision)}`;
  if (match !== undefined && !among(match))
    throw new PodlineError('PDL_PRECONDITION', `pipeline ${name} is not as If-Match says: ${now}`);
  if (noneMatch !== undefined && among(noneMatch))
    throw new PodlineError('PDL_PRECONDITION', `pipeline ${name} is as If-None-Match says that it is not: ${now}`);
}
