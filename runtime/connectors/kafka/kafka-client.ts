/**
 * The client of Kafka, loaded when a connector wants it: it is an optional dependency. Its retries are kept short, because a
 * connector that begins anew is what mends, and says so.
 */
import { readFile } from 'node:fs/promises';
import type * as KafkaJs from 'kafkajs';
import type { Kafka, KafkaConfig as KafkaJsConfig, logLevel as LogLevel } from 'kafkajs';
import type { KafkaConfig } from '../../contracts/connectors.js';
import { PodlineError } from '../../contracts/errors.js';
import type { Logger } from '../../platform/logger.js';
import { readSecret } from '../secrets.js';

/** Throws PDL_CONNECTOR_MISSING or PDL_CONNECTOR_INVALID. */
export async function kafkaClient(config: KafkaConfig, logger: Logger): Promise<Kafka> {
  const { Kafka, logLevel } = await load();
  const { brokers, tls, sasl, name } = config;
  const secured: Pick<KafkaJsConfig, 'ssl' | 'sasl'> = {
    ...(tls === false ? {} : { ssl: tls === true ? true : { ca: [await readFile(tls.caFile, 'utf8')] } }),
    ...(sasl === undefined
      ? {}
      : { sasl: { mechanism: sasl.mechanism as 'plain', username: sasl.username, password: await readSecret(sasl.password) } }),
  };
  return new Kafka({
    clientId: `podline-${name}`,
    brokers,
    ...secured,
    connectionTimeout: 5_000,
    requestTimeout: 30_000,
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 5, restartOnFailure: async () => false },
    logLevel: logLevel.WARN,
    logCreator: () => logTo(logger, logLevel),
  });
}

/** The consumer and the producers end with an error that is told; what the client logs on the way is detail. */
const logTo =
  (logger: Logger, levels: typeof LogLevel) =>
  ({ level, log }: { level: LogLevel; log: { message: string } }): void => {
    logger.debug({ level: levels[level] }, `kafka: ${log.message}`);
  };

async function load(): Promise<Pick<typeof KafkaJs, 'Kafka' | 'logLevel'>> {
  try {
    return (await import('kafkajs')).default;
  } catch (thrown) {
    throw new PodlineError('PDL_CONNECTOR_MISSING', 'the connector to Kafka needs the package kafkajs, which cannot be loaded', {
      hint: 'Run `npm install kafkajs`.',
      cause: thrown,
    });
  }
}

/** What the client threw, as a person can use it. */
export function kafkaError(thrown: unknown, brokers: readonly string[]): PodlineError {
  if (thrown instanceof PodlineError) return thrown;
  const [name, message] = thrown instanceof Error ? [thrown.name, thrown.message] : ['', String(thrown)];
  const refused = /SASL|Authorization|Protocol/i.test(name) && !/coordinator|leader|not available/i.test(message);
  return new PodlineError(
    refused ? 'PDL_BROKER_REFUSED' : 'PDL_BROKER_UNREACHABLE',
    `kafka at ${brokers.join(', ')}: ${message}`,
    {
      place: brokers.join(','),
      cause: thrown,
    },
  );
}

/** Throws PDL_BROKER_REFUSED naming the topic that is not there, unless it may be made. */
export async function requireTopics(kafka: Kafka, config: KafkaConfig, topics: readonly string[]): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const present = new Set(await admin.listTopics());
    const absent = topics.filter((topic) => !present.has(topic));
    if (absent.length === 0) return;
    const { createTopics } = config;
    if (createTopics === undefined)
      throw new PodlineError('PDL_BROKER_REFUSED', `kafka at ${config.brokers.join(', ')} has no topic ${absent.join(', ')}`, {
        hint: 'Make it, mend its name, or let `createTopics` say how topics are made.',
      });
    await admin.createTopics({
      waitForLeaders: true,
      topics: absent.map((topic) => ({
        topic,
        numPartitions: createTopics.partitions,
        replicationFactor: createTopics.replicas,
      })),
    });
  } finally {
    await admin.disconnect();
  }
}
