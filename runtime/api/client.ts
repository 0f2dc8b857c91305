/**
 * The client of a coordinator: one class, in process (`PodlineClient.local`) and over HTTP (`PodlineClient.connect`),
 * with the same methods, results and errors.
 *
 * Errors are `PodlineError`s with the code that the coordinator gave. Calls over HTTP are tried again a bounded number of
 * times when nobody answers; a submission that was accepted although its answer was lost is then told as a duplicate.
 */
import { PodlineError } from '../contracts/errors.js';
import type { ConnectorView } from '../contracts/connectors.js';
import type { PodlineEvent } from '../contracts/events.js';
import { limits } from '../contracts/limits.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { Replay, Replayed, Shard, ShardResult, SubmitAnswer } from '../contracts/shard.js';
import type {
  Counts,
  EventQuery,
  Explanation,
  LineView,
  ListRequest,
  PipelineView,
  RemovedPipeline,
  ShardPage,
} from '../contracts/views.js';
import type { Coordinator } from './handlers.js';
import type { CallerOptions } from './http-caller.js';
import type { RouteInput } from './routes.js';
import { HttpTransport, LocalTransport, type RequestInput, type SubmissionInput, type Transport } from './transport.js';

export type { RequestInput, SubmissionInput } from './transport.js';
export type { EventQuery, ListRequest } from '../contracts/views.js';

const isEnded = (shard: Shard): boolean => shard.state === 'completed' || shard.state === 'failed' || shard.state === 'cancelled';

export class PodlineClient {
  readonly #transport: Transport;

  private constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** In process. The coordinator stays its owner's: `close` of the client leaves it open. */
  static local(coordinator: Coordinator): PodlineClient {
    return new PodlineClient(new LocalTransport(coordinator));
  }

  /** Over HTTP; connects with the first call. */
  static connect(url: string, token: string, options: Omit<CallerOptions, 'url' | 'token'> = {}): PodlineClient {
    return new PodlineClient(new HttpTransport({ ...options, url, token }));
  }

  async pipelines(): Promise<PipelineView[]> {
    return (await this.#transport.call('pipelines', {})).pipelines;
  }

  /** Throws PDL_PIPELINE_UNKNOWN. */
  pipeline(name: string): Promise<PipelineView> {
    return this.#transport.call('pipeline', { params: { name } });
  }

  /** Takes a resolved pipeline in; its revision counts up if it changed. */
  applyPipeline(pipeline: Pipeline): Promise<PipelineView & { changed: boolean }> {
    return this.#transport.call('applyPipeline', {
      params: { name: pipeline.name },
      body: pipeline as unknown as RouteInput<'applyPipeline'>['body'],
    });
  }

  /** With its shards and lines. Throws PDL_PIPELINE_BUSY while shards of it wait or run, unless they are to be cancelled. */
  deletePipeline(name: string, options: { cancel?: boolean } = {}): Promise<RemovedPipeline> {
    return this.#transport.call('deletePipeline', {
      params: { name },
      query: { cancel: options.cancel === true ? 'true' : 'false' },
    });
  }

  /** How the connectors to brokers and folders are doing. */
  async connectors(): Promise<ConnectorView[]> {
    return (await this.#transport.call('connectors', {})).connectors;
  }

  /** Nothing of it is leased until it is resumed; what runs goes on to its end. */
  async pause(name: string): Promise<{ changed: boolean }> {
    return this.#transport.call('pause', { params: { name } });
  }

  async resume(name: string): Promise<{ changed: boolean }> {
    return this.#transport.call('resume', { params: { name } });
  }

  /** How many shards are in which state. */
  progress(name: string): Promise<Counts> {
    return this.#transport.call('progress', { params: { name } });
  }

  /** One shard. Resolves when it is durable, long before it is worked on. Throws what it is rejected with. */
  submit(name: string, submission: SubmissionInput): Promise<SubmitAnswer> {
    return this.#transport.call('submit', { params: { name }, body: submission });
  }

  /** In simple words: a task (the name of a pipeline), a payload and a result directory. Throws what it is rejected with. */
  request(request: RequestInput): Promise<SubmitAnswer> {
    return this.#transport.call('request', { body: request });
  }

  /** The JSON Schema of what the pipeline takes as a submission. */
  inputSchema(name: string): Promise<Record<string, unknown>> {
    return this.#transport.call('inputSchema', { params: { name } });
  }

  /** Several in one transaction, at most `limits.submitBatchMax`; one answer each, in order. */
  async submitAll(name: string, submissions: readonly SubmissionInput[]): Promise<SubmitAnswer[]> {
    return (await this.#transport.call('submitAll', { params: { name }, body: { submissions: [...submissions] } })).answers;
  }

  /** Any number, read no faster than they are taken; one answer each, in order. The answers must be read. */
  submitMany(
    name: string,
    submissions: AsyncIterable<SubmissionInput> | Iterable<SubmissionInput>,
  ): AsyncGenerator<SubmitAnswer, void, undefined> {
    return this.#transport.submitStream(name, submissions);
  }

  /** Throws PDL_SHARD_UNKNOWN. */
  get(id: string): Promise<Shard> {
    return this.#transport.call('get', { params: { id } });
  }

  /** Throws PDL_SHARD_UNKNOWN. */
  getByKey(name: string, key: string): Promise<Shard> {
    return this.#transport.call('getByKey', { params: { name }, query: { key } });
  }

  /** A page, in the order of submission, without reports. */
  list(name: string, query: ListRequest = {}): Promise<ShardPage> {
    return this.#transport.call('list', { params: { name }, query });
  }

  /** All pages. */
  async *listAll(name: string, query: Omit<ListRequest, 'cursor'> = {}): AsyncGenerator<Shard, void, undefined> {
    let cursor: string | undefined;
    do {
      const page = await this.list(name, { ...query, ...(cursor === undefined ? {} : { cursor }) });
      yield* page.shards;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  /** Throws PDL_SHARD_STATE unless it is pending or running. */
  cancel(id: string): Promise<Shard> {
    return this.#transport.call('cancel', { params: { id } });
  }

  /** Throws PDL_SHARD_STATE unless it failed or was cancelled. */
  retry(id: string): Promise<Shard> {
    return this.#transport.call('retry', { params: { id } });
  }

  /** A page of the shards that failed for good, each with its error and log tail. */
  deadLetters(name: string, query: Omit<ListRequest, 'state'> = {}): Promise<ShardPage> {
    return this.#transport.call('deadLetters', { params: { name }, query });
  }

  /** Dead letters go back into the queue: those that are named, or all that fit; at most 1,000 a call. */
  replay(name: string, which: Replay = {}): Promise<Replayed> {
    return this.#transport.call('replay', { params: { name }, body: which });
  }

  /** The files of its result. Throws PDL_RESULT_MISSING until it is completed. */
  result(id: string): Promise<ShardResult> {
    return this.#transport.call('result', { params: { id } });
  }

  /** The content of a file of its result in pieces; `[from, to)` in bytes. Throws PDL_RESULT_MISSING. */
  resultFile(
    id: string,
    file: string,
    range?: { from: number; to?: number | undefined },
  ): AsyncGenerator<Uint8Array, void, undefined> {
    return this.#transport.resultFile(id, file, range);
  }

  /** Runs `stage` and what follows it again. Throws PDL_SHARD_STATE while it runs. */
  resumeFrom(id: string, stage: string): Promise<Shard> {
    return this.#transport.call('resumeFrom', { params: { id }, body: { stage } });
  }

  /** Why it is where it is, in words. */
  explain(id: string): Promise<Explanation> {
    return this.#transport.call('explain', { params: { id } });
  }

  async lines(): Promise<LineView[]> {
    return (await this.#transport.call('lines', {})).lines;
  }

  /** Throws PDL_LINE_UNKNOWN. */
  line(line: string): Promise<LineView> {
    return this.#transport.call('line', { params: { line } });
  }

  /** It finishes or checkpoints what it has and takes nothing new. */
  drainLine(line: string): Promise<LineView> {
    return this.#transport.call('drainLine', { params: { line } });
  }

  /** Events as they happen; `after: 0` from the oldest that is kept. Ends with the signal. */
  events(query: EventQuery = {}): AsyncGenerator<PodlineEvent, void, undefined> {
    return this.#transport.events(query);
  }

  /** Id of the newest event: `events({ after })` goes on from there. */
  async lastEventId(): Promise<number> {
    return (await this.#transport.call('lastEvent', {})).id;
  }

  /** The shard, once it has ended: completed, failed or cancelled. Throws what the signal was aborted with. */
  async waitFor(id: string, signal?: AbortSignal): Promise<Shard> {
    const stop = new AbortController();
    const ending = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    // The stream begins where the log stood before the first look, so that no end falls between the two.
    const after = await this.lastEventId();
    const events = this.events({ after, shardId: id, signal: ending });
    try {
      let shard = await this.get(id);
      while (!isEnded(shard)) {
        const next = await events.next();
        signal?.throwIfAborted();
        if (next.done === true) throw new PodlineError('PDL_UNREACHABLE', `the coordinator ended before shard ${id} did`);
        if (/^shard\.(completed|failed|cancelled)$/.test(next.value.type)) shard = await this.get(id);
      }
      return shard;
    } finally {
      stop.abort();
      await events.return();
    }
  }

  /** Whether a coordinator answers that takes this token; one try. */
  async isAlive(): Promise<boolean> {
    return this.#transport.isAlive();
  }

  /** Idempotent. */
  close(): Promise<void> {
    return this.#transport.close();
  }
}

/** What one `submitAll` takes at most. */
export const submitBatchMax = limits.submitBatchMax;
