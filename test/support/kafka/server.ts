/** A real Kafka of one node, for the tests of one file: KRaft, on free ports of loopback, in a folder of its own. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, closeSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { freePorts } from '../ports.js';
import { until } from '../until.js';
import { kafkaJars } from './jars.js';

const javaArgs = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', join(kafkaJars, '*')];

export class KafkaServer {
  readonly #dir = mkdtempSync(join(tmpdir(), 'podline-kafka-'));
  #port = 0;
  #process: ChildProcess | undefined;

  static async start(): Promise<KafkaServer> {
    const server = new KafkaServer();
    const [port = 0, controllerPort = 0] = await freePorts(2);
    server.#port = port;
    const properties = join(server.#dir, 'server.properties');
    writeFileSync(
      properties,
      [
        'process.roles=broker,controller',
        'node.id=1',
        `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
        `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
        'controller.listener.names=CONTROLLER',
        'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
        `log.dirs=${join(server.#dir, 'data')}`,
        'offsets.topic.replication.factor=1',
        'offsets.topic.num.partitions=4',
        'transaction.state.log.replication.factor=1',
        'transaction.state.log.num.partitions=4',
        'transaction.state.log.min.isr=1',
        'group.initial.rebalance.delay.ms=0',
        'group.min.session.timeout.ms=1000',
        'auto.create.topics.enable=false',
        // A killed broker is back sooner when it need not look through what it wrote.
        'num.recovery.threads.per.data.dir=2',
        '',
      ].join('\n'),
    );
    const formatted = spawnSync('java', [
      ...javaArgs,
      'kafka.tools.StorageTool',
      'format',
      '-t',
      'cG9kbGluZS10ZXN0LWthZg',
      '-c',
      properties,
    ]);
    if (formatted.status !== 0) throw new Error(`kafka's storage was not formatted: ${String(formatted.stderr)}`);
    await server.again();
    return server;
  }

  get broker(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** A client of the test's own, beside the one that is tested. */
  client(): Kafka {
    return new Kafka({
      brokers: [this.broker],
      clientId: 'test',
      logLevel: logLevel.NOTHING,
      retry: { retries: 20, initialRetryTime: 50, maxRetryTime: 500 },
    });
  }

  /** Starts it, on the same ports and data, and waits until it answers. */
  async again(): Promise<void> {
    const log = openSync(join(this.#dir, 'log'), 'a');
    this.#process = spawn('java', [...javaArgs, 'kafka.Kafka', join(this.#dir, 'server.properties')], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    const child = this.#process;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`kafka ended with ${child.exitCode}; its log is in ${this.#dir}`);
      const admin = new Kafka({ brokers: [this.broker], logLevel: logLevel.NOTHING, retry: { retries: 0 } }).admin();
      try {
        await admin.connect();
        await admin.listTopics();
        return true;
      } catch {
        return false;
      } finally {
        await admin.disconnect().catch(() => undefined);
      }
    });
  }

  /** kill -9, and waits until it is gone. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
