/**
 * Requests from a topic. Partitions come and go with the consumer group; each is worked off in its order.
 *
 * Offsets are committed when the journal has what lies before them, and dead letters are in their topic. What a rebalance or a death
 * leaves uncommitted comes again, here or elsewhere, and is known by its key; a dead letter may then be there twice, with the same place.
 */
import type { Consumer, EachBatchPayload, IHeaders, Kafka, KafkaMessage, Producer } from 'kafkajs';
import { deadLetterHeaders, type KafkaConfig } from '../../contracts/connectors.js';
import { PodlineError } from '../../contracts/errors.js';
import { traceOf } from '../../contracts/trace.js';
import type { Logger } from '../../platform/logger.js';
import type { Inlet } from '../connector.js';
import type { Fate, Intake } from '../intake.js';
import type { Pace } from '../pace.js';
import type { Incoming } from '../request.js';
import { kafkaClient, kafkaError, requireTopics } from './kafka-client.js';

/** Messages that are looked at together; of each partition, so many bytes are fetched at once, and no more than in all. */
const groupMax = 500;
const partitionBytesMax = 1024 * 1024;
const fetchBytesMax = 8 * 1024 * 1024;
/** After so long without a word the partitions of a consumer that died go to another. */
const sessionMs = 10_000;
/** Partitions that are worked off side by side. */
const partitionsMax = 4;

export interface KafkaInletParts {
  config: KafkaConfig;
  intake: Intake;
  pace: Pace;
  logger: Logger;
}

export const deadLetterTopic = ({ requests }: KafkaConfig): string => requests.deadLetters ?? `${requests.topic}.dead`;

export class KafkaInlet implements Inlet {
  constructor(private readonly parts: KafkaInletParts) {}

  async run(signal: AbortSignal, onRunning: () => void): Promise<void> {
    const { config, logger } = this.parts;
    try {
      const kafka = await kafkaClient(config, logger);
      await requireTopics(kafka, config, [config.requests.topic, deadLetterTopic(config)]);
      await this.#consume(kafka, signal, onRunning);
    } catch (thrown) {
      throw kafkaError(thrown, config.brokers);
    }
  }

  async #consume(kafka: Kafka, signal: AbortSignal, onRunning: () => void): Promise<void> {
    const { group, topic } = this.parts.config.requests;
    const consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: sessionMs,
      heartbeatInterval: sessionMs / 5,
      rebalanceTimeout: 2 * sessionMs,
      maxBytesPerPartition: partitionBytesMax,
      maxBytes: fetchBytesMax,
      maxWaitTimeInMs: 500,
    });
    const deadLetters = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    const ended = endOf(consumer, signal);
    try {
      await deadLetters.connect();
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      consumer.on(consumer.events.GROUP_JOIN, onRunning);
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: partitionsMax,
        eachBatch: (payload) => this.#takeBatch(payload, consumer, deadLetters, signal),
      });
      await ended;
    } finally {
      await consumer.disconnect().catch(() => undefined);
      await deadLetters.disconnect().catch(() => undefined);
    }
  }

  async #takeBatch(payload: EachBatchPayload, consumer: Consumer, deadLetters: Producer, signal: AbortSignal): Promise<void> {
    const { topic, partition, messages } = payload.batch;
    let from = 0;
    while (from < messages.length) {
      if (!payload.isRunning() || payload.isStale() || signal.aborted) return;
      const group = messages.slice(from, from + this.parts.pace.batch(groupMax));
      from += group.length;
      const fates = await this.parts.intake.take(group.map((message) => incoming(topic, partition, message)));
      const stopAt = fates.findIndex(({ fate }) => fate === 'later');
      const done = stopAt < 0 ? group : group.slice(0, stopAt);
      await this.#bury(deadLetters, topic, partition, done, fates);
      const last = done.at(-1);
      if (last !== undefined) {
        payload.resolveOffset(last.offset);
        await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(last.offset) + 1n) }]);
      }
      const held = fates[stopAt];
      if (held?.fate === 'later') {
        this.#hold(payload, this.parts.pace.pause(held.error, signal));
        return;
      }
      if (this.parts.pace.load !== undefined) {
        this.#hold(payload, this.parts.pace.rest(signal));
        return;
      }
      this.parts.pace.goesOn();
      await payload.heartbeat();
    }
  }

  /** Nothing is fetched of the partition until the pause is over; then it begins where the journal has not taken it. */
  #hold(payload: EachBatchPayload, pause: Promise<void>): void {
    const resume = payload.pause();
    void pause.then(resume);
  }

  async #bury(
    producer: Producer,
    topic: string,
    partition: number,
    messages: readonly KafkaMessage[],
    fates: readonly Fate[],
  ): Promise<void> {
    const dead = messages.flatMap((message, index) => {
      const fate = fates[index];
      if (fate?.fate !== 'refused') return [];
      const { code, message: reason, place } = fate.error;
      const { key, value, headers, offset } = message;
      const where = `${topic}[${partition}]@${offset}`;
      this.parts.logger.warn({ place: where, code, reason }, 'a message is no request: it goes to the dead letters');
      return [
        {
          key,
          value,
          headers: {
            ...headers,
            [deadLetterHeaders.code]: code,
            [deadLetterHeaders.reason]: reason,
            [deadLetterHeaders.place]: place === undefined || place === where ? where : `${where} ${place}`,
          },
        },
      ];
    });
    if (dead.length > 0) await producer.send({ topic: deadLetterTopic(this.parts.config), acks: -1, messages: dead });
  }
}

const incoming = (topic: string, partition: number, { key, value, offset, headers }: KafkaMessage): Incoming => ({
  body: value ?? new Uint8Array(),
  place: `${topic}[${partition}]@${offset}`,
  key: key?.toString('utf8'),
  trace: traceOf(textOf(headers?.['traceparent']), textOf(headers?.['tracestate'])),
});

const textOf = (header: IHeaders[string]): string | undefined => (Array.isArray(header) ? header[0] : header)?.toString();

/** Resolves with the signal, rejects when the consumer gave up. */
function endOf(consumer: Consumer, signal: AbortSignal): Promise<void> {
  let onAbort = (): void => undefined;
  const ended = new Promise<void>((resolve, reject) => {
    onAbort = resolve;
    if (signal.aborted) resolve();
    signal.addEventListener('abort', onAbort);
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      reject(payload.error);
    });
    // Also when it is disconnected in the end: then nobody listens any more.
    consumer.on(consumer.events.STOP, () => {
      signal.removeEventListener('abort', onAbort);
      reject(new PodlineError('PDL_BROKER_UNREACHABLE', 'the consumer was stopped'));
    });
  });
  // It may reject before anybody waits for it.
  ended.catch(() => undefined);
  return ended;
}
