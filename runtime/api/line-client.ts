/**
 * The agent's side of the line protocol (`contracts/line-api.ts`) over HTTP with kept connections.
 *
 * Invariants
 *  1. Every call may arrive twice and does what one would have done: complete and fail by epoch, swap by step, hello by instance.
 *  2. A coordinator that was restarted does not know its lines: PDL_LINE_UNKNOWN is answered with the last hello and one more try.
 *  3. Tries are bounded (`limits.callTriesMax`); what the caller cannot bear to lose it calls again.
 */
import { z } from 'zod';
import { isPodlineError } from '../contracts/errors.js';
import {
  completeAnswerSchema,
  heartbeatAnswerSchema,
  leaseAnswerSchema,
  lineWelcomeSchema,
  type Complete,
  type Fail,
  type Heartbeat,
  type LineHello,
  type SwapRequest,
  type leaseRequestSchema,
} from '../contracts/line-api.js';
import type { Pipeline } from '../contracts/manifest.js';
import { silentLogger, type Logger } from '../platform/logger.js';
import { HttpCaller, type CallerOptions } from './http-caller.js';

export type LeaseRequest = z.infer<typeof leaseRequestSchema>;
export type NextLeases = Omit<LeaseRequest, 'waitMs' | 'instance'>;
export type LeaseAnswer = z.infer<typeof leaseAnswerSchema> & { pipeline?: Pipeline | undefined };
export type LineWelcome = z.infer<typeof lineWelcomeSchema> & { pipeline: Pipeline };
export type HeartbeatAnswer = z.infer<typeof heartbeatAnswerSchema> & { pipeline?: Pipeline | undefined };

export interface LineClientOptions extends CallerOptions {
  line: string;
  /** Tells this process from the one before of the same line. */
  instance: string;
  /** Called when the line had to say hello again: the coordinator is a new one, or knows another pipeline of the name. */
  onWelcome?: ((welcome: LineWelcome) => void) | undefined;
  logger?: Logger | undefined;
}

/** `once`: one try, for when time is short. */
export type Tries = 'bounded' | 'once';

const doneSchema = z.object({});

export class LineClient {
  readonly #caller: HttpCaller;
  readonly #logger: Logger;
  #hello: LineHello | undefined;
  #allowed: LineWelcome['allowed'];

  constructor(private readonly options: LineClientOptions) {
    this.#caller = new HttpCaller(options);
    this.#logger = options.logger ?? silentLogger;
  }

  async hello(hello: LineHello, signal?: AbortSignal): Promise<LineWelcome> {
    this.#hello = hello;
    const welcome = (await this.#caller.json(
      { method: 'POST', path: this.#path('hello'), body: hello, signal },
      lineWelcomeSchema,
    )) as LineWelcome;
    this.#allowed = welcome.allowed;
    return welcome;
  }

  /** Where sources and results of its shards may lie, as the coordinator last said; everywhere when it is undefined. */
  get allowed(): LineWelcome['allowed'] {
    return this.#allowed;
  }

  /** Long poll: answers at once when there is work, else after at most `waitMs`. */
  async lease(request: LeaseRequest, signal?: AbortSignal): Promise<LeaseAnswer> {
    return (await this.#known(() =>
      this.#caller.json(
        {
          method: 'POST',
          path: this.#path('leases'),
          body: { ...request, instance: this.options.instance },
          signal,
          waitMs: request.waitMs,
        },
        leaseAnswerSchema,
      ),
    )) as LeaseAnswer;
  }

  async heartbeat(heartbeat: Heartbeat, signal?: AbortSignal): Promise<HeartbeatAnswer> {
    return (await this.#known(() =>
      this.#caller.json({ method: 'POST', path: this.#path('heartbeat'), body: heartbeat, signal }, heartbeatAnswerSchema),
    )) as HeartbeatAnswer;
  }

  /**
   * Throws PDL_LEASE_LOST when the shard is another's. With `next`, the answer may bring leases of what waits, and saves a call; what
   * is not there is asked for by `lease`.
   */
  async complete(complete: Complete, tries: Tries = 'bounded', next?: NextLeases): Promise<LeaseAnswer | undefined> {
    const { instance } = this.options;
    const body = next === undefined ? complete : { ...complete, next: { ...next, instance } };
    const { leases, queued, pipeline } = (await this.#post(
      'complete',
      body,
      tries,
      completeAnswerSchema,
    )) as Partial<LeaseAnswer>;
    if (leases === undefined || queued === undefined) return undefined;
    return { leases, queued, ...(pipeline === undefined ? {} : { pipeline }) };
  }

  /** Throws PDL_LEASE_LOST when the shard is another's. */
  async fail(fail: Fail, tries: Tries = 'bounded'): Promise<void> {
    await this.#post('fail', fail, tries, doneSchema);
  }

  /** Resolves when the driver has taken the order; the shim's hello is the proof. Throws PDL_SWAP_FAILED. */
  async swap(request: SwapRequest, tries: Tries = 'bounded'): Promise<void> {
    await this.#post('swaps', request, tries, doneSchema);
  }

  /** Breaks what is under way. Idempotent. */
  close(): void {
    this.#caller.close();
  }

  async #post<T>(what: string, body: unknown, tries: Tries, answer: z.ZodType<T>): Promise<T> {
    return this.#known(() =>
      this.#caller.json({ method: 'POST', path: this.#path(what), body, ...(tries === 'once' ? { triesMax: 1 } : {}) }, answer),
    );
  }

  async #known<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (thrown) {
      if (!isPodlineError(thrown, 'PDL_LINE_UNKNOWN') || this.#hello === undefined) throw thrown;
      this.#logger.warn({ line: this.options.line }, 'the coordinator was restarted: the line says hello again');
      const welcome = await this.hello(this.#hello);
      this.options.onWelcome?.(welcome);
      return call();
    }
  }

  #path(what: string): string {
    return `/v1/lines/${encodeURIComponent(this.options.line)}/${what}`;
  }
}
