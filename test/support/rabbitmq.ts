/** A real RabbitMQ for the tests of one file: a node of its own name, with its own port mapper, ports and folder. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from 'rabbitmq-client';
import { freePorts } from './ports.js';
import { until } from './until.js';

export class RabbitmqServer {
  readonly #dir = mkdtempSync(join(tmpdir(), 'podline-rabbitmq-'));
  #ports: readonly number[] = [];
  #epmd: ChildProcess | undefined;
  #process: ChildProcess | undefined;

  static async start(): Promise<RabbitmqServer> {
    const server = new RabbitmqServer();
    server.#ports = await freePorts(3);
    const epmdPort = String(server.#ports[1]);
    server.#epmd = spawn('epmd', ['-port', epmdPort, '-address', '127.0.0.1'], { stdio: 'ignore' });
    writeFileSync(join(server.#dir, 'enabled_plugins'), '[].\n');
    // What is free on the machine is no concern of a test.
    writeFileSync(
      join(server.#dir, 'rabbitmq.conf'),
      'disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.absolute = 1GB\n',
    );
    await server.again();
    return server;
  }

  get port(): number {
    return this.#ports[0] ?? 0;
  }

  /** A client of the test's own, beside the one that is tested. */
  client(): Connection {
    const connection = new Connection({ hostname: '127.0.0.1', port: this.port, retryLow: 50, retryHigh: 500 });
    connection.on('error', () => undefined);
    return connection;
  }

  /** Starts it, on the same ports and data, and waits until it answers. */
  async again(): Promise<void> {
    const [port, epmdPort, distPort] = this.#ports.map(String);
    const log = openSync(join(this.#dir, 'log'), 'a');
    this.#process = spawn('/usr/lib/rabbitmq/bin/rabbitmq-server', [], {
      stdio: ['ignore', log, log],
      detached: true,
      cwd: this.#dir,
      env: {
        ...process.env,
        HOME: this.#dir,
        ERL_EPMD_PORT: epmdPort,
        RABBITMQ_NODENAME: `podline${port ?? ''}@localhost`,
        RABBITMQ_NODE_PORT: port,
        RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
        RABBITMQ_DIST_PORT: distPort,
        RABBITMQ_MNESIA_BASE: join(this.#dir, 'data'),
        RABBITMQ_LOG_BASE: join(this.#dir, 'logs'),
        RABBITMQ_CONFIG_FILE: join(this.#dir, 'rabbitmq.conf'),
        RABBITMQ_ENABLED_PLUGINS_FILE: join(this.#dir, 'enabled_plugins'),
        RABBITMQ_PID_FILE: join(this.#dir, 'pid'),
        RABBITMQ_FEATURE_FLAGS_FILE: join(this.#dir, 'feature_flags'),
      },
    });
    closeSync(log);
    const child = this.#process;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`rabbitmq ended with ${child.exitCode}; its log is in ${this.#dir}`);
      const connection = new Connection({ hostname: '127.0.0.1', port: this.port, connectionTimeout: 1_000 });
      connection.on('error', () => undefined);
      try {
        await connection.onConnect(1_000);
        return true;
      } catch {
        return false;
      } finally {
        connection.unsafeDestroy();
      }
    });
  }

  /** kill -9 of all its processes, and waits until they are gone. */
  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  /** Ends it in order and starts it again: what it knows of its queues is on disk then. */
  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    await this.again();
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    process.kill(-child.pid, signal);
    await gone;
  }

  /** All its processes stand still until they are sent SIGCONT. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const pid = this.#process?.pid;
    if (pid !== undefined) process.kill(-pid, signal);
  }

  async end(): Promise<void> {
    await this.kill();
    this.#epmd?.kill('SIGKILL');
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
