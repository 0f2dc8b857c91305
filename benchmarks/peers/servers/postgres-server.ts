/** A PostgreSQL of our own: a new cluster in a temporary folder, on a unix socket, no port. It refuses to run as root, and is then run as another user. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readFileSync, readdirSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { Missing } from '../../runners/runner.js';

const run = promisify(execFile);
const startTriesMax = 1_000;

export class PostgresServer {
  readonly user = 'podline';
  #child: ChildProcess | undefined;

  private constructor(
    /** With the socket in it. */
    readonly dir: string,
    private readonly programs: string,
    private readonly as: { uid: number; gid: number } | undefined,
    private readonly settings: Readonly<Record<string, string>>,
  ) {}

  /** Throws `Missing` where there is no PostgreSQL. The settings go over the server's defaults. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
    const programs = programsFolder();
    const as = await ownerOf();
    const dir = await mkdtemp(join(tmpdir(), 'podline-postgres-'));
    const server = new PostgresServer(dir, programs, as, { listen_addresses: '', ...settings });
    try {
      await chmod(dir, 0o700);
      if (as !== undefined) await chown(dir, as.uid, as.gid);
      const args = ['-D', join(dir, 'data'), '-U', server.user, '-A', 'trust', '-E', 'UTF8', '--no-sync'];
      await run(join(programs, 'initdb'), args, { ...as, cwd: dir });
      await server.begin();
      return server;
    } catch (thrown) {
      await server.close();
      throw thrown;
    }
  }

  /** Also after `end`: with the same data. */
  async begin(): Promise<void> {
    const options = Object.entries(this.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const args = ['-D', join(this.dir, 'data'), '-k', this.dir, ...options];
    const child = spawn(join(this.programs, 'postgres'), args, { ...this.as, cwd: this.dir, stdio: 'ignore' });
    this.#child = child;
    for (let tries = 0; ; tries++) {
      try {
        await this.sql('SELECT 1');
        return;
      } catch (thrown) {
        if (tries >= startTriesMax || child.exitCode !== null) throw thrown;
        await delay(20);
      }
    }
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** To it and to those of its processes that there are now. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const { pid } = this;
    const children = readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8')
      .trim()
      .split(' ')
      .map(Number);
    for (const each of [pid, ...children]) process.kill(each, signal);
  }

  /** fast: connections are closed. immediate: as if the machine had lost power, but for the disk. */
  async end(how: 'fast' | 'immediate' = 'fast'): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(how === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await exited;
  }

  /** One statement, or several. */
  async sql(text: string): Promise<void> {
    const sql = postgres({
      host: this.dir,
      username: this.user,
      database: 'postgres',
      max: 1,
      onnotice: () => undefined,
      connect_timeout: 2,
    });
    try {
      await sql.unsafe(text);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  async close(): Promise<void> {
    await this.end();
    await rm(this.dir, { recursive: true, force: true });
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
