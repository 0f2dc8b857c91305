/**
 * The one home of OpenTelemetry: spans by its API, handed on by whatever SDK is there.
 *
 * An SDK is there when somebody has registered one before (`node --import …`), or when `OTEL_EXPORTER_OTLP_ENDPOINT` says where spans go:
 * then its packages, which are optional, are loaded, and read the rest of the `OTEL_…` variables themselves. Without either nothing is
 * loaded, and what requests bring is carried on to stages as it came.
 */
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  createTraceState,
  trace as traces,
  type Attributes,
  type Context,
  type Span as ApiSpan,
  type TracerProvider,
} from '@opentelemetry/api';
import { noTracing, type Span, type SpanFields, type SpanName, type Tracing } from '../contracts/telemetry.js';
import type { TraceContext } from '../contracts/trace.js';
import type { Logger } from '../platform/logger.js';

export interface OpenTracing {
  tracing: Tracing;
  /** Sends what was not sent yet, within a bound. Idempotent. */
  close(): Promise<void>;
}

const kinds: Record<SpanName, SpanKind> = {
  request: SpanKind.SERVER,
  lease: SpanKind.CONSUMER,
  load: SpanKind.INTERNAL,
  stage: SpanKind.INTERNAL,
  deliver: SpanKind.INTERNAL,
};

/** Spans of a provider of the API's. */
export function tracingOf(provider: TracerProvider): Tracing {
  const tracer = provider.getTracer('podline');
  return {
    begin: (name, parent, fields) =>
      wrapped(tracer.startSpan(`podline.${name}`, { kind: kinds[name], attributes: attributesOf(fields) }, contextOf(parent))),
  };
}

function wrapped(span: ApiSpan): Span {
  let isEnded = false;
  return {
    trace: traceOfSpan(span),
    end: (fields = {}, error) => {
      if (isEnded) return;
      isEnded = true;
      span.setAttributes(attributesOf(fields));
      if (error !== undefined) {
        span.setAttribute('podline.error.code', error.code);
        span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      }
      span.end();
    },
  };
}

function contextOf(parent: TraceContext | undefined): Context {
  if (parent === undefined) return ROOT_CONTEXT;
  const [, traceId = '', spanId = '', flags = ''] = parent.traceparent.split('-');
  const { tracestate } = parent;
  return traces.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(tracestate === undefined ? {} : { traceState: createTraceState(tracestate) }),
  });
}

function traceOfSpan(span: ApiSpan): TraceContext | undefined {
  const context = span.spanContext();
  if (!traces.isSpanContextValid(context)) return undefined;
  const { traceId, spanId, traceFlags, traceState } = context;
  const tracestate = traceState?.serialize();
  return {
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
    ...(tracestate === undefined || tracestate === '' ? {} : { tracestate }),
  };
}

const attributesOf = (fields: SpanFields): Attributes =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [`podline.${name}`, value]));

const endpoints = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] as const;
const closeMs = 5_000;

/** Never throws: a trace is no reason not to work. `service`: what spans are said to come from, unless `OTEL_SERVICE_NAME` says. */
export async function openTracing(service: string, logger: Logger): Promise<OpenTracing> {
  const none = { tracing: noTracing, close: async () => undefined };
  const provider = traces.getTracerProvider();
  // Registered by somebody else, who also closes it.
  if (isRegistered(provider)) return { ...none, tracing: tracingOf(provider) };
  const isOff = process.env['OTEL_SDK_DISABLED'] === 'true' || process.env['OTEL_TRACES_EXPORTER'] === 'none';
  if (isOff || endpoints.every((name) => (process.env[name] ?? '') === '')) return none;
  try {
    return await openExporter(service);
  } catch (thrown) {
    logger.error(
      { err: thrown instanceof Error ? thrown.message : String(thrown) },
      'no spans are sent: the packages for it cannot be loaded; run `npm install @opentelemetry/sdk-trace-base @opentelemetry/exporter-trace-otlp-http @opentelemetry/resources`',
    );
    return none;
  }
}

/** What is a process's own, and what is secret or a file of its machine. */
const notHandedOn = /^OTEL_(SERVICE_NAME|RESOURCE_ATTRIBUTES|.*_(HEADERS|CERTIFICATE|CLIENT_KEY))$/;

/** The `OTEL_…` variables by which agents elsewhere send their spans where ours go. */
export const tracingVariables = (environment: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(
    Object.entries(environment)
      .flatMap(([name, value]): [string, string][] =>
        value !== undefined && name.startsWith('OTEL_') && !notHandedOn.test(name) ? [[name, value]] : [],
      )
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  );

/** Only an SDK gives a span an id; one that is never ended is never told. */
const isRegistered = (provider: TracerProvider): boolean =>
  traces.isSpanContextValid(provider.getTracer('podline').startSpan('podline.probe', {}, ROOT_CONTEXT).spanContext());

async function openExporter(service: string): Promise<OpenTracing> {
  const [{ BasicTracerProvider, BatchSpanProcessor }, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ]);
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': process.env['OTEL_SERVICE_NAME'] ?? service }),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  let closed: Promise<void> | undefined;
  return {
    tracing: tracingOf(provider),
    close: () => (closed ??= within(closeMs, provider.shutdown())),
  };
}

/** Whoever takes spans may be gone. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([work.catch(() => undefined), late]);
  clearTimeout(timer);
}
