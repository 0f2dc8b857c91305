/**
 * One run of a program: in a process group of its own, with what it says on stderr kept, ended for sure when it is cancelled.
 *
 * Invariants
 *  1. When `exited` settles, no process of the group is left. At no moment is one at work that the guard does not know or could not find.
 *  2. A cancel is SIGTERM to the group, and SIGKILL after `killAfterMs`.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { Guard } from './guard.js';
import { Tail } from './tail.js';

/** From SIGTERM to SIGKILL of a cancelled command: less than the shim itself is given. */
const killAfterMs = limits.terminationGraceMs / 2;

export interface ProgramOptions {
  stage: string;
  command: readonly string[];
  cwd: string | undefined;
  env: Record<string, string | undefined>;
  /** Whether stdin and stdout are the caller's; else stdin is empty and stdout goes where stderr goes. */
  isPiped: boolean;
  guard: Guard;
}

export class Program {
  /** Resolves when it exited with 0. Throws PDL_STAGE_FAILED (another code, cannot be started) or PDL_STAGE_DIED (a signal). */
  readonly exited: Promise<void>;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #tail = new Tail(limits.logTailBytes);
  #killTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly options: ProgramOptions,
    signal: AbortSignal,
  ) {
    const { command, cwd, env, isPiped, guard } = options;
    const [file = '', ...args] = command;
    guard.watch('start');
    const marked = { ...env, ...guard.environment };
    const child = spawn(file, args, { cwd, env: marked, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    // A program that ends without reading its input is none of our business.
    child.stdin.on('error', () => undefined);
    if (!isPiped) {
      child.stdin.end();
      child.stdout.on('data', (chunk: Buffer) => this.#say(chunk));
    }
    child.stderr.on('data', (chunk: Buffer) => this.#say(chunk));
    guard.watch(child.pid);
    const cancel = (): void => this.#cancel();
    signal.addEventListener('abort', cancel, { once: true });
    this.exited = new Promise<void>((resolve, reject) => {
      child.on('error', (error: NodeJS.ErrnoException) => reject(this.#unstartable(error)));
      // What it started in the background ends with it, so that nobody holds its pipes open.
      child.on('exit', () => this.#killGroup('SIGKILL'));
      child.on('close', (code, signalName) => (code === 0 ? resolve() : reject(this.#failed(code, signalName))));
    }).finally(() => {
      signal.removeEventListener('abort', cancel);
      clearTimeout(this.#killTimer);
      guard.watch(undefined);
    });
    this.exited.catch(() => undefined);
    if (signal.aborted) cancel();
  }

  kill(): void {
    this.#killGroup('SIGKILL');
  }

  #say(chunk: Buffer): void {
    this.#tail.push(chunk);
    process.stderr.write(chunk);
  }

  #cancel(): void {
    this.#killGroup('SIGTERM');
    this.#killTimer = setTimeout(() => this.#killGroup('SIGKILL'), killAfterMs);
  }

  #killGroup(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // The whole group is gone already.
    }
  }

  #unstartable(error: NodeJS.ErrnoException): PodlineError {
    const { stage, command, cwd } = this.options;
    const isMissing = error.code === 'ENOENT';
    return new PodlineError(
      'PDL_STAGE_FAILED',
      `the command of stage ${stage} cannot be started: ${command[0] ?? ''}: ${isMissing ? 'not found' : error.message}`,
      {
        place: stage,
        cause: error,
        hint: isMissing
          ? `Check that ${command[0] ?? 'the program'} is installed and on the PATH, and that the folder ${cwd ?? process.cwd()} exists.`
          : 'Check that the program may be executed.',
      },
    );
  }

  #failed(code: number | null, signal: NodeJS.Signals | null): PodlineError {
    const { stage, command } = this.options;
    const logTail = this.#tail.text;
    if (signal !== null) {
      return new PodlineError('PDL_STAGE_DIED', `the command of stage ${stage} (${command[0] ?? ''}) was ended by ${signal}`, {
        place: stage,
        logTail,
      });
    }
    return new PodlineError(
      'PDL_STAGE_FAILED',
      `the command of stage ${stage} (${command[0] ?? ''}) ended with exit code ${String(code)}`,
      { place: stage, logTail },
    );
  }
}
