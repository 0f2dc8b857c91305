/**
 * What only the coordinator that leads does: it tells webhooks of what has ended, takes from and gives to brokers and folders, and
 * brings up the lines of its configuration and of the cluster's pipelines.
 *
 * Invariants
 *  1. `begin` and `end` are carried out one after another, in the order of the calls; `end` leaves nothing at work that `begin` started.
 *  2. What outside hears of is read from the journal behind a durable mark: whoever leads next goes on where this one stopped.
 */
import { PodlineClient } from '../api/client.js';
import { openConnectors } from '../connectors/open.js';
import { readManifest } from '../config/manifest.js';
import { resolvePipeline } from '../config/pipeline.js';
import type { ServerConfig } from '../contracts/server-config.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import type { Cluster } from '../cluster/open-cluster.js';
import type { Journal } from '../journal/journal.js';
import type { LocalDriver } from '../local/local-driver.js';
import type { Places } from '../local/places.js';
import { systemClock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { readSecrets } from './secrets.js';
import { Webhooks } from '../webhooks/webhooks.js';

export interface DutiesParts {
  config: ServerConfig;
  journal: Journal;
  coordinator: Coordinator;
  driver: LocalDriver | undefined;
  cluster: Cluster | undefined;
  places: Places;
  logger: Logger;
}

export class Duties {
  #closers: (() => Promise<void>)[] = [];
  #last: Promise<void> = Promise.resolve();

  constructor(private readonly parts: DutiesParts) {}

  /** Throws PDL_CONFIG_INVALID, PDL_CONNECTOR_INVALID, and what a manifest throws; nothing is at work then. */
  begin(): Promise<void> {
    return this.#inTurn(async () => {
      const { config, coordinator, logger } = this.parts;
      try {
        await this.#openWebhooks();
        await this.#applyPipelines();
        await this.#startCluster();
        const connectors = openConnectors(config.connectors, { office: PodlineClient.local(coordinator), logger });
        coordinator.watchConnectors(() => connectors.views());
        this.#closers.push(() => connectors.close());
      } catch (thrown) {
        await this.#closeAll();
        throw thrown;
      }
    });
  }

  /** May be called at any time, and more than once. */
  end(): Promise<void> {
    return this.#inTurn(() => this.#closeAll());
  }

  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#last.then(step);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #closeAll(): Promise<void> {
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) await close();
  }

  async #openWebhooks(): Promise<void> {
    const { config, journal, logger } = this.parts;
    const { secret, triesMax, inFlightMax, timeoutSeconds } = config.webhooks;
    if (secret === undefined) return;
    const webhooks = new Webhooks({
      journal,
      secrets: await readSecrets(secret),
      allowed: config.webhooks,
      triesMax,
      inFlightMax,
      timeoutMs: timeoutSeconds * 1_000,
      logger,
      clock: systemClock,
      random: Math.random,
    });
    this.#closers.push(() => webhooks.close());
    await webhooks.start();
  }

  async #startCluster(): Promise<void> {
    const { cluster, coordinator } = this.parts;
    if (cluster === undefined) return;
    this.#closers.push(() => cluster.stop());
    await cluster.start(coordinator);
  }

  async #applyPipelines(): Promise<void> {
    const { config, coordinator, driver, places } = this.parts;
    // Whoever leads next has lines of the same names: two processes of one name would push each other out.
    if (driver !== undefined) this.#closers.push(() => driver.stop());
    for (const { manifest: file, lines } of config.pipelines) {
      const { manifest, baseDir } = await readManifest(file);
      const resolved = await resolvePipeline(manifest, { baseDir, stagesDir: places.stagesDir, revision: 0 });
      await coordinator.applyPipeline(resolved);
      if (driver !== undefined && lines > 0) await coordinator.startLines(manifest.metadata.name, lines);
    }
    if (driver !== undefined) await coordinator.releaseAbsent(driver.lineNames);
  }
}
