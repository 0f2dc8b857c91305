/** The connector to RabbitMQ, over a real one. */
import type { AsyncMessage, Connection } from 'rabbitmq-client';
import { afterAll, beforeAll } from 'vitest';
import { rabbitmqSchema, type Completion } from '../../../runtime/contracts/connectors.js';
import { connectorContract, type ConnectorUnderTest, type DeadLetter } from '../../contract/connector.js';
import { RabbitmqServer } from '../../support/rabbitmq.js';
import { needs } from '../../support/require.js';
import { until } from '../../support/podline.js';

needs('rabbitmq').describe('rabbitmq', () => {
  let server: RabbitmqServer;
  let made = 0;
  beforeAll(async () => {
    server = await RabbitmqServer.start();
  }, 120_000);
  afterAll(() => server.end());

  /** What comes to a queue, once it is there. */
  const read = (connection: Connection, queue: string): { messages: AsyncMessage[] } => {
    const messages: AsyncMessage[] = [];
    const consumer = connection.createConsumer(
      { queue, queueOptions: { durable: true, arguments: { 'x-queue-type': 'quorum' } } },
      (message) => {
        messages.push(message);
      },
    );
    consumer.on('error', () => undefined);
    return { messages };
  };

  const make = async (): Promise<ConnectorUnderTest> => {
    made += 1;
    const queues = { requests: `pending-${made}`, completions: `completed-${made}`, dead: `pending-${made}.dead` };
    const connection = server.client();
    const completions = read(connection, queues.completions);
    const dead = read(connection, queues.dead);
    const publisher = connection.createPublisher({
      confirm: true,
      maxAttempts: 20,
      queues: [{ queue: queues.requests, durable: true, arguments: { 'x-queue-type': 'quorum' } }],
    });
    const config = (port: number): ConnectorUnderTest['config'] =>
      rabbitmqSchema.parse({
        kind: 'rabbitmq',
        name: `rabbitmq-${made}`,
        host: '127.0.0.1',
        port,
        requests: { queue: queues.requests, prefetch: 20 },
        completions: { queue: queues.completions },
      });
    return {
      config: config(server.port),
      elsewhere: config(1),
      send: async (...names) => {
        for (const name of names)
          await publisher.send(
            { routingKey: queues.requests, durable: true, messageId: name },
            { task: 'flights', payload: [{ name }], resultDir: '/results' },
          );
      },
      sendPoison: () =>
        publisher.send({ routingKey: queues.requests, durable: true, messageId: 'poison' }, Buffer.from('not json')),
      nameOf: (key) => key,
      completions: async () => completions.messages.map(({ body }) => body as Completion),
      deadLetters: async () =>
        dead.messages.map(({ headers }): DeadLetter => {
          const header = (name: string): string => String(headers?.[name] ?? '');
          return { code: header('podline-code'), reason: header('podline-reason'), place: header('podline-place') };
        }),
      broker: {
        kill: () => server.kill(),
        again: async () => {
          await server.again();
          await until(() => connection.ready);
        },
      },
      end: async () => {
        // A consumer that waits for its broker's next life would be waited for.
        connection.unsafeDestroy();
      },
    };
  };

  connectorContract('rabbitmq', { broker: true, poison: true, exactlyOnce: false }, make);
});
