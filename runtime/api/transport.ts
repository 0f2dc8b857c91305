/** The two ways from a client to a coordinator: in process, and over HTTP. Same methods, same results, same errors. */
import type { z } from 'zod';
import { PodlineError, isElsewhere } from '../contracts/errors.js';
import { eventSchema, type PodlineEvent } from '../contracts/events.js';
import { limits } from '../contracts/limits.js';
import { submitAnswerSchema, type Submission, type SubmitAnswer, type requestSchema } from '../contracts/shard.js';
import type { EventQuery } from '../contracts/views.js';
import { handle, parseOrThrow, type Coordinator } from './handlers.js';
import { HttpCaller, errorOf, unreachable, type CallerOptions } from './http-caller.js';
import { openResultFile } from './result-files.js';
import { routes, type RouteInput, type RouteName, type RouteResponse } from './routes.js';
import { answerGroups, ndjsonGroups } from './submit-stream.js';

export interface Transport {
  call<N extends RouteName>(name: N, input: RouteInput<N>, signal?: AbortSignal): Promise<RouteResponse<N>>;
  submitStream(
    pipeline: string,
    submissions: AsyncIterable<SubmissionInput> | Iterable<SubmissionInput>,
  ): AsyncGenerator<SubmitAnswer, void, undefined>;
  events(query: EventQuery): AsyncGenerator<PodlineEvent, void, undefined>;
  resultFile(id: string, file: string, range: FileRange | undefined): AsyncGenerator<Uint8Array, void, undefined>;
  isAlive(): Promise<boolean>;
  close(): Promise<void>;
}

/** Bytes [from, to). */
export interface FileRange {
  from: number;
  to?: number | undefined;
}

/** As a program writes it: what has a default may be left out. */
export type RequestInput = z.input<typeof requestSchema>;
export type SubmissionInput = Pick<Submission, 'key' | 'source'> & Partial<Omit<Submission, 'key' | 'source'>>;

export class LocalTransport implements Transport {
  constructor(private readonly coordinator: Coordinator) {}

  call<N extends RouteName>(name: N, input: RouteInput<N>, signal?: AbortSignal): Promise<RouteResponse<N>> {
    return handle(this.coordinator, name, { params: input.params ?? {}, query: input.query ?? {}, body: input.body }, signal);
  }

  async *submitStream(
    pipeline: string,
    submissions: AsyncIterable<SubmissionInput> | Iterable<SubmissionInput>,
  ): AsyncGenerator<SubmitAnswer, void, undefined> {
    for await (const answers of answerGroups(this.coordinator, pipeline, inGroups(submissions, limits.submitGroupMax)))
      yield* answers;
  }

  events(query: EventQuery): AsyncGenerator<PodlineEvent, void, undefined> {
    return this.coordinator.events(query);
  }

  async *resultFile(id: string, file: string, range: FileRange | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    const opened = await openResultFile(await this.coordinator.get(id), file, range);
    if (opened === undefined) throw beyond(file);
    yield* opened.stream as AsyncIterable<Uint8Array>;
  }

  async isAlive(): Promise<boolean> {
    return true;
  }

  async close(): Promise<void> {
    // The coordinator is its owner's.
  }
}

async function* inGroups(
  items: AsyncIterable<unknown> | Iterable<unknown>,
  groupMax: number,
): AsyncGenerator<unknown[], void, undefined> {
  let group: unknown[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length >= groupMax) {
      yield group;
      group = [];
    }
  }
  if (group.length > 0) yield group;
}

export class HttpTransport implements Transport {
  readonly #caller: HttpCaller;

  constructor(private readonly options: CallerOptions) {
    this.#caller = new HttpCaller(options);
  }

  async call<N extends RouteName>(name: N, input: RouteInput<N>, signal?: AbortSignal): Promise<RouteResponse<N>> {
    const { method, path, response } = routes[name];
    const params = (input.params ?? {}) as Record<string, string>;
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries((input.query ?? {}) as Record<string, string | number | undefined>))
      if (value !== undefined) query.set(key, String(value));
    const filled = path.replaceAll(/\{(\w+)\}/g, (_whole, param: string) => encodeURIComponent(params[param] ?? ''));
    return this.#caller.json(
      { method, path: query.size === 0 ? filled : `${filled}?${query.toString()}`, body: input.body, signal },
      response as unknown as z.ZodType<RouteResponse<N>>,
    );
  }

  async *submitStream(
    pipeline: string,
    submissions: AsyncIterable<SubmissionInput> | Iterable<SubmissionInput>,
  ): AsyncGenerator<SubmitAnswer, void, undefined> {
    const path = `/v1/pipelines/${encodeURIComponent(pipeline)}/shards`;
    const stop = new AbortController();
    let failure: { thrown: unknown } | undefined;
    const lines = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        for await (const group of inGroups(submissions, 64))
          yield Buffer.from(group.map((submission) => `${JSON.stringify(submission)}\n`).join(''));
      } catch (thrown) {
        failure = { thrown };
        throw thrown;
      }
    };
    try {
      const response = await this.#caller.open({ method: 'POST', path, lasting: true }, stop.signal, {
        body: lines(),
        type: 'application/x-ndjson',
      });
      for await (const group of ndjsonGroups(response.body, limits.submitGroupMax, limits.requestBytesMax)) {
        for (const line of group) yield parseOrThrow(submitAnswerSchema, line, 'answer');
      }
    } catch (thrown) {
      // What the submissions themselves threw goes before what the broken request says of it.
      if (failure !== undefined) throw PodlineError.from(failure.thrown);
      throw thrown instanceof PodlineError ? thrown : unreachable(this.#caller.url, path, thrown);
    } finally {
      stop.abort();
    }
  }

  /** Goes on behind the last event after a break, a bounded number of times in a row. */
  async *events(query: EventQuery): AsyncGenerator<PodlineEvent, void, undefined> {
    const { signal } = query;
    let { after } = query;
    const triesMax = this.options.triesMax ?? limits.callTriesMax;
    const ended = (): boolean => signal?.aborted === true;
    for (let tries = 1; !ended(); tries += 1) {
      const search = new URLSearchParams();
      if (query.pipeline !== undefined) search.set('pipeline', query.pipeline);
      if (query.shardId !== undefined) search.set('shard', query.shardId);
      const path = `/v1/events?${search.toString()}`;
      try {
        const response = await this.#caller.open(
          { method: 'GET', lasting: true, path },
          signal,
          undefined,
          after === undefined ? {} : { 'last-event-id': String(after) },
        );
        for await (const event of readSse(response.body)) {
          tries = 0;
          after = event.id;
          yield event;
        }
      } catch (thrown) {
        if (ended()) return;
        if (thrown instanceof PodlineError && !isElsewhere(thrown)) throw thrown;
        if (tries >= triesMax) throw thrown instanceof PodlineError ? thrown : unreachable(this.#caller.url, path, thrown);
      }
      if (tries >= triesMax) throw errorOf(503, 'the event stream ends again and again', path);
      await this.#caller.pause(Math.max(1, tries), signal);
    }
  }

  /** One try for the head; a body that breaks off throws PDL_UNREACHABLE, and may be gone on with by its range. */
  async *resultFile(id: string, file: string, range: FileRange | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    const path = `/v1/shards/${encodeURIComponent(id)}/result/files/${encodeURIComponent(file)}`;
    const stop = new AbortController();
    const last = range?.to === undefined ? '' : String(range.to - 1);
    try {
      const headers: Record<string, string> = range === undefined ? {} : { range: `bytes=${String(range.from)}-${last}` };
      const response = await this.#caller.open({ method: 'GET', path, lasting: true }, stop.signal, undefined, headers);
      yield* response.body as AsyncIterable<Uint8Array>;
    } catch (thrown) {
      throw thrown instanceof PodlineError ? thrown : unreachable(this.#caller.url, path, thrown);
    } finally {
      stop.abort();
    }
  }

  async isAlive(): Promise<boolean> {
    try {
      await this.#caller.text({ method: 'GET', path: '/v1/events/last', triesMax: 1 });
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#caller.close();
  }
}

const beyond = (file: string): PodlineError =>
  new PodlineError('PDL_REQUEST_INVALID', `the range lies beyond the end of ${file}`);

/** The longest event that is read: as long as the longest request, of which it may tell. */
const sseEventBytesMax = limits.requestBytesMax;

/** `text/event-stream` → events; comments and other fields are passed over. */
export async function* readSse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<PodlineEvent, void, undefined> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let at = text.indexOf('\n\n'); at >= 0; at = text.indexOf('\n\n', from)) {
      const data = text
        .slice(from, at)
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).trimStart())
        .join('\n');
      from = at + 2;
      if (data !== '') yield parseOrThrow(eventSchema, JSON.parse(data), 'event');
    }
    text = text.slice(from);
    if (text.length > sseEventBytesMax)
      throw new PodlineError('PDL_PROTOCOL', `an event is longer than ${String(sseEventBytesMax)} bytes`);
  }
}
