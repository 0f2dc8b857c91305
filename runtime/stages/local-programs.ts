/**
 * Programs run by this process: each in a process group of its own, with what it says on stderr kept, ended for sure when it is cancelled.
 *
 * Invariants
 *  1. When `exited` settles, no process of the group is left. At no moment is one at work that the guard does not know or could not find.
 *  2. A cancel is SIGTERM to the group, and SIGKILL after `killAfterMs`.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { limits } from '../contracts/limits.js';
import { Guard } from './guard.js';
import { programFault, type ProgramEnd, type ProgramOrder, type Programs, type RunningProgram } from './programs.js';
import { Tail } from './tail.js';

/** From SIGTERM to SIGKILL of a cancelled command: less than the shim itself is given. */
const killAfterMs = limits.terminationGraceMs / 2;

export class LocalPrograms implements Programs {
  readonly #guard = new Guard();

  load(): void {
    this.#guard.start();
  }

  start(order: ProgramOrder, signal: AbortSignal): RunningProgram {
    order.onStart();
    return new LocalProgram(order, signal, this.#guard);
  }

  close(): void {
    this.#guard.close();
  }
}

class LocalProgram implements RunningProgram {
  readonly exited: Promise<void>;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #tail = new Tail(limits.logTailBytes);
  #killTimer: NodeJS.Timeout | undefined;

  constructor(order: ProgramOrder, signal: AbortSignal, guard: Guard) {
    const { command, cwd, env, without, isPiped } = order;
    const [file = '', ...args] = command;
    guard.watch('start');
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !without.includes(name)));
    const environment = { ...inherited, ...env, ...guard.environment };
    const child = spawn(file, args, { cwd, env: environment, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
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
      const end = (how: ProgramEnd): void => {
        const fault = programFault(order, how, this.#tail.text);
        if (fault === undefined) resolve();
        else reject(fault);
      };
      child.on('error', (error: NodeJS.ErrnoException) =>
        end({ unstartable: error.message, isMissing: error.code === 'ENOENT', cause: error }),
      );
      // What it started in the background ends with it, so that nobody holds its pipes open.
      child.on('exit', () => this.#killGroup('SIGKILL'));
      child.on('close', (code, signalName) => end(signalName === null ? { code: code ?? 0 } : { signal: signalName }));
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
}
