/**
 * One HTTP call to a coordinator, and the rules for trying again.
 *
 * Invariants
 *  1. A call is tried again only where doing it twice is the same as once: the API is made so (keys, epochs, steps).
 *  2. Tries and pauses are bounded; the pause has jitter, handed in. With several coordinators, by their addresses or by a standby's
 *     word, there are more tries, enough to outlast a failover: who does not answer is left for the next one, and a standby's word for the leader's address is taken.
 *  3. What comes back as problem+json is thrown as the PodlineError that the other side threw; what does not answer, as PDL_UNREACHABLE.
 */
import { Agent, request as send, type Dispatcher } from 'undici';
import { z } from 'zod';
import { PodlineError, isElsewhere, isPodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import { wireErrorSchema } from '../contracts/shard.js';
import { backoffMs } from '../line/backoff.js';

export interface CallerOptions {
  /** `http://host:port`; several coordinators with commas between them. */
  url: string;
  /** A function where it is renewed: asked for each request. */
  token: string | (() => string);
  /** Whose certificates are trusted, PEM; without it, whomever Node trusts. */
  authority?: string | undefined;
  /** In [0, 1). */
  random?: (() => number) | undefined;
  delay?: ((ms: number, signal?: AbortSignal) => Promise<void>) | undefined;
  /** How often one call is tried, the first time included. */
  triesMax?: number | undefined;
  /** Without an answer for this long, beyond what the call itself may wait, a try has failed. */
  timeoutMs?: number | undefined;
}

export interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With its query. */
  path: string;
  body?: unknown;
  signal?: AbortSignal | undefined;
  /** How long the other side may take on purpose: a long poll. */
  waitMs?: number | undefined;
  triesMax?: number | undefined;
  /** Its answer is a stream that stays open: it takes no connection away from the other calls. */
  lasting?: boolean | undefined;
}

const problemSchema = wireErrorSchema.partial({ hint: true, retry: true });
const agentOptions = { keepAliveTimeout: 30_000, headersTimeout: 0, bodyTimeout: 0 };
const pauses = { initialMs: 50, factor: 2, maxMs: limits.callPauseMaxMs };

/** Waits; an abort ends the wait early and without an error. */
export function delayMs(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
  });
}

/** The error in an answer that is none of 2xx. */
export function errorOf(status: number, body: string, path: string): PodlineError {
  try {
    const wire = problemSchema.parse(JSON.parse(body));
    return new PodlineError(wire.code, wire.message, wire);
  } catch {
    const code = status === 401 ? 'PDL_UNAUTHORIZED' : status >= 500 ? 'PDL_UNREACHABLE' : 'PDL_PROTOCOL';
    return new PodlineError(code, `${path} answered ${String(status)}: ${body.slice(0, 200)}`);
  }
}

const addressesOf = (url: string): string[] =>
  url
    .split(',')
    .map((address) => address.trim().replace(/\/+$/, ''))
    .filter((address) => address !== '');

export class HttpCaller {
  readonly #dispatcher: Agent;
  /** Of calls that last; the coordinator bounds them. */
  readonly #lasting: Agent;
  readonly #addresses: string[];
  /** The one that answered last, or is asked next. */
  #current: string;
  readonly #token: () => string;
  readonly #random: () => number;
  readonly #delay: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly #triesMax: number | undefined;
  readonly #timeoutMs: number;
  /** Several addresses, or one of which a standby has answered: a failover is outlasted. */
  #isOneOfSeveral: boolean;

  constructor(options: CallerOptions) {
    const agent = { ...agentOptions, ...(options.authority === undefined ? {} : { connect: { ca: options.authority } }) };
    this.#dispatcher = new Agent({ ...agent, connections: 16 });
    this.#lasting = new Agent({ ...agent, connections: 2 * limits.eventStreamsMax });
    this.#addresses = addressesOf(options.url);
    this.#current = this.#addresses[0] ?? '';
    const { token } = options;
    this.#token = typeof token === 'string' ? () => token : token;
    this.#random = options.random ?? Math.random;
    this.#delay = options.delay ?? delayMs;
    this.#triesMax = options.triesMax;
    this.#isOneOfSeveral = this.#addresses.length > 1;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  /** Of the coordinator that is asked. */
  get url(): string {
    return this.#current;
  }

  get headers(): Record<string, string> {
    return { authorization: `Bearer ${this.#token()}` };
  }

  /** JSON in, JSON out. */
  async json<T>(call: Call, schema: z.ZodType<T>): Promise<T> {
    const answer = await this.#try(call, async (signal) => {
      const response = await this.open(call, signal);
      return response.body.json();
    });
    const parsed = schema.safeParse(answer);
    if (parsed.success) return parsed.data;
    throw new PodlineError(
      'PDL_PROTOCOL',
      `the answer to ${call.method} ${call.path} does not fit its schema: ${z.prettifyError(parsed.error)}`,
    );
  }

  async text(call: Call): Promise<string> {
    return this.#try(call, async (signal) => (await this.open(call, signal)).body.text());
  }

  /** One try, for answers that are streams. Throws what the other side threw. */
  async open(
    call: Call,
    signal: AbortSignal | undefined,
    stream?: { body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>; type: string },
    headers: Record<string, string> = {},
  ): Promise<Dispatcher.ResponseData> {
    const url = this.#current;
    const response = await send(url + call.path, {
      method: call.method,
      dispatcher: call.lasting === true ? this.#lasting : this.#dispatcher,
      headers: {
        ...this.headers,
        ...(stream === undefined
          ? call.body === undefined
            ? {}
            : { 'content-type': 'application/json' }
          : { 'content-type': stream.type }),
        ...headers,
      },
      body:
        stream === undefined
          ? call.body === undefined
            ? null
            : JSON.stringify(call.body)
          : ((stream.body as Dispatcher.DispatchOptions['body']) ?? null),
      ...(signal === undefined ? {} : { signal }),
    }).catch((thrown: unknown) => {
      if (call.signal?.aborted !== true) this.#leave(url, undefined);
      throw thrown;
    });
    if (response.statusCode >= 200 && response.statusCode < 300) return response;
    const error = errorOf(response.statusCode, await response.body.text(), call.path);
    if (error.code === 'PDL_NOT_LEADER') this.#isOneOfSeveral = true;
    if (isElsewhere(error)) this.#leave(url, error.code === 'PDL_NOT_LEADER' ? error.place : undefined);
    throw error;
  }

  /** Waits before try number `tries` + 1. */
  async pause(tries: number, signal?: AbortSignal): Promise<void> {
    await this.#delay(backoffMs(pauses, tries) * (0.5 + this.#random() / 2), signal);
  }

  async #try<T>(call: Call, once: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      const timeout = AbortSignal.timeout(this.#timeoutMs + (call.waitMs ?? 0));
      try {
        return await once(call.signal === undefined ? timeout : AbortSignal.any([call.signal, timeout]));
      } catch (thrown) {
        if (call.signal?.aborted === true) throw thrown;
        const error = isPodlineError(thrown) ? thrown : unreachable(this.url, call.path, thrown);
        // Only what never reached the coordinator, or what it did not get round to: everything else is its answer.
        if (!isElsewhere(error) || tries >= (call.triesMax ?? this.#triesMaxNow)) throw error;
        await this.pause(tries, call.signal);
      }
    }
  }

  get #triesMaxNow(): number {
    return this.#triesMax ?? (this.#isOneOfSeveral ? limits.failoverTriesMax : limits.callTriesMax);
  }

  /** Whoever is asked next: not this one, unless another call has found a better one meanwhile. */
  #leave(url: string, leader: string | undefined): void {
    if (this.#current !== url) return;
    const [told] = leader === undefined ? [] : addressesOf(leader).filter((address) => /^https?:\/\//.test(address));
    const next = (this.#addresses.indexOf(url) + 1) % this.#addresses.length;
    this.#current = told !== undefined && told !== url ? told : (this.#addresses[next] ?? url);
  }

  /** Breaks what is under way. Idempotent. */
  close(): void {
    for (const dispatcher of [this.#dispatcher, this.#lasting]) if (!dispatcher.destroyed) void dispatcher.destroy();
  }
}

export function unreachable(url: string, path: string, thrown: unknown): PodlineError {
  const reason = thrown instanceof Error ? ((thrown as NodeJS.ErrnoException).code ?? thrown.message) : String(thrown);
  return new PodlineError('PDL_UNREACHABLE', `${url}${path} does not answer: ${reason}`, { cause: thrown });
}
