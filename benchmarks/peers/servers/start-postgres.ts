/** A PostgreSQL for a chain, tuned for values that live for seconds: nothing waits for the disk (fsync off, an unlogged table, no compression). */
import type { StoreServer } from '../chain-runner.js';
import { PostgresServer } from './postgres-server.js';

const settings = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '8GB',
  shared_buffers: '1GB',
  autovacuum: 'off',
};

const table = `
  CREATE UNLOGGED TABLE blocks (key text PRIMARY KEY, value bytea NOT NULL);
  ALTER TABLE blocks ALTER COLUMN value SET STORAGE EXTERNAL;
`;

export async function startPostgres(): Promise<StoreServer> {
  const server = await PostgresServer.start(settings);
  try {
    await server.sql(table);
  } catch (thrown) {
    await server.close();
    throw thrown;
  }
  return {
    store: { name: 'postgres', dir: server.dir, user: server.user },
    pids: () => [server.pid],
    close: () => server.close(),
  };
}
