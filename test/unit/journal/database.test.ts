import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectionOf } from '../../../runtime/journal/postgres/connection.js';
import { Database } from '../../../runtime/journal/postgres/database.js';

/** As much of PostgreSQL as lets a client in and hears its simple queries: `onQuery` gets those, with the connection's number. */
async function server(onQuery: (socket: Socket, connection: number) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const listening = createServer((socket) => {
    sockets.add(socket);
    const number = sockets.size;
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write(Buffer.concat([message('R', Buffer.alloc(4)), ready]));
      socket.on('data', (data) => {
        if (data[0] === 'Q'.charCodeAt(0)) onQuery(socket, number);
      });
    });
  }).listen(0, '127.0.0.1');
  await once(listening, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    listening.close();
  });
  return `postgres://somebody@127.0.0.1:${String((listening.address() as AddressInfo).port)}/db`;
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const ready = message('Z', Buffer.from('I'));
const answer = (socket: Socket): void => {
  socket.write(Buffer.concat([message('C', Buffer.from('SELECT 0\0')), ready]));
};

function databaseAt(url: string, answerMs?: number): Database {
  const database = new Database(connectionOf(url), { connectionsMax: 1, answerMs });
  onTestFinished(() => database.close());
  return database;
}

describe('a database', () => {
  it('answers on a new connection at once when the old one was reset, whoever asks in the moment of its loss', async () => {
    let queries = 0;
    const url = await server((socket, connection) => {
      queries += 1;
      if (connection === 1 && queries > 1) socket.resetAndDestroy();
      else answer(socket);
    });
    const database = databaseAt(url);
    const ask = (): Promise<unknown> => database.ask((sql) => sql.unsafe('SELECT'));
    await ask();
    await Promise.all(
      Array.from({ length: 3 }, async () => {
        await expect(ask().catch(() => ask().then(() => 'again'))).resolves.toBe('again');
      }),
    );
  });

  it('that is silent is given up after its time, and asked anew on another connection', async () => {
    const url = await server((socket, connection) => {
      if (connection > 1) answer(socket);
    });
    const database = databaseAt(url, 100);
    const both = await Promise.allSettled([1, 2].map(() => database.ask((sql) => sql.unsafe('SELECT'))));
    expect(both).toMatchObject(both.map(() => ({ status: 'rejected', reason: { code: 'ETIMEDOUT' } })));
    await database.ask((sql) => sql.unsafe('SELECT'), 60_000);
  });

  it('that is silent does not keep it from being closed; who waits is told', async () => {
    let heard = (): void => undefined;
    const asked = new Promise<void>((resolve) => (heard = resolve));
    const database = databaseAt(
      await server(() => {
        heard();
      }),
    );
    const waiting = expect(database.ask((sql) => sql.unsafe('SELECT'))).rejects.toMatchObject({ code: 'PDL_JOURNAL' });
    await asked;
    await Promise.all([database.close(), database.close()]);
    await waiting;
    await expect(database.ask((sql) => sql.unsafe('SELECT'))).rejects.toMatchObject({ code: 'PDL_JOURNAL', retry: 'never' });
  });
});
