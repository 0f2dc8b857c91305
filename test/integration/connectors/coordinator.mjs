/**
 * A coordinator in a process of its own, to be killed: the journal on disk, its API, and the connectors that its arguments describe.
 * Says its address on stdout.
 * usage: node coordinator.mjs DIR PORT TOKEN CONNECTORS-AS-JSON PIPELINE-AS-JSON
 */
import { join } from 'node:path';

const [dir, port, token, connectors, pipeline] = process.argv.slice(2);
const built = (path) => import(new URL(`../../../dist/runtime/${path}.js`, import.meta.url).href);
const { startApiServer } = await built('api/server');
const { PodlineClient } = await built('api/client');
const { openConnectors } = await built('connectors/open');
const { createCoordinator } = await built('coordinator/coordinator');
const { openLmdbJournal } = await built('journal/lmdb/lmdb-journal');
const { createLogger } = await built('telemetry/logger');

const logger = createLogger({ name: 'coordinator' }, { level: 'error' });
const coordinator = await createCoordinator({ journal: openLmdbJournal({ dir: join(dir, 'journal') }), logger });
await coordinator.applyPipeline(JSON.parse(pipeline));
const server = await startApiServer({ coordinator, token, port: Number(port), logger });
openConnectors(JSON.parse(connectors), {
  office: PodlineClient.local(coordinator),
  logger,
  backoff: { initialMs: 50, factor: 2, maxMs: 1_000 },
});
process.stdout.write(`${server.url}\n`);
