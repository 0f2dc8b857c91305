import { connect } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { PodlineClient } from '../../../runtime/api/client.js';
import { LineClient } from '../../../runtime/api/line-client.js';
import { startApiServer, type ApiServer } from '../../../runtime/api/server.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import { limits } from '../../../runtime/contracts/limits.js';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import { createCoordinator, type Coordinator } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { createMetrics } from '../../../runtime/telemetry/metrics.js';
import { completeOf, folder, heartbeatOf, helloOf, pipelineOf } from '../../support/journal.js';

const token = 'secret';

interface Running {
  dir: string;
  coordinator: Coordinator;
  server: ApiServer;
  client: PodlineClient;
  port: number;
  stop: () => Promise<void>;
}

async function running(dir = folder(), port = 0): Promise<Running> {
  const journal = openLmdbJournal({ dir });
  const metrics = createMetrics();
  const coordinator = await createCoordinator({ journal, metrics });
  const server = await startApiServer({ coordinator, token, port, metricsText: () => metrics.text() });
  const client = PodlineClient.connect(server.url, token);
  await coordinator.applyPipeline(pipelineOf());
  const stop = async (): Promise<void> => {
    await client.close();
    await server.close();
    await coordinator.close();
    await journal.close();
    metrics.close();
  };
  onTestFinished(stop);
  return { dir, coordinator, server, client, port: Number(new URL(server.url).port), stop };
}

function agent(url: string, line = 'line-0', instance = 'a'): LineClient {
  const client = new LineClient({ url, token, line, instance, delay: async () => undefined });
  onTestFinished(() => {
    client.close();
  });
  return client;
}

const of = (key: string): { key: string; source: { uri: string; format: 'csv' } } => ({
  key,
  source: { uri: `/data/${key}`, format: 'csv' },
});
const get = (
  server: ApiServer,
  path: string,
  headers: Record<string, string> = { authorization: `Bearer ${token}` },
): Promise<Response> => fetch(server.url + path, { headers });

describe('the API over HTTP', () => {
  it('wants its token for everything but its health', async () => {
    const { server } = await running();
    expect((await get(server, '/healthz', {})).status).toBe(200);
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: token }] as Record<string, string>[]) {
      for (const path of ['/v1/pipelines', '/metrics', '/v1/events', '/nowhere']) {
        const answer = await get(server, path, headers);
        expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([401, 'PDL_UNAUTHORIZED']);
      }
    }
    const wrong = PodlineClient.connect(server.url, 'wrong');
    onTestFinished(() => wrong.close());
    await expect(wrong.pipelines()).rejects.toMatchObject({ code: 'PDL_UNAUTHORIZED' });
    expect(await wrong.isAlive()).toBe(false);
  });

  it('answers errors as problem+json, with status, code and hint', async () => {
    const { server } = await running();
    const unknown = await get(server, '/v1/shards/nothing');
    expect(unknown.status).toBe(404);
    expect(unknown.headers.get('content-type')).toContain('application/problem+json');
    expect(await unknown.json()).toMatchObject({
      code: 'PDL_SHARD_UNKNOWN',
      status: 404,
      detail: 'there is no shard nothing',
      retry: 'never',
      type: expect.stringContaining('PDL_SHARD_UNKNOWN'),
    });
    expect((await get(server, '/v1/nowhere')).status).toBe(404);
    const post = (body: string): Promise<Response> =>
      fetch(`${server.url}/v1/pipelines/flights/shards`, {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      });
    expect((await post('{')).status).toBe(400);
    expect(
      await (
        await post(JSON.stringify({ key: 'a', source: { inline: 'x'.repeat(limits.requestBytesMax), format: 'csv' } }))
      ).json(),
    ).toMatchObject({ code: 'PDL_TOO_LARGE', status: 413 });
  });

  it('says 429 with Retry-After when the queue is full', async () => {
    const journal = openLmdbJournal({ dir: folder() });
    const coordinator = await createCoordinator({ journal, limits: { pendingShardsMax: 0 } });
    const server = await startApiServer({ coordinator, token });
    onTestFinished(async () => {
      await server.close();
      await coordinator.close();
      await journal.close();
    });
    await coordinator.applyPipeline(pipelineOf());
    const answer = await fetch(`${server.url}/v1/pipelines/flights/shards`, {
      method: 'POST',
      body: JSON.stringify(of('a')),
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '60']);
  });

  it('answers NDJSON line by line, while more is still to come', async () => {
    const { server } = await running();
    let push: (line: string) => void = () => undefined;
    let end: () => void = () => undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        push = (line) => {
          controller.enqueue(Buffer.from(line));
        };
        end = () => {
          controller.close();
        };
      },
    });
    push(`${JSON.stringify(of('a'))}\n`);
    const answer = await fetch(`${server.url}/v1/pipelines/flights/shards`, {
      method: 'POST',
      body,
      duplex: 'half',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-ndjson' },
    });
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    const next = async (): Promise<unknown> => JSON.parse((await reader?.read())?.value ?? 'null');
    expect(await next()).toMatchObject({ outcome: 'accepted', key: 'a' });
    push('{"key": "torn", \n\n');
    expect(await next()).toMatchObject({ outcome: 'rejected', error: { code: 'PDL_REQUEST_INVALID', place: 'line 2' } });
    push(JSON.stringify(of('a')));
    end();
    expect(await next()).toMatchObject({ outcome: 'duplicate' });
    expect(await reader?.read()).toEqual({ done: true, value: undefined });
  });

  it('goes on with events behind the last one that a reader saw, over a restart too', async () => {
    const first = await running();
    const heard: PodlineEvent[] = [];
    const stop = new AbortController();
    const client = PodlineClient.connect(first.server.url, token, {
      delay: (ms) => new Promise((resolve) => setTimeout(resolve, Math.min(ms, 20))),
      triesMax: 1_000,
    });
    onTestFinished(() => client.close());
    const reading = (async () => {
      for await (const event of client.events({ after: 0, signal: stop.signal })) heard.push(event);
    })();
    await first.client.submit('flights', of('a'));
    await vi.waitFor(() => {
      expect(heard).toHaveLength(2);
    });
    await first.stop();
    const second = await running(first.dir, first.port);
    await second.client.submit('flights', of('b'));
    await vi.waitFor(() => {
      expect(heard).toHaveLength(3);
    });
    stop.abort();
    await reading;
    expect(heard.map((event) => event.id)).toEqual([1, 2, 3]);
    const answer = await get(second.server, '/v1/events', { authorization: `Bearer ${token}`, 'last-event-id': '2' });
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('data:')) text += (await reader?.read())?.value ?? '';
    await reader?.cancel();
    expect(text).toContain('id: 3\nevent: shard.submitted\n');
  });

  it('describes itself, every path of it', async () => {
    const { server } = await running();
    const document = (await (await get(server, '/v1/openapi.json')).json()) as {
      openapi: string;
      paths: Record<string, Record<string, { operationId: string }>>;
    };
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths['/v1/pipelines/{name}/shards'] ?? {})).toEqual(['post', 'get']);
    expect(document.paths['/v1/lines/{line}/leases']?.['post']?.operationId).toBe('lease');
    expect(document.paths['/v1/events']).toBeDefined();
    const text = await (await get(server, '/metrics')).text();
    expect(text).toContain('podline_shards{pipeline="flights",state="pending"} 0');
  });
});

describe('the line protocol over HTTP', () => {
  it('takes a line from hello to complete', async () => {
    const { server, client } = await running();
    const line = agent(server.url);
    const welcome = await line.hello(helloOf('a'));
    expect(welcome).toMatchObject({
      pipeline: { name: 'flights', revision: 1 },
      leaseTtlMs: limits.leaseTtlMs,
      heartbeatMs: limits.heartbeatMs,
    });
    const waiting = line.lease({ max: 2, waitMs: 10_000, residents: [] });
    const answer = await client.submit('flights', of('a'));
    const [lease] = (await waiting).leases;
    expect(lease).toMatchObject({ key: 'a', epoch: 1, attempts: 0, resultDir: '/data/results' });
    expect(await line.heartbeat(heartbeatOf('a', [{ shardId: lease?.shardId ?? '', epoch: 1 }]))).toMatchObject({
      lost: [],
      drain: false,
      paused: false,
    });
    await expect(line.swap({ slot: 0, stage: 'clean', step: 's' })).rejects.toMatchObject({ code: 'PDL_SWAP_FAILED' });
    const complete = completeOf(lease?.shardId ?? '', 1);
    await line.complete(complete);
    await line.complete(complete);
    expect(await client.get(answer.outcome === 'accepted' ? answer.id : '')).toMatchObject({
      state: 'completed',
      report: complete.report,
    });
    await expect(
      line.fail({
        shardId: lease?.shardId ?? '',
        epoch: 1,
        error: new PodlineError('PDL_STAGE_FAILED', 'late').toWire(),
        counts: true,
      }),
    ).rejects.toMatchObject({ code: 'PDL_LEASE_LOST' });
  });

  it('gives a line what is next with the completion of what it had, and nothing when that is refused', async () => {
    const { server, client, coordinator } = await running();
    const line = agent(server.url);
    await line.hello(helloOf('a'));
    await client.submitAll('flights', ['a', 'b', 'c'].map(of));
    const [first] = (await line.lease({ max: 1, waitMs: 0, residents: [] })).leases;
    const next = { max: 1, residents: [] };
    const answer = await line.complete(completeOf(first?.shardId ?? '', 1), 'bounded', next);
    expect(answer).toMatchObject({ leases: [{ key: 'b', epoch: 1 }], queued: 1 });
    await expect(line.complete(completeOf(first?.shardId ?? '', 7), 'bounded', next)).rejects.toMatchObject({
      code: 'PDL_LEASE_LOST',
    });
    expect(await coordinator.progress('flights')).toMatchObject({ completed: 1, running: 1, pending: 1 });
    expect(await line.complete(completeOf(answer?.leases[0]?.shardId ?? '', 1))).toBeUndefined();
  });

  it('gives a line the same shards with a completion that is told again, because its answer was lost', async () => {
    const { server, client, coordinator } = await running();
    const line = agent(server.url);
    await line.hello(helloOf('a'));
    await client.submitAll('flights', ['a', 'b', 'c'].map(of));
    const [first] = (await line.lease({ max: 1, waitMs: 0, residents: [] })).leases;
    const complete = completeOf(first?.shardId ?? '', 1);
    const next = { max: 1, residents: [], held: [{ shardId: complete.shardId, epoch: 1 }] };
    const lost = await line.complete(complete, 'bounded', next);
    const heard = await line.complete(complete, 'bounded', next);
    expect([lost?.leases, heard?.leases]).toMatchObject([[{ key: 'b', epoch: 1 }], [{ key: 'b', epoch: 2, attempts: 0 }]]);
    expect(await coordinator.progress('flights')).toMatchObject({ completed: 1, running: 1, pending: 1 });
  });

  it('lets a line go on after the coordinator was restarted, without losing its lease', async () => {
    const first = await running();
    const line = agent(first.server.url);
    await line.hello(helloOf('a'));
    await first.client.submit('flights', of('a'));
    const [lease] = (await line.lease({ max: 1, waitMs: 0, residents: [] })).leases;
    await first.stop();
    await expect(line.heartbeat(heartbeatOf('a'))).rejects.toMatchObject({ code: 'PDL_UNREACHABLE' });
    const second = await running(first.dir, first.port);
    expect(await line.heartbeat(heartbeatOf('a', [{ shardId: lease?.shardId ?? '', epoch: 1 }]))).toMatchObject({ lost: [] });
    await line.complete(completeOf(lease?.shardId ?? '', 1));
    expect(await second.client.progress('flights')).toMatchObject({ completed: 1 });
  });

  it('takes back what a line that went away was about to get', async () => {
    const { server, client, coordinator } = await running();
    const line = agent(server.url);
    await line.hello(helloOf('a'));
    const body = JSON.stringify({ max: 1, waitMs: 30_000, residents: [] });
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write(
      `POST /v1/lines/line-0/leases HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\ncontent-length: ${String(body.length)}\r\n\r\n${body}`,
    );
    await vi.waitFor(async () => {
      const text = await (await get(server, '/metrics')).text();
      expect(text).toContain('podline_lease_waiters 1');
    });
    socket.destroy();
    await vi.waitFor(async () => {
      const text = await (await get(server, '/metrics')).text();
      expect(text).toContain('podline_lease_waiters 0');
    });
    await client.submit('flights', of('a'));
    expect(await coordinator.progress('flights')).toMatchObject({ pending: 1, running: 0 });
  });

  it('shares 200 shards among 8 lines that pull, each once', async () => {
    const { server, client } = await running();
    await client.submitAll(
      'flights',
      Array.from({ length: 200 }, (_, index) => of(`s${String(index)}`)),
    );
    const done = await Promise.all(
      Array.from({ length: 8 }, async (_, number) => {
        const line = agent(server.url, `line-${String(number)}`, String(number));
        await line.hello(helloOf(String(number)));
        const mine: string[] = [];
        for (;;) {
          const { leases } = await line.lease({ max: 2, waitMs: 0, residents: [] });
          if (leases.length === 0) return mine;
          for (const { shardId, epoch } of leases) {
            await line.complete(completeOf(shardId, epoch));
            mine.push(shardId);
          }
        }
      }),
    );
    expect(new Set(done.flat()).size).toBe(200);
    expect(done.flat()).toHaveLength(200);
    for (const mine of done) expect(mine.length).toBeGreaterThan(0);
    expect(await client.progress('flights')).toMatchObject({ completed: 200, running: 0, pending: 0 });
  });
});
