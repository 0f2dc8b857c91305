/**
 * A connection to RabbitMQ by a client that is loaded when a connector wants it: it is an optional dependency. The client would mend a
 * broken connection by itself; here a break ends the work, which begins anew and says so.
 */
import { readFile } from 'node:fs/promises';
import type * as RabbitmqClient from 'rabbitmq-client';
import type { Channel, Connection } from 'rabbitmq-client';
import type { RabbitmqConfig } from '../../contracts/connectors.js';
import { PodlineError } from '../../contracts/errors.js';
import { readSecret } from '../secrets.js';

const connectMs = 10_000;

export interface Session {
  readonly channel: Channel;
  /** Rejects when the connection or the channel is gone. */
  readonly broken: Promise<never>;
  close(): Promise<void>;
}

/** A connection with one channel, on which the broker confirms what is published. Throws PDL_BROKER_UNREACHABLE or PDL_BROKER_REFUSED. */
export async function openSession(config: RabbitmqConfig): Promise<Session> {
  const { Connection } = await load();
  const { host, port, vhost, username, password, tls, name } = config;
  const connection = new Connection({
    hostname: host,
    port,
    vhost,
    username,
    password: password === undefined ? 'guest' : await readSecret(password),
    tls: typeof tls === 'boolean' ? tls : { ca: await readFile(tls.caFile, 'utf8') },
    connectionName: `podline-${name}`,
    connectionTimeout: connectMs,
    acquireTimeout: connectMs,
    heartbeat: 10,
  });
  // The first error is why; without a listener it would end the process.
  let tell: (thrown: unknown) => void = () => undefined;
  const broken = new Promise<never>((_resolve, reject) => (tell = reject));
  // It may break before anybody waits for it.
  broken.catch(() => undefined);
  connection.on('error', tell);
  try {
    const channel = await Promise.race([connection.acquire(), broken]);
    channel.on('close', () => {
      tell(new PodlineError('PDL_BROKER_UNREACHABLE', `${placeOf(config)}: the channel was closed`));
    });
    await channel.confirmSelect();
    return { channel, broken, close: () => closeAll(connection, channel) };
  } catch (thrown) {
    connection.unsafeDestroy();
    throw rabbitmqError(thrown, config);
  }
}

/** A channel that is broken already has nothing to close. */
async function closeAll(connection: Connection, channel: Channel): Promise<void> {
  if (!connection.ready) {
    connection.unsafeDestroy();
    return;
  }
  await channel.close().catch(() => undefined);
  await connection.close().catch(() => undefined);
}

async function load(): Promise<Pick<typeof RabbitmqClient, 'Connection'>> {
  try {
    return await import('rabbitmq-client');
  } catch (thrown) {
    throw new PodlineError(
      'PDL_CONNECTOR_MISSING',
      'the connector to RabbitMQ needs the package rabbitmq-client, which cannot be loaded',
      {
        hint: 'Run `npm install rabbitmq-client`.',
        cause: thrown,
      },
    );
  }
}

export const placeOf = ({ host, port, vhost }: RabbitmqConfig): string =>
  `rabbitmq at ${host}:${port}${vhost === '/' ? '' : `/${vhost}`}`;

export function rabbitmqError(thrown: unknown, config: RabbitmqConfig): PodlineError {
  if (thrown instanceof PodlineError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  const refused = /ACCESS_REFUSED|NOT_FOUND|PRECONDITION_FAILED|NOT_ALLOWED|RESOURCE_LOCKED/.test(`${code} ${message}`);
  return new PodlineError(
    refused ? 'PDL_BROKER_REFUSED' : 'PDL_BROKER_UNREACHABLE',
    `${placeOf(config)}: ${message === '' ? code : message}`,
    {
      cause: thrown,
    },
  );
}
