/** Who hands in shards while things fail: over HTTP, as files in a folder, and by a broker. Each knows what it may count on. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection, Publisher } from 'rabbitmq-client';
import type { PodlineClient } from '../../../runtime/api/client.js';
import { completionSchema } from '../../../runtime/contracts/connectors.js';
import { isPodlineError } from '../../../runtime/contracts/errors.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
import type { RabbitmqServer } from '../rabbitmq.js';
import { pipelineName } from './world.js';

const againMs = 50;
/** Shards that may wait: the run is to end soon after its submitters. */
const waitingMax = 60;

/** Asks until it is answered: a failover is no answer. */
export async function persistently<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      if (
        !isPodlineError(thrown) ||
        !['PDL_UNREACHABLE', 'PDL_NOT_LEADER', 'PDL_JOURNAL', 'PDL_PIPELINE_UNKNOWN'].includes(thrown.code)
      )
        throw thrown;
      await delay(againMs);
    }
  }
}

export class HttpSubmitter {
  /** By key, what was accepted: the id of its shard. */
  readonly accepted = new Map<string, string>();
  #isOver = false;

  constructor(
    private readonly client: PodlineClient,
    private readonly name: string,
  ) {}

  end(): void {
    this.#isOver = true;
  }

  async run(): Promise<void> {
    for (let value = 0; !this.#isOver; value += 1) {
      while (!this.#isOver && (await persistently(() => this.client.progress(pipelineName))).pending >= waitingMax)
        await delay(againMs);
      const key = `${this.name}-${String(value)}`;
      // The same call until it is answered: an answer that was lost is told as a duplicate.
      const answer = await persistently(() => this.client.request({ task: pipelineName, payload: [{ value }], key }));
      if (answer.outcome !== 'rejected') this.accepted.set(key, answer.id);
    }
  }
}

export class FolderSubmitter {
  readonly dropped: string[] = [];
  #isOver = false;

  constructor(private readonly dir: string) {}

  end(): void {
    this.#isOver = true;
  }

  async run(everyMs: number): Promise<void> {
    for (let value = 0; !this.#isOver; value += 1) {
      const name = `file-${String(value)}.ndjson`;
      const beside = join(this.dir, `.${name}`);
      writeFileSync(beside, `{"value":${String(value)}}\n`);
      renameSync(beside, join(this.dir, name));
      this.dropped.push(name);
      await delay(everyMs);
    }
  }
}

/** Hands in by a queue, and hears by another: what the broker has confirmed it may count on, and some ends are told twice. */
export class BrokerSubmitter {
  readonly sent: string[] = [];
  /** Keys of shards that were told to have ended well. */
  readonly completed = new Set<string>();
  #client: { connection: Connection; publisher: Publisher };
  #isOver = false;

  constructor(
    private readonly broker: RabbitmqServer,
    private readonly queues: { requests: string; completions: string },
  ) {
    this.#client = this.#connect();
  }

  /** As programs come back that lost their broker: what the connection before still waits for may never come. */
  connectAnew(): void {
    this.#client.connection.unsafeDestroy();
    this.#client = this.#connect();
  }

  end(): void {
    this.#isOver = true;
  }

  close(): void {
    this.#client.connection.unsafeDestroy();
  }

  async run(everyMs: number): Promise<void> {
    for (let value = 0; !this.#isOver; value += 1) {
      const key = `broker-${String(value)}`;
      while (!(await this.#send(key, value))) await delay(againMs);
      this.sent.push(key);
      await delay(everyMs);
    }
  }

  /** Whether the broker has confirmed it. What it was sent twice is one shard: the message has its key. */
  #send(key: string, value: number): Promise<boolean> {
    const message = { routingKey: this.queues.requests, durable: true, messageId: key };
    return this.#client.publisher.send(message, { task: pipelineName, payload: [{ value }] }).then(
      () => true,
      () => false,
    );
  }

  #connect(): { connection: Connection; publisher: Publisher } {
    const connection = this.broker.client();
    const { requests, completions } = this.queues;
    const quorum = { durable: true, arguments: { 'x-queue-type': 'quorum' } } as const;
    const consumer = connection.createConsumer({ queue: completions, queueOptions: quorum }, ({ body }) => {
      const { key, outcome } = completionSchema.parse(body);
      if (outcome === 'completed') this.completed.add(key);
    });
    consumer.on('error', () => undefined);
    const publisher = connection.createPublisher({ confirm: true, queues: [{ queue: requests, ...quorum }] });
    return { connection, publisher };
  }
}

/** Reads every event, over failovers and breaks, each once. */
export class Watcher {
  readonly completed = new Map<string, number>();
  /** Attempts that failed so far. */
  failures = 0;
  readonly #stop = new AbortController();
  last = 0;

  constructor(private readonly client: PodlineClient) {}

  end(): void {
    this.#stop.abort();
  }

  async run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const event of this.client.events({ after: this.last, pipeline: pipelineName, signal })) this.#take(event);
      } catch {
        await delay(againMs);
      }
    }
  }

  #take({ id, type, shardId }: PodlineEvent): void {
    if (id <= this.last) throw new Error(`event ${String(id)} came after ${String(this.last)}`);
    this.last = id;
    if (type === 'shard.retried') this.failures += 1;
    if (type === 'shard.completed' && shardId !== undefined) this.completed.set(shardId, (this.completed.get(shardId) ?? 0) + 1);
  }
}
