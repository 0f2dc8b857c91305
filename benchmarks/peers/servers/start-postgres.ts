/**
 * A PostgreSQL of our own: a new cluster in a temporary folder, on a unix socket, no port. Tuned for values that live for seconds: nothing
 * waits for the disk (fsync off, an unlogged table, no compression). It refuses to run as root, and is then run as another user.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readdirSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { Missing } from '../../runners/runner.js';
import type { StoreServer } from '../chain-runner.js';

const run = promisify(execFile);
const startTriesMax = 300;
const user = 'bench';

const settings = {
  listen_addresses: '',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '8GB',
  shared_buffers: '1GB',
  autovacuum: 'off',
};

const table = `
  CREATE UNLOGGED TABLE blocks (key text PRIMARY KEY, value bytea NOT NULL);
  ALTER TABLE blocks ALTER COLUMN value SET STORAGE EXTERNAL;
`;

export async function startPostgres(): Promise<StoreServer> {
  const programs = programsFolder();
  const as = await ownerOf();
  const dir = await mkdtemp(join(tmpdir(), 'podline-postgres-'));
  const close = async (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    await chmod(dir, 0o700);
    if (as !== undefined) await chown(dir, as.uid, as.gid);
    const data = join(dir, 'data');
    await run(join(programs, 'initdb'), ['-D', data, '-U', user, '-A', 'trust', '-E', 'UTF8', '--no-sync'], { ...as, cwd: dir });
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const child = spawn(join(programs, 'postgres'), ['-D', data, '-k', dir, ...options], { ...as, cwd: dir, stdio: 'ignore' });
    const exited = once(child, 'exit');
    const stop = async (): Promise<void> => {
      if (child.exitCode === null && child.signalCode === null) {
        // Fast shutdown: connections are closed, nothing is waited for.
        child.kill('SIGINT');
        await exited;
      }
      await close();
    };
    try {
      await prepare(dir, () => child.exitCode === null);
    } catch (thrown) {
      await stop();
      throw thrown;
    }
    return { store: { name: 'postgres', dir, user }, pids: () => [child.pid ?? 0], close: stop };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

async function prepare(dir: string, isAlive: () => boolean): Promise<void> {
  for (let tries = 0; ; tries++) {
    const sql = postgres({
      host: dir,
      username: user,
      database: 'postgres',
      max: 1,
      onnotice: () => undefined,
      connect_timeout: 2,
    });
    try {
      await sql.unsafe(table);
      return;
    } catch (thrown) {
      if (tries >= startTriesMax || !isAlive()) throw thrown;
      await delay(20);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

/** On the path, or where Debian puts them. */
function programsFolder(): string {
  const debian = '/usr/lib/postgresql';
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...versionsIn(debian).map((version) => join(debian, version, 'bin')),
  ];
  const found = folders.find((folder) => ['initdb', 'postgres'].every((program) => isProgram(join(folder, program))));
  if (found === undefined) throw new Missing('there are no initdb and postgres (Debian: apt-get install postgresql)');
  return found;
}

function versionsIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort((a, b) => Number(b) - Number(a));
  } catch {
    return [];
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The user whom the server is to run as; undefined: the one who runs this. */
async function ownerOf(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = async (flag: string): Promise<number> => Number((await run('id', [flag, name])).stdout);
      return { uid: await id('-u'), gid: await id('-g') };
    } catch {
      // There is no such user.
    }
  }
  throw new Missing('PostgreSQL does not run as root, and there is no user postgres or nobody');
}
