/** Shared memory as Python has it: Arrow's memory map on tmpfs, Vineyard, Ray. Stages in numpy, which is C underneath. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { randomBytes } from 'node:crypto';
import { noBytes, type BytesByMedium } from '../../runtime/contracts/block.js';
import { Missing, type JobEnd, type Peer, type Runner } from '../runners/runner.js';
import type { Job, Work } from '../work/work.js';
import { packageDir, PythonChild, pythonWith } from './python-child.js';

const storeBytes = 4 * 1024 * 1024 * 1024;
const startTriesMax = 300;
const stagesOf = (work: Work): number => (work.kind === 'flights' ? 0 : work.stages);
const sharedMemory = '/dev/shm';

/** Names of values, by what they hold. */
type Shard = Record<string, string>;

/** Bytes of values that a process looked at and made. */
interface Moved {
  read: number;
  written: number;
}

function inMemory(moved: readonly Moved[]): BytesByMedium {
  const bytes = noBytes();
  for (const { read, written } of moved) {
    bytes.memory.read += read;
    bytes.memory.written += written;
  }
  return bytes;
}

/** Where the processes of a chain find the values. */
interface Shared {
  store: 'map' | 'vineyard';
  where: string;
  memoryDirs: string[];
  pids: number[];
  close(): Promise<void>;
}

/** Warm processes, invoked one after another; what lies in shared memory is named, not moved. */
class SharedMemoryRunner implements Runner {
  readonly memoryDirs: string[] = [];
  #shared: Shared | undefined;
  #children: PythonChild[] = [];

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly work: Work,
    private readonly modules: readonly string[],
    private readonly open: (python: string) => Promise<Shared>,
  ) {}

  async start(): Promise<void> {
    const python = await pythonWith(this.modules);
    const shared = await this.open(python);
    this.#shared = shared;
    this.memoryDirs.push(...shared.memoryDirs);
    const start = (): PythonChild => new PythonChild(python, 'stage.py', [shared.store, shared.where]);
    this.#children = Array.from({ length: stagesOf(this.work) + 1 }, start);
    await Promise.all(this.#children.map((child) => child.ready()));
  }

  pids(): number[] {
    return [...(this.#shared?.pids ?? []), ...this.#children.map(({ pid }) => pid)];
  }

  async run({ source, resultDir }: Job): Promise<JobEnd> {
    const { work } = this;
    const [first, ...stages] = this.#children;
    if (first === undefined) throw new Error('not started');
    type Made = { shard: Shard; endedMs: number; moved: Moved };
    let made = await first.ask<Made>({ do: 'load', work, source });
    const beganMs = made.endedMs;
    const keys = new Set(Object.values(made.shard));
    const moved: Moved[] = [];
    for (const [stage, child] of stages.entries()) {
      made = await child.ask<Made>({ do: 'step', work, stage, shard: made.shard });
      moved.push(made.moved);
      for (const key of Object.values(made.shard)) keys.add(key);
    }
    await stages.at(-1)!.ask({ do: 'write', work, shard: made.shard, dir: resultDir });
    await first.ask({ do: 'remove', work, keys: [...keys] });
    return { dir: resultDir, bytes: inMemory(moved), spanMs: made.endedMs - beganMs, stages: [] };
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.splice(0).map((child) => child.close()));
    await this.#shared?.close();
    this.#shared = undefined;
  }
}

async function openMap(): Promise<Shared> {
  if (!existsSync(sharedMemory)) throw new Missing(`there is no ${sharedMemory}`);
  const where = await mkdtemp(join(sharedMemory, 'podline-map-'));
  const close = (): Promise<void> => rm(where, { recursive: true, force: true });
  return { store: 'map', where, memoryDirs: [where], pids: [], close };
}

async function openVineyard(python: string): Promise<Shared> {
  const dir = await mkdtemp(join(tmpdir(), 'podline-vineyard-'));
  const socket = join(dir, 'socket');
  const args = [`--socket=${socket}`, `--size=${storeBytes}`, '--meta=local', '--rpc=false'];
  const child = spawn(join(await packageDir(python, 'vineyard'), 'bdist', 'vineyardd'), args, {
    stdio: 'ignore',
    cwd: dir,
    env: { ...process.env, GLOG_log_dir: dir },
  });
  const exited = once(child, 'exit').catch(() => undefined);
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await exited;
    }
    await rm(dir, { recursive: true, force: true });
  };
  for (let tries = 0; !existsSync(socket); tries++) {
    if (tries >= startTriesMax || child.exitCode !== null) {
      await close();
      throw new Error('vineyardd does not listen');
    }
    await delay(20);
  }
  return { store: 'vineyard', where: socket, memoryDirs: [], pids: [child.pid ?? 0], close };
}

class RayRunner implements Runner {
  readonly memoryDirs: string[] = [];
  #dir: string | undefined;
  #child: PythonChild | undefined;

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly work: Work,
  ) {}

  async start(): Promise<void> {
    const python = await pythonWith(['ray', 'numpy', 'pyarrow']);
    // Its sockets lie there, and their paths must be short.
    const dir = await mkdtemp(join(tmpdir(), 'ray-'));
    this.#dir = dir;
    this.#child = new PythonChild(python, 'ray_chain.py', [dir, String(storeBytes), String(stagesOf(this.work))], {
      RAY_USAGE_STATS_ENABLED: '0',
      RAY_AUTH_MODE: 'token',
      RAY_AUTH_TOKEN: randomBytes(32).toString('hex'),
    });
    await this.#child.ready();
  }

  pids(): number[] {
    return this.#child === undefined ? [] : [this.#child.pid];
  }

  async run({ source, resultDir }: Job): Promise<JobEnd> {
    if (this.#child === undefined) throw new Error('not started');
    const { spanMs, moved } = await this.#child.ask<{ spanMs: number; moved: Moved[] }>({
      work: this.work,
      source,
      dir: resultDir,
    });
    return { dir: resultDir, bytes: inMemory(moved), spanMs, stages: [] };
  }

  async close(): Promise<void> {
    await this.#child?.close();
    this.#child = undefined;
    if (this.#dir !== undefined) await rm(this.#dir, { recursive: true, force: true });
    this.#dir = undefined;
  }
}

const doesNot = {
  orders: 'parsing text in Python would be measured, not handing over',
  flights: 'the stages are TypeScript',
} as const;
const inPlace =
  'numpy on arrays where they lie; a stage writes the column that it changes, bytes that it does not change are handed on';

export const pythonPeers: Peer[] = [
  {
    name: 'arrow-map',
    title: 'Arrow memory map on tmpfs (Python)',
    does: ['bytes', 'numbers'],
    doesNot,
    settings: `${inPlace}; functions one after another`,
    make: (work) =>
      new SharedMemoryRunner('arrow-map', 'Arrow memory map on tmpfs (Python)', work, ['numpy', 'pyarrow'], openMap),
  },
  {
    name: 'vineyard',
    title: 'Vineyard (Python)',
    does: ['bytes', 'numbers'],
    doesNot,
    settings: `${inPlace}; functions one after another; metadata in the server, no etcd`,
    make: (work) => new SharedMemoryRunner('vineyard', 'Vineyard (Python)', work, ['vineyard', 'numpy', 'pyarrow'], openVineyard),
  },
  {
    name: 'ray',
    title: 'Ray, object store (Python)',
    does: ['bytes', 'numbers'],
    doesNot,
    settings: `${inPlace}; an actor a stage, references given on without waiting`,
    make: (work) => new RayRunner('ray', 'Ray, object store (Python)', work),
  },
];
