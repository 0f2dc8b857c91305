/** The faults of a load run: each is done to the world, and undone as far as the world does not mend itself. */
import type { PostgresServer } from '../../../benchmarks/peers/servers/postgres-server.js';
import type { Random } from '../../simulation/random.js';
import type { Journal } from '../../../runtime/journal/journal.js';
import type { RabbitmqServer } from '../rabbitmq.js';
import { until } from '../until.js';
import type { BrokerSubmitter, Watcher } from './submitters.js';
import { pipelineName, type LineProcess, type LoadReplica, type LoadWorld } from './world.js';

export const faultKinds = [
  'leader killed',
  'agent killed',
  'slot killed',
  'database killed',
  'connections cut',
  'database stopped',
  'broker killed',
  'broker stopped',
  'line stopped past its lease',
  'disk of results full',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface FaultParts {
  world: LoadWorld;
  database: PostgresServer;
  broker: RabbitmqServer;
  atBroker: BrokerSubmitter;
  watcher: Watcher;
  /** A reader's. */
  journal: Journal;
  random: Random;
}

/** Those that can be done here: a disk that may be filled is mounted, as root. */
export const possibleFaults = ({ ownDisk }: LoadWorld): FaultKind[] =>
  faultKinds.filter((kind) => ownDisk || kind !== 'disk of results full');

/** All kinds in an order of the seed's, again and again. */
export function* faultPlan(kinds: readonly FaultKind[], random: Random): Generator<FaultKind, never, undefined> {
  for (;;) {
    const left = [...kinds];
    while (left.length > 0) yield* left.splice(random.int(0, left.length - 1), 1);
  }
}

/** Resolves when the fault was done, and what has to be brought back is on its way. */
export async function commit(kind: FaultKind, parts: FaultParts): Promise<void> {
  const { world, database, broker, atBroker, watcher } = parts;
  switch (kind) {
    case 'leader killed': {
      const leader = await leaderOf(parts);
      await leader.end('SIGKILL');
      await until(async () => (await leaderOf(parts)) !== leader);
      leader.start();
      return;
    }
    case 'agent killed':
      kill(await oneOf(parts, 'agent'), 'SIGKILL');
      return;
    case 'slot killed':
      kill(await oneOf(parts, 'slot'), 'SIGKILL');
      return;
    case 'database killed': {
      process.kill(database.pid, 'SIGKILL');
      // Its children look after it for a moment.
      await until(() =>
        database.begin().then(
          () => true,
          () => false,
        ),
      );
      return;
    }
    case 'connections cut':
      await database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
      );
      return;
    case 'database stopped':
      database.signal('SIGSTOP');
      try {
        // Somebody is told so, who does not wait for as long as it takes.
        await until(() => isRefused(world));
      } finally {
        database.signal('SIGCONT');
      }
      return;
    case 'broker killed':
      await broker.kill();
      await broker.again();
      atBroker.connectAnew();
      return;
    case 'broker stopped': {
      const { completed } = watcher;
      const before = completed.size;
      broker.signal('SIGSTOP');
      try {
        // Whoever needs no broker goes on.
        await until(() => completed.size > before + 20);
      } finally {
        broker.signal('SIGCONT');
      }
      return;
    }
    case 'disk of results full': {
      const before = watcher.failures;
      const empty = world.fillResults();
      try {
        await until(() => watcher.failures > before);
      } finally {
        empty();
      }
      return;
    }
    case 'line stopped past its lease': {
      const agent = await oneOf(parts, 'agent');
      kill(agent, 'SIGSTOP');
      try {
        await until(() => isSilent(parts, agent));
      } finally {
        kill(agent, 'SIGCONT');
      }
      return;
    }
  }
}

async function leaderOf({ world, journal }: FaultParts): Promise<LoadReplica> {
  return until(async () => {
    const leader = await journal.leader().catch(() => undefined);
    return world.replicas.find(({ url, isAlive }) => isAlive && url === leader?.address);
  });
}

/** A process of the leader's lines; waits until there is one. */
async function oneOf(parts: FaultParts, role: LineProcess['role']): Promise<LineProcess> {
  return until(async () => {
    const found = (await leaderOf(parts)).lineProcesses().filter((process) => process.role === role);
    return found[parts.random.int(0, Math.max(0, found.length - 1))];
  });
}

const isRefused = ({ client }: LoadWorld): Promise<boolean> =>
  client.progress(pipelineName).then(
    () => false,
    () => true,
  );

/** The coordinator holds it for lost; or its process is gone, because another one leads. */
async function isSilent({ world }: FaultParts, { line, pid }: LineProcess): Promise<boolean> {
  if (!isThere(pid)) return true;
  const view = await world.client.line(line).catch(() => undefined);
  return view?.state === 'silent';
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function kill({ pid }: LineProcess, signal: NodeJS.Signals): void {
  if (isThere(pid)) process.kill(pid, signal);
}
