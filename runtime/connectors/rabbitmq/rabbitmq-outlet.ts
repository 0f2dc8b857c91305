/**
 * Completions to a queue, each at least once, with an id by which one that comes again is known: RabbitMQ has no transaction over the
 * messages and the place in the journal's log.
 *
 * The place is a message too: the only one of a queue of length one, published after the broker has confirmed the completions. A death
 * between the two publishes one batch again, with the same message ids.
 */
import { z } from 'zod';
import type { Completion, RabbitmqConfig } from '../../contracts/connectors.js';
import { PodlineError } from '../../contracts/errors.js';
import { traceHeaders } from '../../contracts/trace.js';
import type { Cursor, Outlet } from '../connector.js';
import { openSession, placeOf, rabbitmqError, type Session } from './rabbitmq-client.js';

const cursorSchema = z.object({ event: z.int().nonnegative(), shardId: z.string().optional(), at: z.string().optional() });

export class RabbitmqOutlet implements Outlet {
  readonly #cursorQueue: string;
  #session: Session | undefined;
  #returned: string | undefined;

  constructor(
    private readonly config: RabbitmqConfig,
    private readonly queue: string,
  ) {
    this.#cursorQueue = `podline-${config.name}-cursor`;
  }

  async open(): Promise<Cursor | undefined> {
    try {
      const session = await openSession(this.config);
      this.#session = session;
      const { channel } = session;
      channel.on('basic.return', ({ replyText, routingKey }) => {
        this.#returned = `${routingKey}: ${replyText}`;
      });
      const type = { 'x-queue-type': this.config.queueType };
      await session.answer(channel.queueDeclare({ queue: this.queue, durable: true, arguments: type }));
      const newest = { 'x-queue-type': 'classic', 'x-max-length': 1, 'x-overflow': 'drop-head' } as const;
      await session.answer(channel.queueDeclare({ queue: this.#cursorQueue, durable: true, arguments: newest }));
      return await this.#stored(session);
    } catch (thrown) {
      throw rabbitmqError(thrown, this.config);
    }
  }

  async publish(completions: readonly Completion[], cursor: Cursor): Promise<void> {
    const session = this.#session;
    if (session === undefined) throw new Error('publish before open');
    const { channel } = session;
    const confirmed = completions.map((completion) =>
      channel.basicPublish(
        {
          routingKey: this.queue,
          durable: true,
          mandatory: true,
          contentType: 'application/json',
          messageId: completion.id,
          correlationId: completion.key,
          type: `podline.${completion.outcome}`,
          headers: traceHeaders(completion.trace),
        },
        Buffer.from(JSON.stringify(completion)),
      ),
    );
    try {
      await session.answer(Promise.all(confirmed));
      if (this.#returned !== undefined)
        throw new PodlineError('PDL_BROKER_REFUSED', `${placeOf(this.config)} gave a completion back: ${this.#returned}`);
      await this.#store(session, cursor);
    } catch (thrown) {
      throw rabbitmqError(thrown, this.config);
    }
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  async #store({ channel, answer }: Session, cursor: Cursor): Promise<void> {
    const envelope = { routingKey: this.#cursorQueue, durable: true, mandatory: true };
    await answer(channel.basicPublish(envelope, Buffer.from(JSON.stringify(cursor))));
  }

  /** Taken off the queue only when it is there again. */
  async #stored(session: Session): Promise<Cursor | undefined> {
    const { channel } = session;
    const found: { cursor: Cursor; deliveryTag: number }[] = [];
    for (;;) {
      const message = await session.answer(channel.basicGet({ queue: this.#cursorQueue }));
      if (message === undefined) break;
      found.push({ cursor: cursorSchema.parse(JSON.parse(String(message.body))), deliveryTag: message.deliveryTag });
    }
    const newest = found.toSorted((a, b) => b.cursor.event - a.cursor.event)[0]?.cursor;
    if (newest !== undefined) await this.#store(session, newest);
    for (const { deliveryTag } of found) channel.basicAck({ deliveryTag });
    return newest;
  }
}
