/**
 * A coordinator as a process of its own, composed from its configuration: journal, gates, API, driver.
 *
 * Owns what it opens, and closes it so that nothing is lost: it says first that it is not ready, then lines end (they
 * checkpoint and give their leases back), then the API, then the journal, the lock last.
 */
import { rm, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { startApiServer, type ApiServer, type TlsPair } from '../api/server.js';
import { readManifest } from '../config/manifest.js';
import { resolvePipeline } from '../config/pipeline.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { ServerConfig } from '../contracts/server-config.js';
import { createCoordinator, type Coordinator } from '../coordinator/coordinator.js';
import { lockWorkdir } from '../coordinator/workdir-lock.js';
import { openJournal } from '../journal/open-journal.js';
import { LocalDriver } from '../local/local-driver.js';
import { layOut, type Places } from '../local/places.js';
import { writeFileAtomically } from '../platform/files.js';
import type { Logger } from '../platform/logger.js';
import { systemClock } from '../platform/clock.js';
import { secretCharsMin } from '../webhooks/signature.js';
import { Webhooks } from '../webhooks/webhooks.js';
import { watchFiles } from '../platform/watch-files.js';
import { createMetrics } from '../telemetry/metrics.js';
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
    const gates = await openGates(config, logger);
    closers.push(() => {
      gates.close();
    });
    const journal = await openJournal(config.journal ?? places.journalDir);
    closers.push(() => journal.close());
    const metrics = createMetrics();
    closers.push(() => {
      metrics.close();
    });
    const driver = config.driver === 'local' ? localDriver(places, gates, logger) : undefined;
    const { eventStreamsMax, submitBatchMax, pendingShardsMax } = { ...limits, ...given(config.limits) };
    const coordinator = await createCoordinator({
      journal,
      driver,
      logger,
      metrics,
      limits: { eventStreamsMax, submitBatchMax, pendingShardsMax },
      allowed: config.allowed,
      standby: true,
    });
    closers.push(() => coordinator.close());
    // It leads. Who chooses a leader among several does so in this place.
    await coordinator.lead(config.listen.advertise);

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
    if (config.webhooks.secret !== undefined) {
      const webhooks = new Webhooks({
        journal,
        secrets: await readSecrets(config.webhooks.secret),
        allowed: config.webhooks,
        ...given({ triesMax: config.webhooks.triesMax, inFlightMax: config.webhooks.inFlightMax }),
        timeoutMs: config.webhooks.timeoutSeconds * 1_000,
        logger,
        clock: systemClock,
        random: Math.random,
      });
      await webhooks.start();
      closers.push(() => webhooks.close());
    }
    await applyPipelines(config, coordinator, driver, places);
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

const localDriver = (places: Places, { lineTokens }: Gates, logger: Logger): LocalDriver =>
  new LocalDriver({
    places,
    tokenOf: (pipeline, line) => lineTokens.issue(pipeline, line),
    logger,
    cores: availableParallelism(),
  });

async function applyPipelines(
  config: ServerConfig,
  coordinator: Coordinator,
  driver: LocalDriver | undefined,
  places: Places,
): Promise<void> {
  for (const { manifest: file, lines } of config.pipelines) {
    const { manifest, baseDir } = await readManifest(file);
    const resolved = await resolvePipeline(manifest, { baseDir, stagesDir: places.stagesDir, revision: 0 });
    const { pipeline } = await coordinator.applyPipeline(resolved);
    if (driver !== undefined && lines > 0) await driver.start(pipeline ?? resolved, lines);
  }
  if (driver !== undefined) await coordinator.releaseAbsent(driver.lineNames);
}

/** A secret a line, the newest first. */
async function readSecrets(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch((thrown: unknown) => {
    throw new PodlineError('PDL_CONFIG_INVALID', `the secrets of webhooks ${file} cannot be read`, {
      place: file,
      cause: thrown,
    });
  });
  const secrets = text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  if (secrets.length > 0 && secrets.every((secret) => secret.length >= secretCharsMin)) return secrets;
  throw new PodlineError(
    'PDL_CONFIG_INVALID',
    `${file} has no secret, or one of less than ${String(secretCharsMin)} characters`,
    {
      place: file,
      hint: 'Write a random secret a line; `openssl rand -base64 32` makes one.',
    },
  );
}

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
