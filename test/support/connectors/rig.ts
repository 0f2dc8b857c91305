/** A coordinator on a real journal, with lines that complete what they are given at once, for tests of connectors. */
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { PodlineClient } from '../../../runtime/api/client.js';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import { createCoordinator, type Coordinator, type CoordinatorOptions } from '../../../runtime/coordinator/coordinator.js';
import { openLmdbJournal } from '../../../runtime/journal/lmdb/lmdb-journal.js';
import type { Journal } from '../../../runtime/journal/journal.js';
import { completeOf, folder, heartbeatOf, helloOf, pipelineOf } from '../journal.js';

export interface RigOptions {
  limits?: CoordinatorOptions['limits'];
  eventsKept?: number;
  dir?: string;
}

export class Rig {
  #line: { stop: AbortController; done: Promise<void> } | undefined;

  private constructor(
    readonly dir: string,
    readonly journal: Journal,
    readonly coordinator: Coordinator,
    readonly client: PodlineClient,
  ) {}

  /** Ends with the test. */
  static async start({ limits, eventsKept, dir = folder() }: RigOptions = {}): Promise<Rig> {
    const journal = openLmdbJournal({
      dir: join(dir, 'journal'),
      ...(eventsKept === undefined ? {} : { retention: { eventsMax: eventsKept } }),
    });
    const coordinator = await createCoordinator({ journal, ...(limits === undefined ? {} : { limits }) });
    await coordinator.applyPipeline(pipelineOf('flights', { input: { format: 'ndjson' }, retries: { limit: 0 } }));
    const rig = new Rig(dir, journal, coordinator, PodlineClient.local(coordinator));
    onTestFinished(() => rig.close());
    return rig;
  }

  /** A line that completes, or with `fails`, fails, whatever it is leased; until `stopLine`. */
  startLine({ fails = () => false }: { fails?: (key: string) => boolean } = {}): void {
    const stop = new AbortController();
    const { coordinator } = this;
    const work = async (): Promise<void> => {
      await coordinator.lineHello('line-0', helloOf('a'));
      while (!stop.signal.aborted) {
        const { leases } = await coordinator.lease('line-0', { max: 64, waitMs: 1_000, residents: [] }, stop.signal);
        await Promise.all(
          leases.map(({ shardId, epoch, key }) =>
            fails(key)
              ? coordinator.fail('line-0', {
                  shardId,
                  epoch,
                  error: new PodlineError('PDL_STAGE_FAILED', 'as wished').toWire(),
                  counts: true,
                })
              : coordinator.complete('line-0', completeOf(shardId, epoch)),
          ),
        );
        await coordinator.heartbeat('line-0', heartbeatOf('a'));
      }
    };
    this.#line = { stop, done: work() };
  }

  async stopLine(): Promise<void> {
    const line = this.#line;
    this.#line = undefined;
    line?.stop.abort();
    await line?.done;
  }

  /** From now on a submission without the parameter `year` is refused. */
  async needParameter(): Promise<void> {
    await this.coordinator.applyPipeline(
      pipelineOf('flights', { input: { format: 'ndjson' }, parameters: { year: { type: 'integer' } } }),
    );
  }

  /** Events that mean nothing to a connector, as lines report them. */
  async say(count: number): Promise<void> {
    const event = { type: 'slot.swapped' as const, pipeline: 'flights', line: 'line-0', data: {} };
    await this.journal.report(
      'line-0',
      [],
      Array.from({ length: count }, () => event),
      { ms: await this.journal.clockMs(), at: new Date().toISOString() },
    );
  }

  async keys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const shard of this.client.listAll('flights')) keys.push(shard.key);
    return keys;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.stopLine();
    await this.coordinator.close();
    await this.journal.close();
  }
}
