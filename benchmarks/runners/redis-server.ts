/** A Redis of our own: on a unix socket in a temporary folder, no port, and nothing on disk unless it is told to. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { RedisClient } from '../transports/redis-client.js';
import { Missing } from './runner.js';

const serverCommand = 'redis-server';
const startTriesMax = 200;

export class RedisServer {
  private constructor(
    private readonly child: ChildProcess,
    private readonly dir: string,
    readonly socket: string,
    readonly pid: number,
  ) {}

  /** Throws `Missing` where there is no redis-server. The settings go over those of a store without a disk. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
    const dir = await mkdtemp(join(tmpdir(), 'podline-redis-'));
    const socket = join(dir, 'redis.sock');
    const options = {
      port: '0',
      unixsocket: socket,
      save: '',
      appendonly: 'no',
      dir,
      daemonize: 'no',
      'proto-max-bulk-len': '1gb',
      ...settings,
    };
    const child = spawn(
      'redis-server',
      Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]),
      { stdio: 'ignore' },
    );
    const failed = new Promise<never>((_, reject) => child.once('error', reject));
    failed.catch(() => undefined);
    try {
      await Promise.race([once(child, 'spawn'), failed]);
      for (let tries = 0; ; tries++) {
        try {
          (await RedisClient.open(socket)).close();
          return new RedisServer(child, dir, socket, child.pid ?? 0);
        } catch (thrown) {
          if (tries >= startTriesMax || child.exitCode !== null) throw thrown;
          await delay(20);
        }
      }
    } catch (thrown) {
      child.kill();
      await rm(dir, { recursive: true, force: true });
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT' && child.pid === undefined) {
        throw new Missing(`${serverCommand} is not installed (Debian: apt-get install redis-server)`);
      }
      throw thrown;
    }
  }

  async close(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      await exited;
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}
