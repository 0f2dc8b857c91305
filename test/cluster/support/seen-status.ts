/** What `kubectl get -w` shows of a pipeline's conditions, as it changes: also what stands there for a moment only. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { kubeconfig } from './cluster.js';

const words = '{range .status.conditions[*]}{.type}={.status} {.reason}|{end}{"\\n"}';

export class SeenStatus {
  readonly #seen: string[] = [];
  #child: ChildProcess | undefined;
  #closed = false;

  constructor(
    private readonly namespace: string,
    private readonly pipeline: string,
  ) {
    this.#watch();
  }

  /** So many were seen so far: to ask for what comes after. */
  get mark(): number {
    return this.#seen.length;
  }

  /** `Type=Status Reason`, each once, in the order in which they were first seen since `mark`. */
  since(mark: number): string[] {
    return [...new Set(this.#seen.slice(mark).flatMap((line) => line.split('|').filter((word) => word !== '')))];
  }

  close(): void {
    this.#closed = true;
    this.#child?.kill();
  }

  /** A server that goes away ends the watch: the next one begins with what is there then. */
  #watch(): void {
    const name = ['-n', this.namespace, 'get', 'pipeline', this.pipeline];
    const child = spawn('kubectl', ['--kubeconfig', kubeconfig, ...name, '-w', '-o', `jsonpath=${words}`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.#seen.push(line));
    child.once('exit', () => {
      if (!this.#closed) setTimeout(() => this.#watch(), 500);
    });
  }
}
