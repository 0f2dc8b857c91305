/**
 * Trace context of the W3C, as requests bring it and stages are given it: to which trace a shard belongs. It is somebody else's text, so it
 * is checked and bounded wherever it comes in, and what does not fit is no context and never an error of the request.
 */
import { z } from 'zod';

const stateCharsMax = 512;
const traceparent = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

export const traceSchema = z
  .strictObject({
    traceparent: z.string().regex(traceparent, 'must be 00-<trace id>-<span id>-<flags>, in lower-case hexadecimal digits'),
    tracestate: z
      .string()
      .max(stateCharsMax)
      .regex(/^[ -~]*$/, 'must be printable ASCII')
      .optional()
      .describe('What makers of traces keep for themselves.'),
  })
  .describe('The trace that it belongs to, as W3C Trace Context has it; ids of zeros count as none.');
export type TraceContext = z.infer<typeof traceSchema>;

/** From headers, of whatever version of the standard; undefined where there is none that can be used. */
export function traceOf(given: unknown, state?: unknown): TraceContext | undefined {
  if (typeof given !== 'string' || given.length > stateCharsMax) return undefined;
  const [version = '', traceId = '', spanId = '', flags = '', ...rest] = given.trim().split('-');
  if (!/^[0-9a-f]{2}$/.test(version) || version === 'ff' || (version === '00' && rest.length > 0)) return undefined;
  const known = `00-${traceId}-${spanId}-${flags}`;
  if (!traceparent.test(known)) return undefined;
  const fits = typeof state === 'string' && traceSchema.shape.tracestate.safeParse(state).success && state.trim() !== '';
  return usableTrace({ traceparent: known, ...(fits ? { tracestate: state.trim() } : {}) });
}

/** Undefined where an id is all zeros, which the standard keeps for what is invalid. */
export function usableTrace(trace: TraceContext | undefined): TraceContext | undefined {
  if (trace === undefined) return undefined;
  const [, traceId = '', spanId = ''] = trace.traceparent.split('-');
  return /[1-9a-f]/.test(traceId) && /[1-9a-f]/.test(spanId) ? trace : undefined;
}

/** What of an event's data, which is open, is a trace. */
export const traceIn = (data: Record<string, unknown>): TraceContext | undefined => traceSchema.safeParse(data['trace']).data;

/** As headers of HTTP, Kafka and RabbitMQ. */
export const traceHeaders = (trace: TraceContext | undefined): Record<string, string> =>
  trace === undefined
    ? {}
    : { traceparent: trace.traceparent, ...(trace.tracestate === undefined ? {} : { tracestate: trace.tracestate }) };

/** For lines of a log: by it they are found from a trace. */
export const traceFields = (trace: TraceContext | undefined): { traceId?: string } =>
  trace === undefined ? {} : { traceId: trace.traceparent.slice(3, 35) };
