/** A coordinator behind its API in this process, as tests of the API need it. Ends with the test. */
import { onTestFinished } from 'vitest';
import { LineTokens } from '../../runtime/access/line-tokens.js';
import { TokenGate, anyGate, hashOfToken, operatorGate } from '../../runtime/access/tokens.js';
import { PodlineClient } from '../../runtime/api/client.js';
import { startApiServer, type ApiServer, type ApiServerOptions } from '../../runtime/api/server.js';
import type { Addresses, Allowed, TokenEntry } from '../../runtime/contracts/access.js';
import type { Pipeline } from '../../runtime/contracts/manifest.js';
import type { CoordinatorMetrics, Tracing } from '../../runtime/contracts/telemetry.js';
import { createCoordinator, type Coordinator } from '../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../runtime/journal/lmdb/lmdb-journal.js';
import type { Journal } from '../../runtime/journal/journal.js';
import type { Logger } from '../../runtime/platform/logger.js';
import { completeOf, folder, helloOf, pipelineOf } from './journal.js';

export const operator = 'the-operator';

export interface ApiBench {
  journal: Journal;
  coordinator: Coordinator;
  server: ApiServer;
  client: PodlineClient;
  lineTokens: LineTokens;
  tokens: TokenGate;
  logged: Record<string, unknown>[];
  /** With the operator's token unless `authorization` is given; '' for none. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  json: Record<string, unknown>;
}

export interface ApiBenchOptions extends Partial<Omit<ApiServerOptions, 'coordinator' | 'gate' | 'token'>> {
  tokens?: TokenEntry[];
  allowed?: Allowed;
  pipelines?: Pipeline[];
  limits?: Parameters<typeof createCoordinator>[0]['limits'];
  tracing?: Tracing;
  metrics?: CoordinatorMetrics;
  callbacks?: Addresses;
}

export const entryOf = (token: string, more: Partial<TokenEntry> = {}): TokenEntry => ({
  name: token,
  sha256: hashOfToken(token),
  scopes: ['submit', 'read'],
  pipelines: ['*'],
  ...more,
});

/** Lines of a log, as fields. */
export function recorder(lines: Record<string, unknown>[], fields: Record<string, unknown> = {}): Logger {
  const write = (level: string) => (more: Record<string, unknown>, message: string) => {
    lines.push({ level, ...fields, ...more, message });
  };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (more) => recorder(lines, { ...fields, ...more }),
  };
}

export async function apiBench(options: ApiBenchOptions = {}): Promise<ApiBench> {
  const { tokens: entries = [], allowed, pipelines = [pipelineOf()], limits, tracing, metrics, callbacks, ...rest } = options;
  const logged: Record<string, unknown>[] = [];
  const journal = openLmdbJournal({ dir: folder(), idPrefix: 'test' });
  const logger = recorder(logged);
  const coordinator = await createCoordinator({
    journal,
    logger,
    tracing,
    metrics,
    callbacks,
    ...(allowed === undefined ? {} : { allowed }),
    ...(limits === undefined ? {} : { limits }),
  });
  const lineTokens = new LineTokens(Buffer.alloc(32, 7));
  const tokens = new TokenGate(entries, Date.now);
  const server = await startApiServer({
    coordinator,
    gate: anyGate([lineTokens, operatorGate(operator), tokens]),
    logger,
    ...rest,
  });
  const client = PodlineClient.connect(server.url, operator);
  onTestFinished(async () => {
    await client.close();
    await server.close();
    await coordinator.close();
    await journal.close();
  });
  for (const pipeline of pipelines) await coordinator.applyPipeline(pipeline);
  const call: ApiBench['call'] = async (method, path, body, headers = {}) => {
    const { authorization = `Bearer ${operator}`, ...others } = headers;
    const answer = await fetch(server.url + path, {
      method,
      headers: {
        ...(authorization === '' ? {} : { authorization }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...others,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    const isJson =
      text !== '' &&
      /json/.test(answer.headers.get('content-type') ?? '') &&
      !/ndjson/.test(answer.headers.get('content-type') ?? '');
    return {
      status: answer.status,
      headers: answer.headers,
      text,
      json: isJson ? (JSON.parse(text) as Record<string, unknown>) : {},
    };
  };
  return { journal, coordinator, server, client, lineTokens, tokens, logged, call };
}

/** Leases what waits to a line of the pipeline, and hands it back. */
export async function leaseOne(
  coordinator: Coordinator,
  pipeline = 'flights',
  line = 'line-0',
): Promise<{ shardId: string; epoch: number }> {
  await coordinator.lineHello(line, helloOf('a', { pipeline }));
  const [lease] = (await coordinator.lease(line, { max: 1, waitMs: 0, residents: [] })).leases;
  return { shardId: lease?.shardId ?? '', epoch: lease?.epoch ?? 0 };
}

/** Fails what waits for good. */
export async function failOne(
  coordinator: Coordinator,
  code: 'PDL_STAGE_FAILED' | 'PDL_STAGE_OUTPUT' = 'PDL_STAGE_OUTPUT',
): Promise<string> {
  const { shardId, epoch } = await leaseOne(coordinator);
  await coordinator.fail('line-0', {
    shardId,
    epoch,
    counts: true,
    error: { code, message: 'broken', hint: 'Mend it.', retry: 'never' },
  });
  return shardId;
}

export async function completeOne(
  coordinator: Coordinator,
  result?: { dir: string; files: { name: string; bytes: number; sha256: string }[] },
): Promise<string> {
  const { shardId, epoch } = await leaseOne(coordinator);
  const complete = completeOf(shardId, epoch);
  await coordinator.complete('line-0', result === undefined ? complete : { ...complete, result: { ...result, hash: 'ff' } });
  return shardId;
}
