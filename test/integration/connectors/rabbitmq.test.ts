/** The connector to RabbitMQ, over a real one. */
import type { AsyncMessage, Connection, Publisher } from 'rabbitmq-client';
import { afterAll, beforeAll } from 'vitest';
import { rabbitmqSchema, type Completion } from '../../../runtime/contracts/connectors.js';
import { connectorContract, type ConnectorUnderTest, type DeadLetter } from '../../contract/connector.js';
import { traceHeaders, type TraceContext } from '../../../runtime/contracts/trace.js';
import { RabbitmqServer } from '../../support/rabbitmq.js';
import { needs } from '../../support/require.js';

needs('rabbitmq').describe('rabbitmq', () => {
  let server: RabbitmqServer;
  let made = 0;
  beforeAll(async () => {
    server = await RabbitmqServer.start();
  }, 120_000);
  afterAll(() => server.end());

  /** A client from outside: keeps what comes to two queues, and publishes to a third. */
  const connect = (
    queues: { requests: string; completions: string; dead: string },
    kept: { completions: AsyncMessage[]; dead: AsyncMessage[] },
  ): { connection: Connection; publisher: Publisher } => {
    const connection = server.client();
    const type = { durable: true, arguments: { 'x-queue-type': 'quorum' } } as const;
    for (const which of ['completions', 'dead'] as const) {
      const consumer = connection.createConsumer({ queue: queues[which], queueOptions: type }, (message) => {
        kept[which].push(message);
      });
      consumer.on('error', () => undefined);
    }
    const publisher = connection.createPublisher({
      confirm: true,
      maxAttempts: 20,
      queues: [{ queue: queues.requests, ...type }],
    });
    return { connection, publisher };
  };

  const make = async (): Promise<ConnectorUnderTest> => {
    made += 1;
    const queues = { requests: `pending-${made}`, completions: `completed-${made}`, dead: `pending-${made}.dead` };
    const kept: Parameters<typeof connect>[1] = { completions: [], dead: [] };
    let client = connect(queues, kept);
    const config = (port: number): ConnectorUnderTest['config'] =>
      rabbitmqSchema.parse({
        kind: 'rabbitmq',
        name: `rabbitmq-${made}`,
        host: '127.0.0.1',
        port,
        requests: { queue: queues.requests, prefetch: 20 },
        completions: { queue: queues.completions },
      });
    const send = (name: string, trace?: TraceContext): Promise<void> =>
      client.publisher.send(
        { routingKey: queues.requests, durable: true, messageId: name, headers: traceHeaders(trace) },
        { task: 'flights', payload: [{ name }], resultDir: '/results' },
      );
    return {
      config: config(server.port),
      elsewhere: config(1),
      send: async (...names) => {
        for (const name of names) await send(name);
      },
      traced: {
        send,
        headers: async () =>
          new Map(
            kept.completions.map(({ body, headers }) => [(body as Completion).key, (headers ?? {}) as Record<string, string>]),
          ),
      },
      sendPoison: () =>
        client.publisher.send({ routingKey: queues.requests, durable: true, messageId: 'poison' }, Buffer.from('not json')),
      nameOf: (key) => key,
      completions: async () => kept.completions.map(({ body }) => body as Completion),
      deadLetters: async () =>
        kept.dead.map(({ headers }): DeadLetter => {
          const header = (name: string): string => String(headers?.[name] ?? '');
          return { code: header('podline-code'), reason: header('podline-reason'), place: header('podline-place') };
        }),
      broker: {
        kill: async () => {
          // RabbitMQ 3.10 may find no leader any more for a quorum queue that was made seconds before the kill.
          await server.restart();
          await server.kill();
        },
        again: async () => {
          await server.again();
          // Anew, as programs come back too: what the one before still waits for may never come.
          client.connection.unsafeDestroy();
          client = connect(queues, kept);
        },
        freeze: () => {
          server.signal('SIGSTOP');
        },
        thaw: () => {
          server.signal('SIGCONT');
        },
      },
      end: async () => {
        // A consumer that waits for its broker's next life would be waited for.
        client.connection.unsafeDestroy();
      },
    };
  };

  connectorContract('rabbitmq', { broker: true, freezes: true, poison: true, exactlyOnce: false, headers: true }, make);
});
