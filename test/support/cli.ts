/** The built command line as a child process, and what it must not leave behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { entryPath, packageRoot } from '../../runtime/platform/entries.js';

export const exampleManifest = (name: string): string => join(packageRoot, 'examples', name, 'pipeline.yaml');

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves with what was written to either stream so far once `pattern` stands in it; rejects when the process ends first. */
  said(pattern: RegExp): Promise<string>;
}

export interface CliOptions {
  cwd?: string;
  env?: Record<string, string>;
}

export function startCli(args: readonly string[], { cwd, env }: CliOptions = {}): RunningCli {
  const child = spawn(process.execPath, [entryPath('runtime/cli/main'), ...args], {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const written = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      written[stream] += text;
      for (const look of waiting) look();
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      resolve({ code, ...written });
    });
  });
  const said = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const all = written.stdout + written.stderr;
        if (!pattern.test(all)) return;
        waiting.delete(look);
        resolve(all);
      };
      waiting.add(look);
      void ended.then(({ code }) => {
        reject(new Error(`ended with ${String(code)} before it said ${String(pattern)}:\n${written.stdout}${written.stderr}`));
      });
      look();
    });
  return { child, ended, said };
}

export const cli = (args: readonly string[], options?: CliOptions): Promise<Ended> => startCli(args, options).ended;

/** Folders of a test, each with a work directory whose leftovers can be asked for. */
export class CliFolder {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), 'podline-cli-')));
  readonly workDir = join(this.dir, 'work');
  readonly resultDir = join(this.dir, 'results');

  /** Shared memory that belongs to the work directory, and processes that were started for it. */
  leftovers(workDir = this.workDir): string[] {
    const folder = sharedFolder(workDir);
    return [...(existsSync(folder) ? [folder] : []), ...processesNaming(workDir, basename(folder))];
  }

  /** Bytes of shared memory that the work directory occupies. */
  sharedBytes(): number {
    const folder = sharedFolder(this.workDir);
    if (!existsSync(folder)) return 0;
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return files.reduce(
      (sum, file) => sum + (statSync(join(file.parentPath, file.name), { throwIfNoEntry: false })?.blocks ?? 0) * 512,
      0,
    );
  }

  remove(): void {
    for (const dir of [this.dir, sharedFolder(this.workDir)]) rmSync(dir, { recursive: true, force: true });
  }
}

const sharedFolder = (workDir: string): string =>
  join('/dev/shm', `podline-${createHash('sha256').update(workDir).digest('hex').slice(0, 12)}`);

/** Command lines and environments are read from /proc; empty where there is none. */
function processesNaming(...words: string[]): string[] {
  return processIds().flatMap((pid) => {
    if (pid === process.pid) return [];
    const about = ['cmdline', 'environ'].map((file) => readProc(pid, file)).join('\0');
    return words.some((word) => about.includes(word))
      ? [`process ${String(pid)}: ${readProc(pid, 'cmdline').replaceAll('\0', ' ')}`]
      : [];
  });
}

function processIds(): number[] {
  if (!existsSync('/proc/self')) return [];
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(join('/proc', String(pid), file), 'utf8');
  } catch {
    return '';
  }
}

/** Memory of a process and all that it started: shared pages are counted once, by their proportion (PSS). */
export function memoryOfTree(root: number): { processes: number; bytes: number } {
  const parents = new Map(processIds().map((pid) => [pid, Number(/^PPid:\s+(\d+)/m.exec(readProc(pid, 'status'))?.[1] ?? 0)]));
  const tree = new Set([root]);
  for (let grew = true; grew;) {
    const before = tree.size;
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid);
    grew = tree.size > before;
  }
  const bytes = [...tree].map((pid) => Number(/^Pss:\s+(\d+)/m.exec(readProc(pid, 'smaps_rollup'))?.[1] ?? 0) * 1024);
  return { processes: tree.size, bytes: bytes.reduce((sum, each) => sum + each, 0) };
}
