/**
 * Programs run by the static shim of a slot, for the agent: told to it, and heard of from it.
 *
 * Rows do not go through a pipe, which would cross the agent, but through two files in the folder of the run: the program begins
 * when its input is whole, and its output is read when it has ended.
 *
 * Invariants
 *  1. A program is settled once: by what the shim says of its end, or because the shim is gone.
 *  2. A cancelled program is settled when the shim says that it has ended, like any other: until then its folder is in use.
 */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { PodlineError } from '../contracts/errors.js';
import type { AgentToStaticShim, Execute, ProgramExited } from '../contracts/shim-protocol.js';
import { orAborted } from './aborts.js';
import { programFault, signalName, type ProgramEnd, type ProgramOrder, type Programs, type RunningProgram } from './programs.js';

export class RemotePrograms implements Programs {
  readonly #waiting = new Map<string, { resolve: (exited: ProgramExited) => void; reject: (error: PodlineError) => void }>();
  #lost: PodlineError | undefined;

  constructor(private readonly send: (message: AgentToStaticShim) => void) {}

  load(): void {
    // The shim that said hello is all there is to it.
  }

  start(order: ProgramOrder, signal: AbortSignal): RunningProgram {
    return new RemoteProgram(order, signal, {
      execute: (execute) => this.#execute(execute),
      cancel: () => this.send({ type: 'cancel', runId: order.runId, reason: 'the run is over' }),
    });
  }

  /** The shim has said it. */
  take(exited: ProgramExited): void {
    const waiting = this.#waiting.get(exited.runId);
    this.#waiting.delete(exited.runId);
    waiting?.resolve(exited);
  }

  /** The shim is gone, and with it, by its own promise, what it had started. */
  lose(): void {
    this.#lost = new PodlineError('PDL_STAGE_DIED', 'the shim of the slot is gone');
    for (const { reject } of this.#waiting.values()) reject(this.#lost);
    this.#waiting.clear();
  }

  close(): void {
    this.lose();
  }

  #execute(execute: Execute): Promise<ProgramExited> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#waiting.set(execute.runId, { resolve, reject });
      this.send(execute);
    });
  }
}

interface Reach {
  execute(execute: Execute): Promise<ProgramExited>;
  cancel(): void;
}

class RemoteProgram implements RunningProgram {
  readonly exited: Promise<void>;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly #out = new PassThrough();
  readonly #files: { stdin: string; stdout: string } | undefined;

  constructor(
    private readonly order: ProgramOrder,
    signal: AbortSignal,
    private readonly reach: Reach,
  ) {
    const { folder, isPiped } = order;
    this.#files = isPiped ? { stdin: join(folder, 'stdin'), stdout: join(folder, 'stdout') } : undefined;
    this.stdin = this.#files === undefined ? new PassThrough().end() : createWriteStream(this.#files.stdin);
    // Its fault is the run's, and told there.
    this.stdin.on('error', () => undefined);
    this.stdout = this.#out;
    this.exited = this.#run(signal);
    this.exited.catch(() => undefined);
  }

  kill(): void {
    this.reach.cancel();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { command, cwd, env, without, runId, onStart } = this.order;
    try {
      if (this.#files !== undefined) await orAborted(finished(this.stdin, { readable: false }), signal);
      signal.throwIfAborted();
      onStart();
      const cancel = (): void => this.reach.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      const exited = await this.reach
        .execute({ type: 'execute', runId, command, cwd, env, without, ...this.#files })
        .finally(() => signal.removeEventListener('abort', cancel));
      const fault = programFault(this.order, endOf(exited), exited.logTail?.trimEnd());
      if (fault !== undefined) throw fault;
    } catch (thrown) {
      this.stdin.destroy();
      this.#out.end();
      throw thrown;
    }
    if (this.#files !== undefined) void this.#readOut(this.#files.stdout);
  }

  async #readOut(path: string): Promise<void> {
    const file = createReadStream(path);
    try {
      await once(file, 'open');
      await pipeline(file, this.#out);
    } catch (thrown) {
      this.#out.destroy(thrown as Error);
    }
  }
}

function endOf({ code, signal, unstartable, missing, refused }: ProgramExited): ProgramEnd {
  if (refused !== undefined) throw new PodlineError('PDL_PROTOCOL', `the shim refused a program: ${refused}`);
  if (unstartable !== undefined) return { unstartable, isMissing: missing === true };
  return signal === undefined ? { code: code ?? 0 } : { signal: signalName(signal) };
}
