#!/usr/bin/env node
/**
 * Entry point of a coordinator in a cluster: journal, API, driver and reconciler, composed from its environment. SIGTERM ends it, lines
 * go on.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { operatorGate } from '../access/tokens.js';
import { startApiServer } from '../api/server.js';
import { openCluster } from '../cluster/open-cluster.js';
import { env } from '../contracts/env.js';
import { PodlineError } from '../contracts/errors.js';
import { createCoordinator } from '../coordinator/coordinator.js';
import { lockWorkdir } from '../coordinator/workdir-lock.js';
import { openLmdbJournal } from '../journal/lmdb/lmdb-journal.js';
import { writeFileAtomically } from '../platform/files.js';
import { readEnv } from '../platform/read-env.js';
import { createLogger } from '../telemetry/logger.js';
import { createMetrics } from '../telemetry/metrics.js';
import { openTracing } from '../telemetry/tracing.js';

const logger = createLogger({ name: 'coordinator' });
/** What was opened, closed from the last to the first. */
const opened: (() => Promise<void> | void)[] = [];
let closing: Promise<void> | undefined;
const closeAll = (): Promise<void> =>
  (closing ??= (async () => {
    for (let close = opened.pop(); close !== undefined; close = opened.pop()) await close();
  })());
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    logger.info({ signal }, 'the coordinator ends');
    void closeAll().then(
      () => process.exit(0),
      (thrown: unknown) => {
        logger.error({ err: String(thrown) }, 'the coordinator did not end cleanly');
        process.exit(1);
      },
    );
  });
}

/** The token of the file that is named, or one of our own that lies beside the journal. */
async function tokenOf(journalDir: string): Promise<string> {
  const given = process.env[env.tokenFile];
  if (given !== undefined && given !== '') return (await readFile(given, 'utf8')).trim();
  const file = join(journalDir, 'token');
  const known = await readFile(file, 'utf8').catch(() => undefined);
  if (known !== undefined) return known.trim();
  const token = randomBytes(24).toString('base64url');
  await writeFileAtomically(file, `${token}\n`, 0o600);
  return token;
}

try {
  const journalDir = readEnv(env.journalDir);
  await mkdir(journalDir, { recursive: true });
  await chmod(journalDir, 0o700).catch(() => undefined);
  const lock = await lockWorkdir(journalDir);
  opened.push(() => lock.release());
  const token = await tokenOf(journalDir);
  const [host = '0.0.0.0', port = '8080'] = readEnv(env.listen).split(/:(?=\d+$)/);
  const namespace = readEnv(env.namespace);
  const watch = process.env[env.watch] === 'cluster' ? 'cluster' : 'namespaced';
  const workload = process.env[env.workload];
  const volumeClaim = process.env[env.volumeClaim];
  const cluster = await openCluster({
    namespace,
    pod: process.env[env.pod],
    watch,
    workload: workload === 'kruise' || workload === 'native' ? workload : 'auto',
    token,
    lines: {
      image: process.env[env.image],
      coordinatorUrl: process.env[env.coordinatorUrl] ?? `http://podline-coordinator.${namespace}.svc:${port}`,
      tokenSecret: 'podline-lines',
      ssdHostPath: readEnv(env.ssdHostPath),
      volume:
        volumeClaim === undefined || volumeClaim === '' ? { hostPath: readEnv(env.volumeHostPath) } : { claim: volumeClaim },
      user: 10_001,
      cores: Number(process.env[env.cores] ?? '2'),
      resultRoot: '/podline-volume/results',
      logLevel: process.env[env.logLevel] ?? 'info',
    },
    logger,
  });
  opened.push(() => cluster.close());
  const journal = openLmdbJournal({ dir: join(journalDir, 'journal') });
  opened.push(() => journal.close());
  const metrics = createMetrics();
  const spans = await openTracing('podline-coordinator', logger);
  opened.push(() => spans.close());
  const coordinator = await createCoordinator({ journal, driver: cluster.driver, logger, metrics, tracing: spans.tracing });
  opened.push(() => coordinator.close());
  const server = await startApiServer({
    coordinator,
    gate: operatorGate(token),
    host,
    port: Number(port),
    logger,
    metricsText: () => metrics.text(),
  });
  opened.push(() => server.close());
  await cluster.start(coordinator);
  // Before journal and coordinator, which it asks.
  opened.push(() => cluster.close());
  logger.info({ url: server.url, watch }, 'the coordinator is there');
} catch (thrown) {
  const { code, message, hint } = PodlineError.from(thrown);
  logger.error({ code, hint }, message);
  await closeAll().catch(() => undefined);
  process.exitCode = 1;
}
