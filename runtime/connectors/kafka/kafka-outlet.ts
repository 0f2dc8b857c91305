/**
 * Completions to a topic, each once: a transaction holds the messages and the place in the journal's log, which is stored as the
 * offset of a consumer group of the connector's own. Who reads the topic with `read_committed` sees both or neither.
 *
 * Opening takes the transactional id: what the publisher before had begun is aborted or finished by then, and it can begin nothing
 * more. Only after that the place is read. So an answer that was lost costs a new opening, and never a completion.
 */
import type { Kafka, Producer, Transaction } from 'kafkajs';
import { z } from 'zod';
import type { Completion, KafkaConfig } from '../../contracts/connectors.js';
import { traceHeaders } from '../../contracts/trace.js';
import type { Logger } from '../../platform/logger.js';
import type { Cursor, Outlet } from '../connector.js';
import { kafkaClient, kafkaError, requireTopics } from './kafka-client.js';

/** A publisher that died holds back who reads the topic for at most so long, if nobody takes its place. */
const transactionTimeoutMs = 30_000;
/** A message of the topic is at most a megabyte by default; a transaction sends in pieces of this many. */
const sendMax = 250;

const metadataSchema = z.object({ shardId: z.string().optional(), at: z.string().optional() });

export class KafkaOutlet implements Outlet {
  readonly #topic: string;
  readonly #group: string;
  readonly #id: string;
  #producer: Producer | undefined;

  constructor(
    private readonly config: KafkaConfig,
    topic: string,
    private readonly logger: Logger,
  ) {
    this.#topic = topic;
    this.#id = `podline-${config.name}`;
    this.#group = `podline-${config.name}-cursor`;
  }

  async open(): Promise<Cursor | undefined> {
    return this.#told(async () => {
      const kafka = await kafkaClient(this.config, this.logger);
      await requireTopics(kafka, this.config, [this.#topic]);
      this.#producer = kafka.producer({
        transactionalId: this.#id,
        idempotent: true,
        maxInFlightRequests: 1,
        transactionTimeout: transactionTimeoutMs,
      });
      await this.#producer.connect();
      // The id is taken with the first transaction, which here is an empty one.
      await (await this.#producer.transaction()).abort();
      return this.#stored(kafka);
    });
  }

  async publish(completions: readonly Completion[], cursor: Cursor): Promise<void> {
    const producer = this.#producer;
    if (producer === undefined) throw new Error('publish before open');
    await this.#told(async () => {
      const transaction = await producer.transaction();
      try {
        await this.#fill(transaction, completions, cursor);
        await transaction.commit();
      } catch (thrown) {
        if (transaction.isActive()) await transaction.abort().catch(() => undefined);
        throw thrown;
      }
    });
  }

  async close(): Promise<void> {
    const producer = this.#producer;
    this.#producer = undefined;
    await producer?.disconnect().catch(() => undefined);
  }

  async #fill(transaction: Transaction, completions: readonly Completion[], { event, shardId, at }: Cursor): Promise<void> {
    for (let from = 0; from < completions.length; from += sendMax) {
      const messages = completions.slice(from, from + sendMax).map((completion) => ({
        key: completion.key,
        value: JSON.stringify(completion),
        headers: { 'podline-id': completion.id, ...traceHeaders(completion.trace) },
      }));
      await transaction.send({ topic: this.#topic, acks: -1, messages });
    }
    const place = { partition: 0, offset: String(event), metadata: JSON.stringify({ shardId, at }) };
    await transaction.sendOffsets({ consumerGroupId: this.#group, topics: [{ topic: this.#topic, partitions: [place] }] });
  }

  async #stored(kafka: Kafka): Promise<Cursor | undefined> {
    const admin = kafka.admin();
    await admin.connect();
    try {
      const [found] = await admin.fetchOffsets({ groupId: this.#group, topics: [this.#topic] });
      const place = found?.partitions.find(({ partition }) => partition === 0);
      if (place === undefined || Number(place.offset) < 0) return undefined;
      const metadata = place.metadata === null || place.metadata === '' ? {} : metadataSchema.parse(JSON.parse(place.metadata));
      return { event: Number(place.offset), ...metadata };
    } finally {
      await admin.disconnect();
    }
  }

  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw kafkaError(thrown, this.config.brokers);
    }
  }
}
