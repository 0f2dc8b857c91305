/** A message → the submission that it is. Pure. Two forms are taken: a request in simple words, and a submission as the API takes it. */
import { z } from 'zod';
import { toSubmission } from '../api/simple-request.js';
import { PodlineError } from '../contracts/errors.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { TraceContext } from '../contracts/trace.js';
import { requestSchema, submissionSchema, type SimpleRequest, type Submission } from '../contracts/shard.js';

/** A message as it came. */
export interface Incoming {
  body: Uint8Array;
  /** Where it is, for people: `pendingJobs[3]@1234`. */
  place: string;
  /** What the broker knows it by: its key where it has none of its own. */
  key?: string | undefined;
  /** From its headers: the trace of a request that names none. */
  trace?: TraceContext | undefined;
}

export type Request =
  | { form: 'request'; pipeline: string; request: SimpleRequest }
  | { form: 'submission'; pipeline: string; submission: Submission };

const addressedSchema = z.strictObject({
  ...submissionSchema.shape,
  key: submissionSchema.shape.key.optional(),
  pipeline: z.string().min(1).max(63).optional(),
});

/** Throws PDL_REQUEST_INVALID, naming what is wrong or missing. */
export function readRequest({ body, place, key, trace }: Incoming, fallbackPipeline: string | undefined): Request {
  const raw = parseJson(body, place);
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw invalid(place, 'it is no JSON object');
  const known = { ...(key === undefined || key === '' ? {} : { key }), ...(trace === undefined ? {} : { trace }) };
  if (!('source' in raw)) {
    const request = check(
      requestSchema,
      'task' in raw || fallbackPipeline === undefined ? raw : { task: fallbackPipeline, ...raw },
      place,
    );
    return { form: 'request', pipeline: request.task, request: { ...known, ...request } };
  }
  const { pipeline = fallbackPipeline, ...rest } = check(addressedSchema, raw, place);
  if (pipeline === undefined) throw invalid(place, 'pipeline: it names none, and the connector has none for such');
  return { form: 'submission', pipeline, submission: check(submissionSchema, { ...known, ...rest }, place) };
}

/** What the journal is given; simple words need the pipeline's own input format. */
export const submissionOf = (read: Request, pipeline: Pick<Pipeline, 'spec'>): Submission =>
  read.form === 'submission' ? read.submission : toSubmission(read.request, pipeline);

function parseJson(body: Uint8Array, place: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (thrown) {
    throw invalid(place, `it is not JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

function check<T>(schema: z.ZodType<T>, raw: unknown, place: string): T {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(
    place,
    `${issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `}${issue?.message ?? 'it does not fit'}`,
  );
}

const invalid = (place: string, why: string): PodlineError =>
  new PodlineError('PDL_REQUEST_INVALID', `the message at ${place} is no request: ${why}`, {
    place,
    hint: 'A request is { "task": pipeline, "payload": data, "resultDir": folder, "key": name }; docs/connectors.md shows more.',
  });
