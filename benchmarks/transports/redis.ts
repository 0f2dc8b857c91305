/** Values in Redis: SET and GET on one unix socket, pipelined. */
import { RedisClient } from './redis-client.js';
import type { BlockStore } from './store-stage.js';

export class RedisStore implements BlockStore {
  private constructor(private readonly client: RedisClient) {}

  static async open(socket: string): Promise<RedisStore> {
    return new RedisStore(await RedisClient.open(socket));
  }

  put(key: string, pieces: readonly Uint8Array[]): Promise<void> {
    return this.client.set(key, pieces);
  }

  get(key: string): Promise<Buffer> {
    return this.client.get(key);
  }

  async remove(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.client.command('DEL', ...keys);
  }

  close(): void {
    this.client.close();
  }
}
