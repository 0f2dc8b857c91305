/**
 * A coordinator that takes requests from Kafka and is killed five times at random moments: each request is completed once on the topic.
 * The lines are simulated, outside of the coordinator: over its API they complete at once what they are leased.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once, setMaxListeners } from 'node:events';
import { join } from 'node:path';
import type { Kafka } from 'kafkajs';
import { expect, onTestFinished } from 'vitest';
import { LineClient } from '../../../runtime/api/line-client.js';
import { isPodlineError } from '../../../runtime/contracts/errors.js';
import type { Completion } from '../../../runtime/contracts/connectors.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { completeOf, folder, heartbeatOf, helloOf, pipelineOf } from '../../support/journal.js';
import { KafkaServer } from '../../support/kafka/server.js';
import { TopicReader } from '../../support/kafka/topic-reader.js';
import { until } from '../../support/until.js';
import { freePorts } from '../../support/ports.js';
import { needs } from '../../support/require.js';

/** More with PODLINE_KAFKA_REQUESTS. */
const requests = Number(process.env['PODLINE_KAFKA_REQUESTS'] ?? 5_000);
const kills = 5;
const partitions = 3;
const sendMax = 500;
const token = 'of-the-test';

/** A line without data: whatever it is leased is completed, side by side. */
class SimulatedLine {
  readonly #client: LineClient;
  readonly #held = new Map<string, number>();

  constructor(
    private readonly name: string,
    url: string,
  ) {
    this.#client = new LineClient({ url, token, line: name, instance: name });
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#calmly(() => this.#client.hello(helloOf(this.name), signal), signal);
    const beats = setInterval(() => {
      const held = [...this.#held].map(([shardId, epoch]) => ({ shardId, epoch }));
      this.#client.heartbeat(heartbeatOf(this.name, held), signal).catch(() => undefined);
    }, 500);
    try {
      while (!signal.aborted) {
        const answer = await this.#calmly(() => this.#client.lease({ max: 256, waitMs: 500, residents: [] }, signal), signal);
        const leases = (answer?.leases ?? []).values();
        const worker = async (): Promise<void> => {
          for (const { shardId, epoch } of leases) {
            this.#held.set(shardId, epoch);
            await this.#calmly(() => this.#client.complete(completeOf(shardId, epoch)), signal);
            this.#held.delete(shardId);
          }
        };
        await Promise.all(Array.from({ length: 32 }, worker));
      }
    } finally {
      clearInterval(beats);
    }
  }

  close(): void {
    this.#client.close();
  }

  /** Until it is answered: while the coordinator is dead, and then while it is not. */
  async #calmly<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    while (!signal.aborted) {
      try {
        return await call();
      } catch (thrown) {
        // Another lease has the shard, or nobody: it is not ours to complete.
        if (isPodlineError(thrown, 'PDL_LEASE_LOST')) return undefined;
      }
    }
    return undefined;
  }
}

async function sendAll(kafka: Kafka, topic: string, keys: readonly string[]): Promise<void> {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let from = 0; from < keys.length; from += sendMax) {
    const messages = keys
      .slice(from, from + sendMax)
      .map((key) => ({ key, value: JSON.stringify({ task: 'flights', payload: [{ key }], resultDir: '/results' }) }));
    await producer.send({ topic, acks: -1, messages });
  }
  await producer.disconnect();
}

needs('kafka').it(
  `completes each of ${requests} requests from Kafka once, its coordinator killed ${kills} times`,
  async () => {
    const server = await KafkaServer.start();
    onTestFinished(() => server.end(), 30_000);
    const kafka = server.client();
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({
      waitForLeaders: true,
      topics: ['pendingJobs', 'pendingJobs.dead', 'completedJobs'].map((topic) => ({
        topic,
        numPartitions: partitions,
        replicationFactor: 1,
      })),
    });
    await admin.disconnect();

    const dir = folder();
    const [port = 0] = await freePorts(1);
    const url = `http://127.0.0.1:${port}`;
    const connectors = [{ kind: 'kafka', name: 'main', brokers: [server.broker] }];
    const pipeline = pipelineOf('flights', { input: { format: 'ndjson' } });
    let coordinator: ChildProcess | undefined;
    const start = async (): Promise<void> => {
      const entry = join(packageRoot, 'test/integration/connectors/coordinator.mjs');
      const args = [entry, dir, String(port), token, JSON.stringify(connectors), JSON.stringify(pipeline)];
      const child = (coordinator = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
      await once(child.stdout, 'data');
    };
    const kill = async (): Promise<void> => {
      if (coordinator === undefined || coordinator.exitCode !== null || coordinator.signalCode !== null) return;
      const gone = once(coordinator, 'exit');
      coordinator.kill('SIGKILL');
      await gone;
    };
    onTestFinished(kill);

    const completed = await TopicReader.open(kafka, 'completedJobs');
    onTestFinished(() => completed.close());
    const stop = new AbortController();
    // Every call of a line listens to it.
    setMaxListeners(0, stop.signal);
    const lines = ['line-0', 'line-1'].map((name) => new SimulatedLine(name, url));
    await start();
    const working = lines.map((line) => line.run(stop.signal));
    onTestFinished(() => {
      stop.abort();
    });
    const keys = Array.from({ length: requests }, (_, index) => `request-${index}`);
    const sending = sendAll(kafka, 'pendingJobs', keys);

    const moments = Array.from({ length: kills }, () => Math.floor(Math.random() * requests * 0.95)).sort((a, b) => a - b);
    const begunAt = performance.now();
    for (const moment of moments) {
      await until(() => completed.messages.length >= moment);
      await kill();
      await start();
    }
    await sending;
    await until(() => new Set(completed.messages.map(({ key }) => key)).size >= requests);
    const tookMs = performance.now() - begunAt;
    stop.abort();
    await Promise.all(working);
    for (const line of lines) line.close();
    await kill();

    // What is behind everything that was published shows that everything was read.
    const producer = kafka.producer();
    await producer.connect();
    const marks = Array.from({ length: partitions }, (_, partition) => ({ key: 'mark', value: '{}', partition }));
    await producer.send({ topic: 'completedJobs', messages: marks });
    await producer.disconnect();
    await until(() => completed.messages.filter(({ key }) => key === 'mark').length === partitions);

    const told = completed.messages.filter(({ key }) => key !== 'mark');
    expect(told).toHaveLength(requests);
    expect(new Set(told.map(({ key }) => key))).toEqual(new Set(keys));
    expect(told.every(({ value }) => (JSON.parse(value) as Completion).outcome === 'completed')).toBe(true);
    const journal = openLmdbJournal({ dir: join(dir, 'journal') });
    onTestFinished(() => journal.close());
    expect(await journal.counts('flights')).toEqual({ pending: 0, running: 0, completed: requests, failed: 0, cancelled: 0 });
    console.log(`${requests} requests, ${kills} kills at ${moments.join(', ')} completions: ${(tookMs / 1_000).toFixed(1)} s`);
  },
  30 * 60_000,
);
