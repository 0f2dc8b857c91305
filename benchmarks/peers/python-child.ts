/** A Python process that answers lines of JSON by lines of JSON, in order. Ended by closing its standard input. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { packageRoot } from '../../runtime/platform/entries.js';
import { Missing } from '../runners/runner.js';

const run = promisify(execFile);
const scripts = join(packageRoot, 'benchmarks', 'peers', 'python');
const cache = process.env['PODLINE_CACHE'] ?? join(homedir(), '.cache', 'podline');
const installHint =
  'python3 -m venv ~/.cache/podline/bench-python && ~/.cache/podline/bench-python/bin/pip install -r benchmarks/peers/python/requirements.txt';

/** The first Python that has the modules. Throws `Missing`. */
export async function pythonWith(modules: readonly string[]): Promise<string> {
  const own = join(cache, 'bench-python', 'bin', 'python3');
  const candidates = [process.env['PODLINE_PYTHON'], existsSync(own) ? own : undefined, 'python3'];
  for (const python of candidates) {
    if (python === undefined) continue;
    // Looked for, not imported: some take seconds to load.
    const found = modules.map((name) => `importlib.util.find_spec('${name}') is None`).join(' or ');
    const isThere = await run(python, ['-c', `import importlib.util, sys; sys.exit(${found})`]).then(
      () => true,
      () => false,
    );
    if (isThere) return python;
  }
  throw new Missing(`no Python has ${modules.join(', ')} (${installHint})`);
}

/** Where a package lies. */
export async function packageDir(python: string, name: string): Promise<string> {
  const { stdout } = await run(python, [
    '-c',
    `import importlib.util; print(importlib.util.find_spec('${name}').submodule_search_locations[0])`,
  ]);
  return stdout.trim();
}

export class PythonChild {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #waiting: { resolve: (answer: unknown) => void; reject: (error: Error) => void }[] = [];
  #said = '';
  #lost: Error | undefined;

  constructor(python: string, script: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    const child = spawn(python, ['-u', join(scripts, script), ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...environment },
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
    child.stderr.on('data', (piece: Buffer) => (this.#said = (this.#said + piece.toString()).slice(-2000)));
    child.stdin.on('error', (error) => this.#lose(error));
    child.on('error', (error) => this.#lose(error));
    child.on('close', (code, signal) => this.#lose(new Error(`${script} ended: ${signal ?? String(code)}. ${this.#said}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('{')) this.#waiting.shift()?.resolve(JSON.parse(line));
    });
  }

  /** When it takes requests. */
  ready(): Promise<unknown> {
    return this.#answer();
  }

  async ask<T>(request: object): Promise<T> {
    const answer = this.#answer();
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    return (await answer) as T;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const exited = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await exited;
  }

  #answer(): Promise<unknown> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#lost);
  }
}
