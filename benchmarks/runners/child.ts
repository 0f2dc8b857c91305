/** A process of a baseline, seen from the benchmark. Ended by closing its channel. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { entryPath } from '../../runtime/platform/entries.js';
import type { FromStage, StageDone, StageSetup, ToStage } from '../stage-protocol.js';

export class StageChild {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #heard: FromStage[] = [];
  #wake: (() => void) | undefined;
  #lost: Error | undefined;

  constructor(private readonly setup: StageSetup) {
    this.#child = fork(entryPath('benchmarks/stage-process'), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.pid = this.#child.pid ?? 0;
    this.#child.on('message', (message) => {
      this.#heard.push(message as FromStage);
      this.#wake?.();
    });
    this.#child.on('error', (error) => this.#lose(error));
    this.#child.on('exit', (code, signal) =>
      this.#lose(new Error(`the process of ${setup.stage} ended: ${signal ?? String(code)}`)),
    );
    this.tell({ type: 'setup', setup });
  }

  tell(message: ToStage): void {
    this.#child.send(message);
  }

  /** The port, where it has one. */
  async ready(): Promise<number> {
    const message = await this.#next();
    if (message.type !== 'ready') throw new Error(`${this.setup.stage} said ${message.type} before it was ready`);
    return message.port;
  }

  async done(): Promise<StageDone> {
    const message = await this.#next();
    if (message.type !== 'done') throw new Error(`${this.setup.stage} said ${message.type} where it was to be done`);
    return message.done;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }

  async #next(): Promise<FromStage> {
    for (;;) {
      const message = this.#heard.shift();
      if (message?.type === 'failed') throw new Error(`${this.setup.stage}: ${message.message}`);
      if (message !== undefined) return message;
      if (this.#lost !== undefined) throw this.#lost;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#wake?.();
  }
}
