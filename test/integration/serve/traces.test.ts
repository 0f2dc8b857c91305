/** A trace from the request of a program to the program that a stage runs, as a collector of spans sees it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { PodlineClient } from '../../../runtime/api/client.js';
import { readServerConfig } from '../../../runtime/config/server-config.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { serve } from '../../../runtime/serve/serve.js';
import { folder } from '../../support/journal.js';
import { until } from '../../support/until.js';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const caller = 'b7ad6b7169203331';

interface Sent {
  traceId: string;
  spanId: string;
  parentSpanId: string;
  name: string;
  service: string;
  stage: string | undefined;
}
interface Attribute {
  key: string;
  value: { stringValue?: string };
}
interface Batch {
  resourceSpans: {
    resource: { attributes: Attribute[] };
    scopeSpans: { spans: (Omit<Sent, 'service' | 'stage'> & { attributes: Attribute[] })[] }[];
  }[];
}
const textOf = (attributes: readonly Attribute[], name: string): string | undefined =>
  attributes.find(({ key }) => key === name)?.value.stringValue;

/** Takes spans as OTLP in JSON. */
async function collector(): Promise<{ url: string; spans: Sent[] }> {
  const spans: Sent[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      for (const { resource, scopeSpans } of (JSON.parse(text) as Batch).resourceSpans)
        for (const { attributes, ...span } of scopeSpans.flatMap((scope) => scope.spans))
          spans.push({
            ...span,
            service: textOf(resource.attributes, 'service.name') ?? '',
            stage: textOf(attributes, 'podline.stage'),
          });
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, spans };
}

const manifest = `
apiVersion: podline.dev/v1alpha1
kind: Pipeline
metadata: { name: traced }
spec:
  input: { format: bytes }
  stages:
    - { name: own, uses: ./own.ts }
    - name: program
      command: [sh, -c, '{ cat "$PODLINE_INPUT_DIR"/own*; printf " %s %s" "$TRACEPARENT" "$PODLINE_TRACEPARENT"; } > "$PODLINE_OUTPUT_DIR/out"']
      after: [own]
      output: bytes
  result: { dir: ./results }
`;
const stage = `
import { defineStage } from 'podline';
export default defineStage({ bytes: (_chunk: Uint8Array, ctx) => Buffer.from(ctx.trace?.traceparent ?? 'none') });
`;

it('goes from a header through coordinator and line into stage and program', async () => {
  const { url, spans } = await collector();
  const settings = { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_BSP_SCHEDULE_DELAY: '50' };
  Object.assign(process.env, settings);
  onTestFinished(() => {
    for (const name of Object.keys(settings)) Reflect.deleteProperty(process.env, name);
  });
  const dir = folder();
  writeFileSync(join(dir, 'pipeline.yaml'), manifest);
  writeFileSync(join(dir, 'own.ts'), stage);
  writeFileSync(
    join(dir, 'server.yaml'),
    `driver: local\nlisten: { port: 0 }\npipelines: [{ manifest: pipeline.yaml, lines: 1 }]\nallowed: { results: { roots: ['${dir}'] } }\n`,
  );
  const served = await serve(await readServerConfig(join(dir, 'server.yaml'), {}, dir), silentLogger);
  onTestFinished(() => served.close(), 30_000);
  const client = PodlineClient.local(served.coordinator);
  const trace = { traceparent: `00-${traceId}-${caller}-01` };
  const answer = await client.request({ task: 'traced', payload: 'x', key: 'a', trace });
  const shard = await client.waitFor('id' in answer ? answer.id : '');
  expect(shard.state).toBe('completed');
  await until(() =>
    ['request', 'lease', 'load', 'deliver'].every((name) => spans.some((span) => span.name === `podline.${name}`)),
  );
  await until(() => spans.filter(({ name }) => name === 'podline.stage').length === 2);

  expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
  const one = (name: string, of?: string): Sent =>
    spans.find((span) => span.name === `podline.${name}` && span.stage === of) ?? expect.fail(`there is no span ${name}`);
  const [request, lease] = [one('request'), one('lease')];
  expect([request.parentSpanId, lease.parentSpanId]).toEqual([caller, request.spanId]);
  expect([request.service, lease.service]).toEqual(['podline-coordinator', 'podline-agent']);
  for (const span of [one('load'), one('stage', 'own'), one('stage', 'program'), one('deliver')])
    expect(span.parentSpanId).toBe(lease.spanId);
  const file = shard.result?.files[0]?.name ?? '';
  const told = (name: string): string => `00-${traceId}-${one('stage', name).spanId}-01`;
  expect(readFileSync(join(shard.result?.dir ?? '', file), 'utf8')).toBe(
    [told('own'), told('program'), told('program')].join(' '),
  );
});
