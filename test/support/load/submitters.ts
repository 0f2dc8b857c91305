/** Who hands in shards while things fail: over HTTP, and as files in a folder. Each knows what it may count on. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { PodlineClient } from '../../../runtime/api/client.js';
import { isPodlineError } from '../../../runtime/contracts/errors.js';
import type { PodlineEvent } from '../../../runtime/contracts/events.js';
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

/** Reads every event, over failovers and breaks, each once. */
export class Watcher {
  readonly completed = new Map<string, number>();
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
    if (type === 'shard.completed' && shardId !== undefined) this.completed.set(shardId, (this.completed.get(shardId) ?? 0) + 1);
  }
}
