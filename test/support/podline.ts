/**
 * A pipeline of a test's own, in a folder of its own, run by the real command in a real process.
 *
 * Owns everything that it makes: when the test ends, no process of it runs and nothing of it is left on disk or in shared memory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { PodlineClient } from '../../runtime/api/client.js';
import type { RunSummary } from '../../runtime/cli/summary.js';
import type { WireError } from '../../runtime/contracts/errors.js';
import type { PodlineEvent } from '../../runtime/contracts/events.js';
import type { Shard } from '../../runtime/contracts/shard.js';
import { openLmdbJournal } from '../../runtime/journal/lmdb/lmdb-journal.js';
import { layOut, type Places } from '../../runtime/local/places.js';
import { entryPath } from '../../runtime/platform/entries.js';
import { until } from './until.js';

export type Role = 'coordinator' | 'agent' | 'slot' | 'stage';

export interface FoundProcess {
  pid: number;
  role: Role;
  line?: string | undefined;
}

/** A run's end, as a shell sees it. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunArguments {
  /** Default: `run`. */
  command?: string;
  args?: readonly string[];
  env?: Record<string, string>;
  json?: boolean;
}

export class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), 'podline-bench-'));
  readonly manifest = join(this.dir, 'pipeline.yaml');
  readonly workDir = join(this.dir, 'work');
  readonly resultDir = join(this.dir, 'results');
  readonly #children: PodlineProcess[] = [];
  #name = 'test';

  /** Ends and removes itself when the test does. */
  static make(): Bench {
    const bench = new Bench();
    onTestFinished(() => bench.end(), 60_000);
    return bench;
  }

  get name(): string {
    return this.#name;
  }

  get places(): Places {
    return layOut(this.workDir, 'Memory');
  }

  file(name: string, content: string | Uint8Array): string {
    const path = join(this.dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  /** Writes the manifest; results go to `resultDir` unless `spec` says otherwise. */
  pipeline(name: string, spec: Record<string, unknown>): this {
    this.#name = name;
    const result = { dir: this.resultDir, ...(spec['result'] as Record<string, unknown> | undefined) };
    this.file(
      'pipeline.yaml',
      stringify({ apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', metadata: { name }, spec: { ...spec, result } }),
    );
    return this;
  }

  start({ command = 'run', args = [], env = {}, json = true }: RunArguments = {}): PodlineProcess {
    const common = ['run', 'resume'].includes(command)
      ? [this.manifest, '--work-dir', this.workDir, ...(json ? ['--json'] : [])]
      : [];
    const child = new PodlineProcess([command, ...common, ...args], this.dir, env);
    this.#children.push(child);
    return child;
  }

  /** To its end; throws with what it said when that is not the one expected. */
  async run(given: RunArguments & { code?: number } = {}): Promise<RunSummary> {
    const child = this.start(given);
    const { code, signal } = await child.ended;
    if (code !== (given.code ?? 0))
      throw new Error(
        `podline ended with ${String(code ?? signal)}\n${child.stdout.slice(-2_000)}\n${child.stderr}\n${this.logs()}`,
      );
    return child.json<RunSummary>();
  }

  /** A client of the coordinator that runs in the work directory; waits until there is one. Closes with the test. */
  async client(): Promise<PodlineClient> {
    const address = join(this.workDir, 'coordinator.json');
    const { url, token } = await until(
      () => existsSync(address) && (JSON.parse(readFileSync(address, 'utf8')) as { url: string; token: string }),
    );
    const client = PodlineClient.connect(url, token);
    onTestFinished(() => client.close());
    return client;
  }

  /** What the journal keeps, once no coordinator runs. */
  async journal(): Promise<{ shards: Shard[]; events: PodlineEvent[] }> {
    const journal = openLmdbJournal({ dir: join(this.workDir, 'journal') });
    try {
      const shards: Shard[] = [];
      for (
        let cursor: string | undefined, more = (await journal.pipeline(this.name)) !== undefined;
        more;
        more = cursor !== undefined
      ) {
        const page = await journal.list({ pipeline: this.name, max: 1_000, ...(cursor === undefined ? {} : { cursor }) });
        for (const { id } of page.shards) {
          const shard = await journal.shard(id);
          if (shard !== undefined) shards.push(shard);
        }
        cursor = page.next;
      }
      const events: PodlineEvent[] = [];
      for (let page = await journal.events(0, 1_000); page.length > 0; page = await journal.events(page.at(-1)?.id ?? 0, 1_000))
        events.push(...page);
      return { shards, events };
    } finally {
      await journal.close();
    }
  }

  /** Every process that works for this bench, by what is in its environment. */
  processes(): FoundProcess[] {
    const mark = this.places.scratchRoot;
    const coordinators = this.#children.flatMap((child): FoundProcess[] =>
      child.isAlive ? [{ pid: child.pid, role: 'coordinator' }] : [],
    );
    const found = readdirSync('/proc').flatMap((name): FoundProcess[] => {
      if (!/^\d+$/.test(name)) return [];
      try {
        const environment = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
        // A command does not see the scratch; but its output folder lies in there.
        if (!environment.some((variable) => variable.startsWith('PODLINE_') && variable.includes(`=${mark}/`))) return [];
        const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        const line = environment.find((variable) => variable.startsWith('PODLINE_LINE='))?.slice('PODLINE_LINE='.length);
        const role: Role = words.some((word) => word.endsWith('sidecars/agent/main.js'))
          ? 'agent'
          : words.some((word) => word.endsWith('sidecars/shim/main.js')) || /\/podline-shim$/.test(words[0] ?? '')
            ? 'slot'
            : 'stage';
        // A zombie has no command line.
        return words.join('') === '' ? [] : [{ pid: Number(name), role, line }];
      } catch {
        return [];
      }
    });
    return [...coordinators, ...found];
  }

  /** Until nothing of this bench runs any more. */
  async quiet(): Promise<void> {
    await until(() => this.processes().length === 0);
  }

  /** The ends of all logs, for the words of a failure. */
  logs(bytesMax = 4_000): string {
    const dir = join(this.workDir, 'logs');
    if (!existsSync(dir)) return '';
    return readdirSync(dir)
      .map((name) => `--- ${name}\n${readFileSync(join(dir, name), 'utf8').slice(-bytesMax)}`)
      .join('\n');
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(this.#children.map((child) => child.ended));
    const places = this.places;
    await this.quiet();
    for (const dir of [places.scratchRoot, places.socketsDir, this.dir]) rmSync(dir, { recursive: true, force: true });
  }
}

/** The command `podline` in a process of its own. */
export class PodlineProcess {
  stdout = '';
  stderr = '';
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;

  constructor(args: readonly string[], cwd: string, environment: Record<string, string>) {
    const child = spawn(process.execPath, [entryPath('runtime/cli/main'), ...args], {
      cwd,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.ended = once(child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
    }));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.isAlive) this.#child.kill(signal);
  }

  /** What it wrote on stdout, read as JSON. */
  json<T = { error: WireError }>(): T {
    return JSON.parse(this.stdout) as T;
  }
}
