/**
 * What a load run works on: two coordinators as they are served, on one journal in PostgreSQL, each with lines of the local driver, a
 * folder that both would watch, and queues that both would read. Everything in a folder of its own, results on a file system of their own
 * where one may be mounted.
 *
 * Owns the processes of the coordinators; their lines end with them. Database and broker are the caller's.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { PodlineClient } from '../../../runtime/api/client.js';
import { hashOfToken } from '../../../runtime/access/tokens.js';
import { layOut, type Places } from '../../../runtime/local/places.js';
import { entryPath } from '../../../runtime/platform/entries.js';
import { freePorts } from '../ports.js';
import { until } from '../until.js';

export const pipelineName = 'load';
const token = 'load-run';
const linesOfEach = 2;
export const queues = { requests: 'load-requests', completions: 'load-completions' };
/** More than the results of a run of ten minutes, and soon filled. */
const resultsMebi = 256;

/** Slow enough to be hit while it works. */
const stages = {
  'double.mjs': `
import { column, defineStage } from 'podline';
export default defineStage({
  input: { value: 'int32' },
  output: { doubled: 'int32' },
  async block(batch) {
    await new Promise((go) => setTimeout(go, 20));
    const doubled = column.int32(batch.rows);
    for (let row = 0; row < batch.rows; row++) doubled.values[row] = 2 * batch.columns.value.at(row);
    return { columns: { doubled } };
  },
});`,
  'next.mjs': `
import { column, defineStage } from 'podline';
export default defineStage({
  input: { doubled: 'int32' },
  output: { next: 'int32' },
  async block(batch) {
    await new Promise((go) => setTimeout(go, 10));
    const next = column.int32(batch.rows);
    for (let row = 0; row < batch.rows; row++) next.values[row] = batch.columns.doubled.at(row) + 1;
    return { columns: { next } };
  },
});`,
};

/** What the result of a shard of \`value\` says. */
export const expected = (value: number): { value: number; doubled: number; next: number } => ({
  value,
  doubled: 2 * value,
  next: 2 * value + 1,
});

const manifest = (resultDir: string): string =>
  stringify({
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name: pipelineName },
    spec: {
      input: { format: 'ndjson', columns: { value: 'int32' } },
      slots: 2,
      scratch: { size: '64Mi' },
      stages: Object.keys(stages).map((file, index) => ({
        name: file.replace('.mjs', ''),
        uses: `./${file}`,
        workers: 1,
        retries: 100,
        ...(index === 0 ? {} : { after: ['double'] }),
      })),
      retries: { limit: 100, backoff: { initial: '50ms', max: '500ms' } },
      result: { dir: resultDir, format: 'ndjson' },
    },
  });

export class LoadWorld {
  readonly dir = mkdtempSync(join(tmpdir(), 'podline-load-'));
  readonly resultDir = join(this.dir, 'results');
  readonly inbox = join(this.dir, 'inbox');
  readonly replicas: LoadReplica[];
  readonly client: PodlineClient;
  /** Results lie on a file system of their own. */
  readonly ownDisk = process.getuid?.() === 0;

  private constructor(database: string, brokerPort: number, ports: readonly number[]) {
    mkdirSync(this.inbox);
    mkdirSync(this.resultDir);
    if (this.ownDisk) execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${String(resultsMebi)}m`, 'tmpfs', this.resultDir]);
    for (const [file, text] of Object.entries(stages)) writeFileSync(join(this.dir, file), text);
    writeFileSync(join(this.dir, 'pipeline.yaml'), manifest(this.resultDir));
    const scopes = ['submit', 'read', 'operate'];
    writeFileSync(
      join(this.dir, 'tokens.yaml'),
      stringify({ tokens: [{ name: 'load', sha256: hashOfToken(token), scopes, ratePerSecond: 100_000 }] }),
    );
    this.replicas = ports.map((port, index) => {
      const workDir = join(this.dir, `work-${String(index)}`);
      mkdirSync(workDir);
      const config = join(this.dir, `coordinator-${String(index)}.yaml`);
      writeFileSync(config, stringify(this.#config(database, brokerPort, port, workDir)));
      return new LoadReplica(
        config,
        `http://127.0.0.1:${String(port)}`,
        workDir,
        join(this.dir, `coordinator-${String(index)}.log`),
      );
    });
    this.client = PodlineClient.connect(this.replicas.map(({ url }) => url).join(), token);
  }

  static async start(database: string, brokerPort: number): Promise<LoadWorld> {
    const world = new LoadWorld(database, brokerPort, await freePorts(2));
    for (const replica of world.replicas) replica.start();
    await until(() => world.client.isAlive());
    return world;
  }

  #config(database: string, brokerPort: number, port: number, workDir: string): Record<string, unknown> {
    return {
      listen: { port },
      workDir,
      journal: database,
      driver: 'local',
      pipelines: [{ manifest: join(this.dir, 'pipeline.yaml'), lines: linesOfEach }],
      auth: { tokens: join(this.dir, 'tokens.yaml') },
      allowed: { sources: { roots: [this.inbox] }, results: { roots: [this.resultDir] } },
      connectors: [
        { kind: 'folder', name: 'inbox', dir: this.inbox, pipeline: pipelineName, ready: 'renamed', rescanMs: 500 },
        {
          kind: 'rabbitmq',
          name: 'queue',
          host: '127.0.0.1',
          port: brokerPort,
          requests: { queue: queues.requests, prefetch: 20 },
          completions: { queue: queues.completions },
        },
      ],
    };
  }

  /** No result finds room until what is answered is called. */
  fillResults(): () => void {
    const file = join(this.resultDir, '.filler');
    const piece = Buffer.alloc(1024 * 1024);
    const fd = openSync(file, 'w');
    try {
      for (let wrote = piece.length; wrote === piece.length;) wrote = writeSync(fd, piece);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') throw thrown;
    } finally {
      closeSync(fd);
    }
    return () => {
      rmSync(file);
    };
  }

  /** The ends of all logs, for the words of a failure. */
  logs(bytesMax = 6_000): string {
    const files = this.replicas.flatMap(({ logFile, places }) => [
      logFile,
      ...(existsSync(places.logsDir) ? readdirSync(places.logsDir).map((name) => join(places.logsDir, name)) : []),
    ]);
    return files.map((file) => `--- ${file}\n${readFileSync(file, 'utf8').slice(-bytesMax)}`).join('\n');
  }

  async close(): Promise<void> {
    await this.client.close();
    await Promise.all(this.replicas.map((replica) => replica.end('SIGKILL')));
    await until(() => this.replicas.every((replica) => replica.lineProcesses().length === 0));
    for (const { places } of this.replicas)
      for (const dir of [places.scratchRoot, places.socketsDir]) rmSync(dir, { recursive: true, force: true });
    if (this.ownDisk) execFileSync('umount', [this.resultDir]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export interface LineProcess {
  pid: number;
  line: string;
  role: 'agent' | 'slot';
}

/** One of the coordinators, which may be killed and come back. */
export class LoadReplica {
  readonly places: Places;
  #child: ChildProcess | undefined;

  constructor(
    private readonly config: string,
    readonly url: string,
    workDir: string,
    readonly logFile: string,
  ) {
    this.places = layOut(workDir, 'Memory');
  }

  start(): void {
    const log = createWriteStream(this.logFile, { flags: 'a' });
    const child = spawn(process.execPath, [entryPath('runtime/serve/main'), this.config], {
      env: { ...process.env, PODLINE_LOG_LEVEL: 'warn' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.pipe(log);
    this.#child = child;
  }

  get isAlive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it has ended. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isAlive) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  /** Of its lines, by what is in their environment: those that are left of a coordinator that was killed, too. */
  lineProcesses(): LineProcess[] {
    const mark = `PODLINE_SCRATCH_DIR=${this.places.scratchRoot}/`;
    return readdirSync('/proc').flatMap((name): LineProcess[] => {
      if (!/^\d+$/.test(name)) return [];
      try {
        const environment = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
        const line = environment.find((variable) => variable.startsWith('PODLINE_LINE='))?.slice('PODLINE_LINE='.length);
        const words = readFileSync(`/proc/${name}/cmdline`, 'utf8');
        if (line === undefined || words === '' || !environment.some((variable) => variable.startsWith(mark))) return [];
        return [{ pid: Number(name), line, role: words.includes('sidecars/agent/main.js') ? 'agent' : 'slot' }];
      } catch {
        return [];
      }
    });
  }
}
