/** A Redis for a chain. */
import { RedisServer } from '../../runners/redis-server.js';
import type { StoreServer } from '../chain-runner.js';

export async function startRedis(): Promise<StoreServer> {
  const server = await RedisServer.start();
  return { store: { name: 'redis', socket: server.socket }, pids: () => [server.pid], close: () => server.close() };
}
