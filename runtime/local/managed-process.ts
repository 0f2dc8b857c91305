/**
 * One process of a line on a laptop, kept as a kubelet keeps a container: started, its output appended to a log,
 * started again with back-off when it exits unasked, ended with SIGTERM and, after a grace period, SIGKILL.
 *
 * Invariants
 *  1. At most one process at a time: the next starts after the exit of the one before was seen.
 *  2. After `end()` nothing is started again.
 *  3. The child holds a lifeline (its stdin) and ends by itself when this process is gone.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { open } from 'node:fs/promises';
import { env } from '../contracts/env.js';
import { limits } from '../contracts/limits.js';

export interface ProcessSpec {
  /** For logs and the process list: `agent`, `slot-0`. */
  name: string;
  /** Program and arguments. */
  command: readonly [string, ...string[]];
  env: Record<string, string>;
  logFile: string;
}

export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Times it was started again without having lived long. */
  restarts: number;
}

const backoffMs = (restarts: number): number => Math.min(5_000, 50 * 2 ** restarts);
/** A process that lived this long starts again at once, as if it were the first time. */
const settledMs = 10_000;

export class ManagedProcess {
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #ending = false;
  #restarts = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    readonly spec: ProcessSpec,
    /** `exit` only where nobody asked for the end, and it is started again. */
    private readonly onChange: (pid: number | undefined, exit?: ProcessExit) => void,
  ) {}

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    if (this.#ending) return;
    const log = await open(this.spec.logFile, 'a');
    // `end()` may have come while the log was opened.
    if (this.#ending as boolean) {
      await log.close();
      return;
    }
    const startedAtMs = performance.now();
    const [program, ...args] = this.spec.command;
    const child = spawn(program, args, {
      env: { ...process.env, ...this.spec.env, [env.lifeline]: '1' },
      stdio: ['pipe', log.fd, log.fd],
      // A group of its own: Ctrl-C is for the coordinator, which ends its lines in order.
      detached: true,
    });
    this.#child = child;
    // The lifeline is never written to; that the child closed its end is no error of ours.
    child.stdin?.on('error', () => undefined);
    this.#exited = new Promise((resolve) => {
      const over = (code: number | null, signal: NodeJS.Signals | null): void => {
        if (this.#child !== child) return;
        this.#child = undefined;
        resolve();
        if (performance.now() - startedAtMs > settledMs) this.#restarts = 0;
        if (this.#ending) {
          this.onChange(undefined);
          return;
        }
        this.onChange(undefined, { code, signal, restarts: this.#restarts });
        this.#timer = setTimeout(() => void this.start(), backoffMs(this.#restarts));
        this.#restarts += 1;
      };
      child.once('exit', over);
      child.once('error', () => {
        over(null, null);
      });
    });
    await log.close();
    this.onChange(child.pid);
  }

  /** Resolves when the process is gone. May be called twice. */
  async end(graceMs: number = limits.terminationGraceMs): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const killer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await this.#exited;
    clearTimeout(killer);
  }
}
