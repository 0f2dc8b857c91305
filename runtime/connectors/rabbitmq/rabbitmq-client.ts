/**
 * A connection to RabbitMQ by a client that is loaded when a connector wants it: it is an optional dependency. The client would mend a
 * broken connection by itself; here a break ends the work, which begins anew and says so.
 *
 * The client waits for an answer, and for the end of a channel, as long as the connection lasts. A broker that came back from a crash may owe
 * them for ever (a confirm of a quorum queue that has no leader), so every wait here has an end.
 */
import { readFile } from 'node:fs/promises';
import type * as RabbitmqClient from 'rabbitmq-client';
import type { Channel, Connection } from 'rabbitmq-client';
import type { RabbitmqConfig } from '../../contracts/connectors.js';
import { PodlineError } from '../../contracts/errors.js';
import { readSecret } from '../secrets.js';

const connectMs = 10_000;
/** Longer than any answer of a broker that is well takes. */
const answerMs = 10_000;
const closeMs = 2_000;

export interface Session {
  readonly channel: Channel;
  /** Rejects when the connection or the channel is gone. */
  readonly broken: Promise<never>;
  /** What the broker answers; throws PDL_BROKER_UNREACHABLE when it is gone, or owes the answer for longer than ten seconds. */
  readonly answer: <T>(asked: Promise<T>) => Promise<T>;
  /** Settles within seconds, whatever the broker does. */
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
  const late = `${placeOf(config)}: no answer for ${String(answerMs / 1_000)} s`;
  const answer = <T>(asked: Promise<T>): Promise<T> =>
    within(answerMs, Promise.race([asked, broken]), new PodlineError('PDL_BROKER_UNREACHABLE', late));
  try {
    const channel = await answer(connection.acquire());
    channel.on('close', () => {
      tell(new PodlineError('PDL_BROKER_UNREACHABLE', `${placeOf(config)}: the channel was closed`));
    });
    await answer(channel.confirmSelect());
    return { channel, broken, answer, close: () => closeAll(connection, channel) };
  } catch (thrown) {
    connection.unsafeDestroy();
    throw rabbitmqError(thrown, config);
  }
}

/** A channel that is broken already has nothing to close. */
async function closeAll(connection: Connection, channel: Channel): Promise<void> {
  const inOrder = async (): Promise<void> => {
    await channel.close();
    await connection.close();
  };
  if (connection.ready) await within(closeMs, inOrder(), new Error('it does not close')).catch(() => undefined);
  // Of what was closed in order, nothing is left to destroy.
  connection.unsafeDestroy();
}

async function within<T>(ms: number, work: Promise<T>, late: Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(late);
    }, ms);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
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
