/** What a line says to its coordinator for each of its shards, counted at the coordinator; and answers that do not arrive. */
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { fetch } from 'undici';
import { expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { PodlineClient } from '../../../runtime/api/client.js';
import { folder } from '../../support/journal.js';
import { freePorts } from '../../support/ports.js';
import { serving, type Served } from '../../support/serving.js';
import { until } from '../../support/until.js';

const stage = `
import { column, defineStage } from 'podline';
export default defineStage({
  input: { value: 'int32' },
  output: { doubled: 'int32' },
  block(batch) {
    const doubled = column.int32(batch.rows);
    for (let row = 0; row < batch.rows; row++) doubled.values[row] = 2 * batch.columns.value.at(row);
    return { columns: { doubled } };
  },
});
`;

/** One line of one resident, and as many shards for it. */
async function working(shards: number, listen: Record<string, unknown>): Promise<{ server: Served; client: PodlineClient }> {
  const dir = folder();
  mkdirSync(join(dir, 'results'));
  writeFileSync(join(dir, 'double.mjs'), stage);
  writeFileSync(
    join(dir, 'pipeline.yaml'),
    stringify({
      apiVersion: 'podline.dev/v1alpha1',
      kind: 'Pipeline',
      metadata: { name: 'double' },
      spec: {
        input: { format: 'ndjson', columns: { value: 'int32' } },
        slots: 1,
        residents: 1,
        stages: [{ name: 'double', uses: './double.mjs', workers: 1 }],
        result: { dir: './results', format: 'ndjson' },
      },
    }),
  );
  const server = await serving(
    dir,
    stringify({
      listen,
      driver: 'local',
      pipelines: [{ manifest: 'pipeline.yaml', lines: 1 }],
      allowed: { results: { roots: [join(dir, 'results')] } },
    }),
  );
  const client = PodlineClient.connect(server.url, server.operator);
  onTestFinished(() => client.close());
  await client.submitAll(
    'double',
    Array.from({ length: shards }, (_, value) => ({ key: String(value), source: { inline: [{ value }], format: 'ndjson' } })),
  );
  return { server, client };
}

/** Stands before a coordinator, and loses the first answer to each completion when it has come. */
async function losesAnswers(port: number, coordinatorPort: number): Promise<{ lost: () => number }> {
  const told = new Set<string>();
  const proxy = createServer((request, response) => {
    void (async () => {
      const { url = '', method = 'GET', headers } = request;
      const body = await text(request);
      const answer = await fetch(`http://127.0.0.1:${String(coordinatorPort)}${url}`, {
        method,
        headers: {
          authorization: headers.authorization ?? '',
          ...(body === '' ? {} : { 'content-type': headers['content-type'] ?? '' }),
        },
        ...(body === '' ? {} : { body }),
      });
      const said = await answer.text();
      const shardId = url.endsWith('/complete') ? (JSON.parse(body) as { shardId: string }).shardId : undefined;
      if (shardId === undefined || told.has(shardId)) {
        response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(said);
        return;
      }
      told.add(shardId);
      response.destroy();
    })().catch(() => response.destroy());
  }).listen(port, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    proxy.close();
    proxy.closeAllConnections();
  });
  return { lost: () => told.size };
}

it('a line of one resident is leased its next shard with the completion of the one before', async () => {
  const shards = 30;
  const { server, client } = await working(shards, { port: 0 });
  await until(async () => (await client.progress('double')).completed === shards);

  const answer = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.operator}` } });
  const metrics = await answer.text();
  const answered = (what: string): number =>
    metrics
      .split('\n')
      .filter((row) => row.startsWith('podline_api_request_seconds_count') && row.includes(`/${what}"`) && row.includes('2xx'))
      .reduce((sum, row) => sum + Number(row.split(' ').at(-1)), 0);
  console.log(`${String(answered('complete'))} completions, ${String(answered('leases'))} other requests for leases`);
  expect(answered('complete')).toBe(shards);
  // The first one; and while there was nothing yet, some that have waited in vain.
  expect(answered('leases')).toBeLessThan(shards / 5);
  expect(answered('leases')).toBeGreaterThan(0);
}, 120_000);

it('leases whose answer was lost come again with the completion that is told again; none has to run out', async () => {
  const shards = 4;
  const [port = 0, coordinatorPort = 0] = await freePorts(2);
  const proxy = await losesAnswers(port, coordinatorPort);
  const { server, client } = await working(shards, {
    port: coordinatorPort,
    advertise: `http://127.0.0.1:${String(port)}`,
  });
  await until(async () => (await client.progress('double')).completed === shards);
  expect(proxy.lost()).toBe(shards);
  const { shards: views } = await client.list('double');
  const ends = await Promise.all(views.map(async ({ id }) => client.get(id)));
  // The first came with a request of its own.
  expect(ends.map(({ epoch }) => epoch).sort()).toEqual([1, 2, 2, 2]);
  expect(ends.map(({ attempts, report }) => [attempts, report?.stages[0]?.runs])).toEqual(ends.map(() => [0, 1]));
  expect(server.log()).not.toContain('a lease ended');
}, 120_000);
