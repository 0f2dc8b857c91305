import { trace as traces } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { describe, expect, it, onTestFinished } from 'vitest';
import { traceOf } from '../../../runtime/contracts/trace.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { openTracing, tracingOf, tracingVariables } from '../../../runtime/telemetry/tracing.js';
import { apiBench, completeOne, failOne, leaseOne } from '../../support/api.js';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
const tracestate = 'vendor=1,other=two';
const source = { uri: '/data/a', format: 'csv' } as const;

function recording() {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  return { exporter, tracing: tracingOf(provider) };
}

describe('variables of traces', () => {
  it('are handed on to agents, but for what is the process’s own and what is secret', () => {
    const environment = {
      OTEL_TRACES_SAMPLER: 'always_on',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=secret',
      OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: '/etc/key',
      OTEL_EXPORTER_OTLP_CERTIFICATE: '/etc/ca',
      OTEL_SERVICE_NAME: 'mine',
      OTEL_RESOURCE_ATTRIBUTES: 'pod=mine',
      HOME: '/root',
    };
    expect(Object.entries(tracingVariables(environment))).toEqual([
      ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://collector:4318'],
      ['OTEL_TRACES_SAMPLER', 'always_on'],
    ]);
  });
});

describe('trace context', () => {
  it('is read from headers as the standard has it', () => {
    expect(traceOf(traceparent, tracestate)).toEqual({ traceparent, tracestate });
    expect(traceOf(` ${traceparent} `)).toEqual({ traceparent });
    // A version that is not known yet is read as far as this one goes.
    expect(traceOf(`01-${traceId}-b7ad6b7169203331-01-more`)).toEqual({ traceparent });
    expect(traceOf(traceparent, 'x'.repeat(513))).toEqual({ traceparent });
    const none = [
      undefined,
      '',
      [traceparent],
      `ff-${traceId}-b7ad6b7169203331-01`,
      `00-${traceId}-b7ad6b7169203331-01-more`,
      `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
      `00-${traceId}-0000000000000000-01`,
      traceparent.toUpperCase(),
      `${traceparent}${'x'.repeat(1_000)}`,
    ];
    expect(none.map((given) => traceOf(given))).toEqual(none.map(() => undefined));
  });

  it('is carried on as it came where nobody traces, from a header to the line', async () => {
    const bench = await apiBench();
    await bench.call('POST', '/v1/pipelines/flights/shards', { key: 'a', source }, { traceparent, tracestate });
    expect((await bench.client.getByKey('flights', 'a')).trace).toEqual({ traceparent, tracestate });
    await bench.coordinator.lineHello('line-0', { pipeline: 'flights', instance: 'a', node: 'here', slots: 1, residents: [] });
    const [lease] = (await bench.coordinator.lease('line-0', { max: 1, waitMs: 0, residents: [] })).leases;
    expect(lease?.trace).toEqual({ traceparent, tracestate });
  });

  it('of a line of NDJSON goes before that of the request, and what is none is an error of its line', async () => {
    const bench = await apiBench();
    const own = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-00`;
    const lines = [
      { key: 'a', source },
      { key: 'b', source, trace: { traceparent: own } },
      { key: 'c', source, trace: { traceparent: 'none' } },
      { key: 'd', source, trace: { traceparent: `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00` } },
    ];
    const answer = await bench.call(
      'POST',
      '/v1/pipelines/flights/shards',
      lines.map((line) => JSON.stringify(line)).join('\n'),
      { 'content-type': 'application/x-ndjson', traceparent },
    );
    const outcomes = answer.text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { outcome: string }).outcome);
    expect(outcomes).toEqual(['accepted', 'accepted', 'rejected', 'accepted']);
    const traceOfKey = async (key: string): Promise<unknown> => (await bench.client.getByKey('flights', key)).trace?.traceparent;
    expect(await Promise.all(['a', 'b', 'd'].map(traceOfKey))).toEqual([traceparent, own, undefined]);
  });

  it('stands in the events of a shard’s beginning and end, and a header that is none harms nothing', async () => {
    const bench = await apiBench();
    await bench.call('POST', '/v1/requests', { task: 'flights', payload: 'x', key: 'a' }, { traceparent });
    const completed = await completeOne(bench.coordinator);
    await bench.call('POST', '/v1/requests', { task: 'flights', payload: 'x', key: 'b' }, { traceparent });
    const failed = await failOne(bench.coordinator);
    const { status } = await bench.call(
      'POST',
      '/v1/requests',
      { task: 'flights', payload: 'x', key: 'c' },
      { traceparent: 'x' },
    );
    expect(status).toBe(200);
    const events = await bench.journal.events(0, 100);
    const traced = events.filter(({ data }) => 'trace' in data).map(({ type, shardId }) => [type, shardId]);
    expect(traced).toEqual([
      ['shard.submitted', completed],
      ['shard.completed', completed],
      ['shard.submitted', failed],
      ['shard.failed', failed],
    ]);
    expect(bench.logged.find(({ shardId, code }) => shardId === failed && code === 'PDL_STAGE_OUTPUT')).toMatchObject({
      traceId,
    });
  });
});

describe('spans', () => {
  it('a submission is one under the trace that it brought, and its shard goes on under that span', async () => {
    const { exporter, tracing } = recording();
    const bench = await apiBench({ tracing });
    await bench.call('POST', '/v1/pipelines/flights/shards', { key: 'a', source }, { traceparent, tracestate });
    await bench.call('POST', '/v1/pipelines/flights/shards', { key: 'a', source }, { traceparent });
    const [first, second] = exporter.getFinishedSpans();
    expect(first).toMatchObject({
      name: 'podline.request',
      parentSpanContext: { traceId, spanId: 'b7ad6b7169203331' },
      attributes: { 'podline.pipeline': 'flights', 'podline.shard.key': 'a', 'podline.outcome': 'accepted' },
    });
    expect(second?.attributes['podline.outcome']).toBe('duplicate');
    const { shardId } = await leaseOne(bench.coordinator);
    expect((await bench.client.get(shardId)).trace).toEqual({
      traceparent: `00-${traceId}-${first?.spanContext().spanId ?? ''}-01`,
      tracestate,
    });
  });

  it('a trace begins with a submission that brings none', async () => {
    const { exporter, tracing } = recording();
    const bench = await apiBench({ tracing });
    await bench.client.submit('flights', { key: 'a', source });
    const [span] = exporter.getFinishedSpans();
    expect(span?.parentSpanContext).toBeUndefined();
    expect((await bench.client.getByKey('flights', 'a')).trace?.traceparent).toContain(span?.spanContext().traceId);
  });

  it('is told once, with why it failed', () => {
    const { exporter, tracing } = recording();
    const span = tracing.begin('stage', traceOf(traceparent), { stage: 'clean' });
    span.end({ outcome: 'failed' }, { code: 'PDL_STAGE_FAILED', message: 'the wheel came off' });
    span.end({ outcome: 'committed' });
    expect(exporter.getFinishedSpans()).toMatchObject([
      {
        name: 'podline.stage',
        attributes: { 'podline.stage': 'clean', 'podline.outcome': 'failed', 'podline.error.code': 'PDL_STAGE_FAILED' },
        status: { code: 2, message: 'the wheel came off' },
      },
    ]);
  });

  it('go to a provider that somebody has registered before', async () => {
    const exporter = new InMemorySpanExporter();
    traces.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
    onTestFinished(() => {
      traces.disable();
    });
    const { tracing, close } = await openTracing('test', silentLogger);
    tracing.begin('load', traceOf(traceparent), {}).end();
    await close();
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(['podline.load']);
  });

  it('are nobody’s where no exporter is configured: contexts go on as they are', async () => {
    const { tracing, close } = await openTracing('test', silentLogger);
    expect(tracing.begin('load', traceOf(traceparent), {}).trace).toEqual({ traceparent });
    await close();
  });
});
