/**
 * A coordinator as a process of its own, composed from its configuration: journal, gates, API, driver. Of several on one
 * journal in PostgreSQL one leads; what only that one does are its `Duties`.
 *
 * Owns what it opens, and closes it so that nothing is lost: it says first that it is not ready, then lines end (they
 * checkpoint and give their leases back), then the API, then the journal, the lock last.
 */
import { randomUUID } from 'node:crypto';
import { rm, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { startApiServer, type ApiServer, type TlsPair } from '../api/server.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { ServerConfig } from '../contracts/server-config.js';
import { createCoordinator, type Coordinator, type CoordinatorOptions } from '../coordinator/coordinator.js';
import { Election } from '../coordinator/election.js';
import { lockWorkdir } from '../coordinator/workdir-lock.js';
import { openJournal } from '../journal/open-journal.js';
import { openPostgresLease } from '../journal/postgres/postgres-lease.js';
import type { Cluster } from '../cluster/open-cluster.js';
import { LocalDriver } from '../local/local-driver.js';
import { machineCapacity, memoryOfMachine } from '../local/machine.js';
import { layOut, type Places } from '../local/places.js';
import { writeFileAtomically } from '../platform/files.js';
import type { Logger } from '../platform/logger.js';
import { systemClock } from '../platform/clock.js';
import { watchFiles } from '../platform/watch-files.js';
import { createMetrics } from '../telemetry/metrics.js';
import { openTracing } from '../telemetry/tracing.js';
import { Duties } from './duties.js';
import { openServedAutoscaler } from './autoscaler.js';
import { openQueueDepths, openServedCluster } from './in-cluster.js';
import { retentionOf } from './retention.js';
import { lookEveryMs, openGates, type Gates } from './gates.js';

export interface Served {
  readonly url: string;
  readonly coordinator: Coordinator;
  /** Of the work directory: address and token of the operator. */
  readonly addressFile: string;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Throws PDL_CONFIG_INVALID, PDL_WORKDIR_BUSY, PDL_JOURNAL, and what a manifest throws. */
export async function serve(config: ServerConfig, logger: Logger): Promise<Served> {
  const closers: (() => Promise<void> | void)[] = [];
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
  };
  try {
    const places = layOut(config.workDir, 'Memory');
    const lock = await lockWorkdir(places.workDir);
    closers.push(() => lock.release());
    const cluster = config.cluster === undefined ? undefined : await openServedCluster(config, config.cluster, logger);
    if (cluster !== undefined) closers.push(() => cluster.close());
    const gates = await openGates(config, cluster?.lineGate, logger);
    closers.push(() => {
      gates.close();
    });
    const journal = await openJournal(config.journal ?? places.journalDir, { retention: retentionOf(config.retention) });
    closers.push(() => journal.close());
    const metrics = createMetrics();
    closers.push(() => {
      metrics.close();
    });
    const spans = await openTracing('podline-coordinator', logger);
    closers.push(() => spans.close());
    const driver = config.driver === 'local' ? localDriver(places, gates, logger) : undefined;
    const { eventStreamsMax, submitBatchMax, pendingShardsMax } = { ...limits, ...given(config.limits) };
    const cores = availableParallelism();
    const autoscaler = await openServedAutoscaler(config, logger);
    const coordinator = await createCoordinator({
      journal,
      ...linesOf(driver, cluster, cores),
      ...(autoscaler === undefined ? {} : { autoscaler }),
      logger,
      metrics,
      tracing: spans.tracing,
      limits: { eventStreamsMax, submitBatchMax, pendingShardsMax },
      allowed: config.allowed,
      callbacks: config.webhooks.secret === undefined ? undefined : config.webhooks,
      standby: true,
    });
    closers.push(() => coordinator.close());

    let state: 'starting' | 'ready' | 'ending' = 'starting';
    const { tls } = config.listen;
    const server = await startApiServer({
      coordinator,
      gate: gates.gate,
      host: config.listen.host,
      port: config.listen.port,
      tls: tls === undefined ? undefined : await readPair(tls),
      logger,
      bounds: given(config.limits),
      metricsText: () => metrics.text(),
      onAnswer: (answer) => {
        metrics.answered(answer);
      },
      whyNotReady: async () => {
        if (state !== 'ready') return `the coordinator is ${state}`;
        await journal.lastEventId();
        return undefined;
      },
    });
    closers.push(() => server.close());
    if (tls !== undefined) closers.push(renewTls(server, tls, logger));
    const url = config.listen.advertise ?? server.url;
    if (driver !== undefined) {
      driver.connect(url);
      closers.push(() => driver.stop());
    }
    if (config.cluster !== undefined && cluster !== undefined) {
      const depths = await openQueueDepths(config.cluster, cluster, coordinator);
      closers.push(() => depths?.close());
    }
    const duties = new Duties({ config, journal, coordinator, driver, cluster, places, logger });
    closers.push(() => duties.end());
    const lead = async (): Promise<void> => {
      await coordinator.lead(url);
      await duties.begin();
    };
    if (isShared(config.journal)) {
      const election = new Election({
        lease: cluster?.openLease() ?? openPostgresLease({ url: config.journal }),
        me: { id: randomUUID(), address: url },
        clock: systemClock,
        logger,
        lead,
        follow: (address) => {
          coordinator.follow(address);
          duties.end().catch((thrown: unknown) => {
            logger.error({ err: String(thrown) }, 'what only the leader does did not end cleanly');
          });
        },
      });
      closers.push(() => election.close());
      await election.start();
    } else {
      await lead();
    }
    await writeFileAtomically(
      places.addressFile,
      `${JSON.stringify({ url, token: gates.operatorToken, pid: process.pid })}\n`,
      0o600,
    );
    closers.push(() => rm(places.addressFile, { force: true }));
    state = 'ready';
    return {
      url,
      coordinator,
      addressFile: places.addressFile,
      close: () => {
        state = 'ending';
        return (closing ??= closeAll());
      },
    };
  } catch (thrown) {
    await closeAll();
    throw thrown;
  }
}

/** Without fields that hold undefined: they would stand before the defaults. */
const given = <T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: NonNullable<T[K]> };

/** Who starts lines, what there is for them, and how many cores one has that does not say. */
function linesOf(
  driver: LocalDriver | undefined,
  cluster: Cluster | undefined,
  cores: number,
): Pick<CoordinatorOptions, 'driver' | 'capacity' | 'autoscaler' | 'cores'> {
  if (cluster !== undefined) {
    const { capacity, autoscaler, cores: ofLine } = cluster;
    return { driver: cluster.driver, capacity, autoscaler, cores: ofLine };
  }
  if (driver === undefined) return { cores };
  return { driver, capacity: machineCapacity({ cores, memoryBytes: memoryOfMachine() }), cores };
}

const localDriver = (places: Places, { lineTokens }: Gates, logger: Logger): LocalDriver =>
  new LocalDriver({
    places,
    tokenOf: (pipeline, line) => lineTokens.issue(pipeline, line),
    logger,
    cores: availableParallelism(),
  });

/** Several coordinators may have it, of which one leads. */
const isShared = (journal: string | undefined): journal is string => journal !== undefined && !journal.startsWith('lmdb:');

async function readPair({ cert, key }: { cert: string; key: string }): Promise<TlsPair> {
  const read = (path: string): Promise<string> =>
    readFile(path, 'utf8').catch((thrown: unknown) => {
      throw new PodlineError(
        'PDL_CONFIG_INVALID',
        `${path} cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
        { place: path },
      );
    });
  return { cert: await read(cert), key: await read(key) };
}

/** A pair of which only one half is there yet is no pair: the one before stays until both fit. */
function renewTls(server: ApiServer, tls: { cert: string; key: string }, logger: Logger): () => void {
  const renew = async (): Promise<void> => {
    try {
      server.renewTls(await readPair(tls));
      logger.info({ cert: tls.cert }, 'the certificate was read again');
    } catch (thrown) {
      logger.error(
        { cert: tls.cert, err: PodlineError.from(thrown).message },
        'the certificate has changed and cannot be used: the one before is',
      );
    }
  };
  const watch = watchFiles([tls.cert, tls.key], () => void renew(), lookEveryMs);
  return () => {
    watch.close();
  };
}
