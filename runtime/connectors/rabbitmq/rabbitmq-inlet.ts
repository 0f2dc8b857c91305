/**
 * Requests from a queue. The broker hands out no more than `prefetch` messages that are not acknowledged: while the coordinator takes
 * no more, these are held, and nothing more comes.
 *
 * A message is acknowledged when the journal has it, or when the broker has confirmed it among the dead letters. What was not
 * acknowledged when the connection ended comes again and is known by its key; a dead letter may then be there twice, with the same id.
 */
import type { AsyncMessage, Envelope } from 'rabbitmq-client';
import { deadLetterHeaders, type RabbitmqConfig } from '../../contracts/connectors.js';
import type { WireError } from '../../contracts/errors.js';
import { traceOf } from '../../contracts/trace.js';
import type { Logger } from '../../platform/logger.js';
import type { Inlet } from '../connector.js';
import type { Intake } from '../intake.js';
import type { Pace } from '../pace.js';
import type { Incoming } from '../request.js';
import { openSession, rabbitmqError, type Session } from './rabbitmq-client.js';

export interface RabbitmqInletParts {
  config: RabbitmqConfig;
  intake: Intake;
  pace: Pace;
  logger: Logger;
}

/** Messages that go to the journal together. */
const groupMax = 256;

/** Exchange of the dead letters, and the queue that is bound to it so that none is lost. */
export const deadLettersOf = ({ requests }: RabbitmqConfig): string => requests.deadLetters ?? `${requests.queue}.dead`;

/** A function, because a signal changes while one waits, which a compiler does not see. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;

export class RabbitmqInlet implements Inlet {
  constructor(private readonly parts: RabbitmqInletParts) {}

  async run(signal: AbortSignal, onRunning: () => void): Promise<void> {
    const { config } = this.parts;
    let session: Session | undefined;
    try {
      session = await openSession(config);
      await this.#declare(session);
      const waiting = new WaitingMessages();
      await this.#consume(session, waiting);
      onRunning();
      const stop = new AbortController();
      const ending = AbortSignal.any([signal, stop.signal]);
      const work = this.#work(session, waiting, ending);
      try {
        await Promise.race([work, session.broken]);
      } finally {
        stop.abort();
        waiting.end();
        await work.catch(() => undefined);
      }
    } catch (thrown) {
      throw rabbitmqError(thrown, config);
    } finally {
      await session?.close();
    }
  }

  async #declare({ channel, answer }: Session): Promise<void> {
    const { requests, queueType } = this.parts.config;
    const dead = deadLettersOf(this.parts.config);
    const type = { 'x-queue-type': queueType };
    await answer(channel.queueDeclare({ queue: requests.queue, durable: true, arguments: type }));
    await answer(channel.exchangeDeclare({ exchange: dead, type: 'fanout', durable: true }));
    await answer(channel.queueDeclare({ queue: dead, durable: true, arguments: type }));
    await answer(channel.queueBind({ exchange: dead, queue: dead }));
  }

  async #consume({ channel, answer }: Session, waiting: WaitingMessages): Promise<void> {
    const { queue, prefetch } = this.parts.config.requests;
    await answer(channel.basicQos({ prefetchCount: prefetch }));
    await answer(
      channel.basicConsume({ queue }, (message) => {
        waiting.add(message);
      }),
    );
  }

  async #work(session: Session, waiting: WaitingMessages, signal: AbortSignal): Promise<void> {
    const { intake, pace } = this.parts;
    signal.addEventListener('abort', () => {
      waiting.end();
    });
    while (!isAborted(signal)) {
      const group = await waiting.take(pace.batch(groupMax));
      if (group.length === 0 || isAborted(signal)) return;
      const fates = await intake.take(group.map((message) => this.#incoming(message)));
      const held: AsyncMessage[] = [];
      let why: WireError | undefined;
      for (const [index, message] of group.entries()) {
        const fate = fates[index];
        if (fate === undefined || fate.fate === 'later') {
          held.push(message);
          why = fate?.error;
          continue;
        }
        if (fate.fate === 'refused') await this.#bury(session, message, fate.error);
        session.channel.basicAck({ deliveryTag: message.deliveryTag });
      }
      if (why === undefined) {
        await pace.rest(signal);
        continue;
      }
      waiting.putBack(held);
      await pace.pause(why, signal);
    }
  }

  #incoming({ body, deliveryTag, messageId, correlationId, headers }: AsyncMessage): Incoming {
    const place = `${this.parts.config.requests.queue}#${messageId ?? String(deliveryTag)}`;
    const trace = traceOf(headers?.['traceparent'], headers?.['tracestate']);
    return { body: bytesOf(body), place, key: messageId ?? correlationId, trace };
  }

  async #bury({ channel, answer }: Session, message: AsyncMessage, { code, message: reason, place }: WireError): Promise<void> {
    const where = this.#incoming(message).place;
    this.parts.logger.warn({ place: where, code, reason }, 'a message is no request: it goes to the dead letters');
    const headers = {
      ...message.headers,
      [deadLetterHeaders.code]: code,
      [deadLetterHeaders.reason]: reason,
      [deadLetterHeaders.place]: place === undefined || place === where ? where : `${where} ${place}`,
    };
    const { contentType, messageId, correlationId } = message;
    const envelope: Envelope = {
      exchange: deadLettersOf(this.parts.config),
      routingKey: '',
      durable: true,
      headers,
      ...(contentType === undefined ? {} : { contentType }),
      ...(messageId === undefined ? {} : { messageId }),
      ...(correlationId === undefined ? {} : { correlationId }),
    };
    await answer(channel.basicPublish(envelope, bytesOf(message.body)));
  }
}

/** The client has parsed what says that it is JSON, and text; everything else comes as it is. */
const bytesOf = (body: unknown): Buffer =>
  Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));

/** What the broker has handed out and nobody has looked at; as many as `prefetch` at most. */
class WaitingMessages {
  #messages: AsyncMessage[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  add(message: AsyncMessage): void {
    this.#messages.push(message);
    this.#wake?.();
  }

  putBack(messages: readonly AsyncMessage[]): void {
    this.#messages.unshift(...messages);
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** Waits for the first; none when it ends. */
  async take(max: number): Promise<AsyncMessage[]> {
    while (this.#messages.length === 0 && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
    // Those that come in the same turn of the event loop go to the journal together.
    await new Promise((resolve) => setImmediate(resolve));
    return this.#ended ? [] : this.#messages.splice(0, max);
  }
}
