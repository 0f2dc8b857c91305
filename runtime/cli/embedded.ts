/**
 * A coordinator inside this process: work directory, lock, journal, API on loopback and the local driver, composed.
 *
 * Owns what it opens, and closes it in the order in which nothing is lost: lines first (they checkpoint and give their
 * leases back), then the API, then the journal, the lock last.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, rmdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { LineTokens, lineSecretBytesMin } from '../access/line-tokens.js';
import { anyGate, operatorGate } from '../access/tokens.js';
import { PodlineClient } from '../api/client.js';
import { startApiServer, type ApiServer } from '../api/server.js';
import { createCoordinator, type Coordinator } from '../coordinator/coordinator.js';
import { lockWorkdir, type WorkdirLock } from '../coordinator/workdir-lock.js';
import { openLmdbJournal } from '../journal/lmdb/lmdb-journal.js';
import type { Journal } from '../journal/journal.js';
import { LocalDriver } from '../local/local-driver.js';
import { machineCapacity, memoryOfMachine } from '../local/machine.js';
import { layOut, type Places } from '../local/places.js';
import { writeFileAtomically } from '../platform/files.js';
import type { Logger } from '../platform/logger.js';
import { createMetrics } from '../telemetry/metrics.js';
import { openTracing, type OpenTracing } from '../telemetry/tracing.js';

export interface EmbeddedOptions {
  workDir: string;
  medium: 'Memory' | 'SSD';
  logger: Logger;
  /** 0: any free port. */
  port?: number | undefined;
  /** Asked once the journal is open: `anew` empties the work directory first. Throws where neither may be. */
  begin?: ((journal: Journal) => Promise<'goOn' | 'anew'>) | undefined;
}

export interface Embedded {
  readonly places: Places;
  readonly client: PodlineClient;
  readonly coordinator: Coordinator;
  readonly journal: Journal;
  readonly driver: LocalDriver;
  readonly url: string;
  readonly token: string;
  /** `keepScratch`: memory of lines that may go on; otherwise it is given back. May be called twice. */
  close(options: { keepScratch: boolean }): Promise<void>;
}

export const coresOfMachine = (): number => availableParallelism();
/** Throws PDL_WORKDIR_BUSY when another coordinator works there. */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const places = layOut(options.workDir, options.medium);
  const lock = await lockWorkdir(places.workDir);
  const token = randomBytes(24).toString('base64url');
  let journal: Journal | undefined;
  try {
    journal = openLmdbJournal({ dir: places.journalDir });
    if ((await options.begin?.(journal)) === 'anew') {
      await journal.close();
      await emptyWorkDir(places);
      journal = openLmdbJournal({ dir: places.journalDir });
    }
    const lineTokens = new LineTokens(randomBytes(lineSecretBytesMin));
    const driver = new LocalDriver({
      places,
      tokenOf: (pipeline, line) => lineTokens.issue(pipeline, line),
      logger: options.logger,
      cores: coresOfMachine(),
    });
    const metrics = createMetrics();
    const cores = coresOfMachine();
    const capacity = machineCapacity({ cores, memoryBytes: memoryOfMachine() });
    const spans = await openTracing('podline-coordinator', options.logger);
    const { logger } = options;
    const coordinator = await createCoordinator({ journal, driver, capacity, cores, logger, metrics, tracing: spans.tracing });
    const server = await startApiServer({
      coordinator,
      gate: anyGate([lineTokens, operatorGate(token)]),
      host: '127.0.0.1',
      port: options.port ?? 0,
      metricsText: () => metrics.text(),
      logger: options.logger,
    });
    driver.connect(server.url);
    await writeFileAtomically(places.addressFile, `${JSON.stringify({ url: server.url, token, pid: process.pid })}\n`, 0o600);
    return compose({ places, lock, journal, driver, coordinator, server, spans, token });
  } catch (thrown) {
    await journal?.close();
    await removeIfEmpty(places.scratchRoot);
    await removeIfEmpty(places.socketsDir);
    await lock.release();
    throw thrown;
  }
}

/** Everything of the run before; its results lie elsewhere. */
export async function emptyWorkDir(places: Places): Promise<void> {
  const emptied = [places.journalDir, places.ssdDir, places.volumeDir, places.logsDir, places.scratchRoot];
  await Promise.all(emptied.map((dir) => rm(dir, { recursive: true, force: true })));
  await Promise.all(emptied.map((dir) => mkdir(dir, { recursive: true, mode: 0o700 })));
}

/** Shared memory is not strewn with folders of runs that never began. */
const removeIfEmpty = (dir: string): Promise<void> => rmdir(dir).catch(() => undefined);

interface Parts {
  places: Places;
  lock: WorkdirLock;
  journal: Journal;
  driver: LocalDriver;
  coordinator: Coordinator;
  server: ApiServer;
  spans: OpenTracing;
  token: string;
}

function compose({ places, lock, journal, driver, coordinator, server, spans, token }: Parts): Embedded {
  let closing: Promise<void> | undefined;
  const close = async (keepScratch: boolean): Promise<void> => {
    await coordinator.stopLines();
    await server.close();
    await coordinator.close();
    await journal.close();
    await spans.close();
    await rm(places.addressFile, { force: true });
    await rm(places.socketsDir, { recursive: true, force: true });
    if (keepScratch) await removeIfEmpty(places.scratchRoot);
    else await rm(places.scratchRoot, { recursive: true, force: true });
    await lock.release();
  };
  return {
    places,
    client: PodlineClient.local(coordinator),
    coordinator,
    journal,
    driver,
    url: server.url,
    token,
    close: ({ keepScratch }) => (closing ??= close(keepScratch)),
  };
}
