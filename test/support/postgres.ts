/** One PostgreSQL for the tests of a file, durable as in production; each test has a schema of its own. */
import { afterAll } from 'vitest';
import { PostgresServer } from '../../benchmarks/peers/servers/postgres-server.js';

export interface TestDatabase {
  server(): Promise<PostgresServer>;
  /** Of a schema that nobody else has. */
  url(): Promise<string>;
}

export function testDatabase(): TestDatabase {
  let started: Promise<PostgresServer> | undefined;
  let schemas = 0;
  const server = (): Promise<PostgresServer> => (started ??= PostgresServer.start({ shared_buffers: '64MB' }));
  afterAll(async () => {
    await (await started)?.close();
  });
  return {
    server,
    url: async () => {
      const { dir, user } = await server();
      schemas += 1;
      return `postgres://${user}@localhost/postgres?host=${encodeURIComponent(dir)}&schema=podline_${String(schemas)}`;
    },
  };
}
