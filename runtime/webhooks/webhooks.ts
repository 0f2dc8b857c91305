/**
 * Notices of completion by HTTP: reads the log of events behind a durable mark, and sends what the pipelines ask for.
 *
 * Owns the mark (`Journal.notice`). Invariants
 *  1. Each ending of a shard is one event of the log, and each such event is sent at least once to each webhook that asks for it,
 *     under one id, or given up after `triesMax` tries, which is logged. The mark goes up only over what is settled.
 *  2. A webhook that does not answer delays no other, until `windowMax` events wait; then the log is read no further.
 *  3. Nothing is sent to an address that is not allowed, and no redirect is followed.
 */
import { guardedFetch } from '../access/guarded-fetch.js';
import type { Addresses } from '../contracts/access.js';
import { PodlineError } from '../contracts/errors.js';
import { traceFields, traceHeaders } from '../contracts/trace.js';
import type { PodlineEvent } from '../contracts/events.js';
import type { Journal, Moment } from '../journal/journal.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { noticesOf, pauseMs, type Notice } from './notices.js';
import { signNotice } from '../access/signature.js';

export interface WebhooksOptions {
  journal: Journal;
  /** Each signs; the newest first. */
  secrets: readonly string[];
  allowed: Addresses;
  triesMax?: number | undefined;
  inFlightMax?: number | undefined;
  timeoutMs?: number | undefined;
  logger: Logger;
  clock: Clock;
  /** In [0, 1). */
  random: () => number;
}

const pageMax = 512;
/** Events with notices that are not settled. */
const windowMax = 10_000;

export class Webhooks {
  readonly #stop = new AbortController();
  /** Events that were read, by id, with the notices that are not settled. */
  readonly #open = new Map<number, number>();
  #readUntil = 0;
  #inFlight = 0;
  readonly #waitingToSend: (() => void)[] = [];
  #wake: () => void = () => undefined;
  #reading: Promise<void> = Promise.resolve();
  #marking: Promise<void> | undefined;
  #unsubscribe: () => void = () => undefined;

  constructor(private readonly options: WebhooksOptions) {}

  /** The first time ever: from now on. */
  async start(): Promise<void> {
    const { journal } = this.options;
    const mark = await journal.noticedUntil();
    this.#readUntil = mark ?? (await journal.lastEventId());
    if (mark === undefined) await journal.notice(this.#readUntil, await this.#now());
    this.#unsubscribe = journal.subscribe(() => {
      this.#wake();
    });
    this.#reading = this.#read();
  }

  /** What is under way is broken off, and sent again by whoever starts next. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#unsubscribe();
    this.#wake();
    for (const go of this.#waitingToSend.splice(0)) go();
    await this.#reading;
    await this.#marking;
  }

  #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #now(): Promise<Moment> {
    return { ms: await this.options.journal.clockMs(), at: this.options.clock.wall() };
  }

  async #read(): Promise<void> {
    const { journal, logger, clock } = this.options;
    while (!this.#isStopped()) {
      const news = new Promise<void>((resolve) => (this.#wake = resolve));
      try {
        const page = this.#open.size >= windowMax ? [] : await journal.events(this.#readUntil, pageMax);
        for (const event of page) await this.#take(event);
        if (page.length > 0) this.#mark();
        else if (!this.#isStopped()) await news;
      } catch (thrown) {
        logger.error(
          { err: PodlineError.from(thrown).message },
          'the log of events could not be read for webhooks; it is tried again',
        );
        const callOff = clock.after(pauseMs(1, this.options.random()), this.#wake);
        await news;
        callOff();
      }
    }
  }

  async #take(event: PodlineEvent): Promise<void> {
    const isEnding = /^shard\.(completed|failed|cancelled)$/.test(event.type);
    const record = isEnding ? await this.options.journal.pipeline(event.pipeline) : undefined;
    const notices = noticesOf(event, record?.pipeline);
    if (notices.length > 0) this.#open.set(event.id, notices.length);
    this.#readUntil = event.id;
    for (const notice of notices) void this.#send(event, notice);
  }

  /** Until it is taken, given up, or everything ends. */
  async #send(event: PodlineEvent, notice: Notice): Promise<void> {
    const { logger, triesMax = 12, random } = this.options;
    const fields = {
      pipeline: event.pipeline,
      shardId: event.shardId,
      url: shown(notice.url),
      webhookId: notice.id,
      ...traceFields(notice.trace),
    };
    for (let tries = 1; ; tries += 1) {
      const outcome = await this.#inTurn(() => this.#once(notice));
      if (this.#isStopped()) return;
      if (outcome === 'taken') {
        logger.debug({ ...fields, tries }, 'a notice was taken');
        break;
      }
      if (outcome.lasting || tries >= triesMax) {
        logger.error({ ...fields, tries, reason: outcome.reason }, 'a notice was given up');
        break;
      }
      logger.warn({ ...fields, tries, reason: outcome.reason }, 'a notice was not taken; it is sent again');
      await this.#pause(pauseMs(tries, random()));
      if (this.#isStopped()) return;
    }
    const left = (this.#open.get(event.id) ?? 1) - 1;
    if (left > 0) this.#open.set(event.id, left);
    else this.#open.delete(event.id);
    this.#mark();
    this.#wake();
  }

  async #once({ id, url, body, trace }: Notice): Promise<'taken' | { reason: string; lasting: boolean }> {
    const { secrets, allowed, timeoutMs = 10_000, clock } = this.options;
    const seconds = Math.floor(Date.parse(clock.wall()) / 1_000);
    try {
      const response = await guardedFetch(
        url,
        {
          method: 'POST',
          body,
          headers: {
            'content-type': 'application/json',
            'user-agent': 'podline',
            ...traceHeaders(trace),
            ...signNotice(secrets, id, seconds, body),
          },
          redirect: 'refuse',
          signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(timeoutMs)]),
        },
        allowed,
      );
      await response.body?.cancel();
      // 410: whoever took them says that nobody does any more.
      return response.ok ? 'taken' : { reason: `HTTP ${String(response.status)}`, lasting: response.status === 410 };
    } catch (thrown) {
      const error = PodlineError.from(thrown, 'PDL_UNREACHABLE');
      return { reason: error.message, lasting: error.code === 'PDL_PLACE_FORBIDDEN' };
    }
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const { inFlightMax = 32 } = this.options;
    if (this.#inFlight >= inFlightMax) await new Promise<void>((resolve) => this.#waitingToSend.push(resolve));
    this.#inFlight += 1;
    try {
      return await work();
    } finally {
      this.#inFlight -= 1;
      this.#waitingToSend.shift()?.();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#stop;
      const callOff = this.options.clock.after(ms, () => {
        signal.removeEventListener('abort', end);
        resolve();
      });
      const end = (): void => {
        callOff();
        resolve();
      };
      signal.addEventListener('abort', end, { once: true });
    });
  }

  /** One write at a time; what settles meanwhile is in the next. */
  #mark(): void {
    if (this.#marking !== undefined) return;
    this.#marking = this.#writeMark()
      .catch((thrown: unknown) => {
        const { message } = PodlineError.from(thrown);
        this.options.logger.error({ err: message }, 'the mark of webhooks could not be written; notices may be sent twice');
      })
      .finally(() => {
        this.#marking = undefined;
      });
  }

  async #writeMark(): Promise<void> {
    for (let written = -1; !this.#isStopped() && this.#settledUntil > written;) {
      written = this.#settledUntil;
      await this.options.journal.notice(written, await this.#now());
    }
    // In the turn of the last look: what settles after it begins anew.
    this.#marking = undefined;
  }

  get #settledUntil(): number {
    const [oldestOpen] = this.#open.keys();
    return oldestOpen === undefined ? this.#readUntil : oldestOpen - 1;
  }
}

/** Without what may be a secret in it. */
const shown = (url: string): string => (URL.canParse(url) ? new URL(url).origin + new URL(url).pathname : '?');
