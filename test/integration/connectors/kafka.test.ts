/** The connector to Kafka, over a real one. */
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import type { Connector } from '../../../runtime/connectors/connector.js';
import { openConnector } from '../../../runtime/connectors/open.js';
import { kafkaSchema, type Completion } from '../../../runtime/contracts/connectors.js';
import { traceHeaders, type TraceContext } from '../../../runtime/contracts/trace.js';
import { silentLogger } from '../../../runtime/platform/logger.js';
import { connectorContract, type ConnectorUnderTest, type DeadLetter } from '../../contract/connector.js';
import { KafkaServer } from '../../support/kafka/server.js';
import { TopicReader } from '../../support/kafka/topic-reader.js';
import { Rig } from '../../support/connectors/rig.js';
import { until } from '../../support/until.js';
import { needs } from '../../support/require.js';

needs('kafka').describe('kafka', () => {
  let server: KafkaServer;
  let made = 0;
  beforeAll(async () => {
    server = await KafkaServer.start();
  }, 120_000);
  afterAll(() => server.end());

  const make = async (): Promise<ConnectorUnderTest> => {
    made += 1;
    const topics = { requests: `pending-${made}`, completions: `completed-${made}`, dead: `pending-${made}.dead` };
    const kafka = server.client();
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({
      waitForLeaders: true,
      topics: [
        { topic: topics.requests, numPartitions: 3, replicationFactor: 1 },
        { topic: topics.completions, numPartitions: 1, replicationFactor: 1 },
        { topic: topics.dead, numPartitions: 1, replicationFactor: 1 },
      ],
    });
    await admin.disconnect();
    const producer = kafka.producer();
    await producer.connect();
    const completions = await TopicReader.open(kafka, topics.completions);
    const dead = await TopicReader.open(kafka, topics.dead);
    const config = (brokers: string[]): ConnectorUnderTest['config'] =>
      kafkaSchema.parse({
        kind: 'kafka',
        name: `kafka-${made}`,
        brokers,
        requests: { topic: topics.requests, group: `podline-${made}` },
        completions: { topic: topics.completions },
      });
    const send = async (names: readonly string[], trace?: TraceContext): Promise<void> => {
      const messages = names.map((key) => ({
        key,
        value: JSON.stringify({ task: 'flights', payload: [{ name: key }], resultDir: '/results' }),
        headers: traceHeaders(trace),
      }));
      await producer.send({ topic: topics.requests, messages });
    };
    return {
      config: config([server.broker]),
      elsewhere: config(['127.0.0.1:1']),
      send: (...names) => send(names),
      traced: {
        send: (name, trace) => send([name], trace),
        headers: async () =>
          new Map(completions.messages.map(({ value, headers }) => [(JSON.parse(value) as Completion).key, headers])),
      },
      sendPoison: async () => {
        await producer.send({ topic: topics.requests, messages: [{ value: '{"task":"flights",' }] });
      },
      nameOf: (key) => key,
      completions: async () => completions.messages.map(({ value }) => JSON.parse(value) as Completion),
      deadLetters: async () =>
        dead.messages.map(({ headers }): DeadLetter => ({
          code: headers['podline-code'] ?? '',
          reason: headers['podline-reason'] ?? '',
          place: headers['podline-place'] ?? '',
        })),
      broker: { kill: () => server.kill(), again: () => server.again() },
      end: async () => {
        await completions.close();
        await dead.close();
        await producer.disconnect();
      },
    };
  };

  connectorContract('kafka', { broker: true, freezes: false, poison: true, exactlyOnce: true, headers: true }, make);

  it('names a topic that is missing, and makes topics where it is told how', async () => {
    const rig = await Rig.start();
    const open = (more: object): Connector => {
      const connector = openConnector(
        kafkaSchema.parse({
          kind: 'kafka',
          name: 'made',
          brokers: [server.broker],
          requests: { topic: 'made' },
          completions: { topic: 'made-too' },
          ...more,
        }),
        {
          office: rig.client,
          logger: silentLogger,
        },
      );
      onTestFinished(() => connector.close());
      return connector;
    };
    const without = open({});
    const { because } = await until(() => without.view().state === 'away' && without.view());
    expect(because).toMatch(/no topic made(, made\.dead|-too) \(PDL_BROKER_REFUSED\)/);
    await without.close();
    const making = open({ createTopics: { partitions: 2, replicas: 1 } });
    await until(() => making.view().state === 'running');
  });
});
