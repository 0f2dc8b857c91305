/** A coordinator of several: argv is the database, and the port of its API. It says when it listens, and each time that it leads. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [root, database, port] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(join(root, 'dist/runtime', path)).href);
const { openJournal } = await load('journal/open-journal.js');
const { openPostgresLease } = await load('journal/postgres/postgres-lease.js');
const { createCoordinator } = await load('coordinator/coordinator.js');
const { Election } = await load('coordinator/election.js');
const { operatorGate } = await load('access/tokens.js');
const { startApiServer } = await load('api/server.js');
const { systemClock } = await load('platform/clock.js');

const say = (what) => process.stdout.write(`${what}\n`);
const logger = {
  trace() {},
  debug() {},
  info() {},
  warn: (...args) => console.error(...args),
  error: (...args) => console.error(...args),
};
logger.child = () => logger;
const journal = await openJournal(database);
const coordinator = await createCoordinator({ journal, standby: true, logger });
const server = await startApiServer({ coordinator, gate: operatorGate('secret'), port: Number(port), logger });
const election = new Election({
  lease: openPostgresLease({ url: database }),
  me: { id: randomUUID(), address: server.url },
  clock: systemClock,
  logger,
  lead: async () => {
    await coordinator.lead(server.url);
    say(`leads ${String(coordinator.leader.term)}`);
  },
  follow: (address) => coordinator.follow(address),
});
say(`listens ${server.url}`);
await election.start();
setInterval(() => undefined, 1_000);
process.once('SIGTERM', async () => {
  await election.close();
  await server.close();
  await coordinator.close();
  await journal.close();
  process.exit(0);
});
