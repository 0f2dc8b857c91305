/** A process of a peer, seen from the benchmark: what it tells of each job, its errors as errors here. Ended by closing its channel. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { entryPath } from '../../runtime/platform/entries.js';
import type { ChainSetup, Done, FromChain, ToChain } from './protocol.js';

export class ChainChild {
  readonly pid: number;
  readonly #child: ChildProcess;
  /** What is waited for, by `type job`. */
  readonly #waiting = new Map<string, { resolve: (message: FromChain) => void; reject: (error: Error) => void }>();
  readonly #heard = new Map<string, FromChain>();
  #lost: Error | undefined;

  /** `stdio`: its standard input and output, where those are its way to the others. */
  constructor(
    private readonly name: string,
    setup: ChainSetup,
    stdio: readonly (number | 'ignore')[] = ['ignore', 'ignore'],
  ) {
    this.#child = fork(entryPath('benchmarks/peers/process'), [], {
      serialization: 'advanced',
      stdio: [...stdio, 'inherit', 'ipc'],
    });
    this.pid = this.#child.pid ?? 0;
    this.#child.on('message', (message) => this.#hear(message as FromChain));
    this.#child.on('error', (error) => this.#lose(error));
    this.#child.on('exit', (code, signal) => this.#lose(new Error(`the process of ${name} ended: ${signal ?? String(code)}`)));
    this.tell({ type: 'setup', setup });
  }

  tell(message: ToChain): void {
    this.#child.send(message);
  }

  /** The port, where it has one. */
  async ready(): Promise<number> {
    return ((await this.#next('ready')) as Extract<FromChain, { type: 'ready' }>).port;
  }

  async done(job: string): Promise<Done> {
    return ((await this.#next(`done ${job}`)) as Extract<FromChain, { type: 'done' }>).done;
  }

  async removed(job: string): Promise<void> {
    await this.#next(`removed ${job}`);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    if (this.#child.connected) this.#child.disconnect();
    await exited;
  }

  #next(wanted: string): Promise<FromChain> {
    const heard = this.#heard.get(wanted);
    this.#heard.delete(wanted);
    if (heard !== undefined) return Promise.resolve(heard);
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => this.#waiting.set(wanted, { resolve, reject }));
  }

  #hear(message: FromChain): void {
    if (message.type === 'failed') {
      this.#lose(new Error(`${this.name}: ${message.message}`));
      return;
    }
    const about =
      message.type === 'ready' ? 'ready' : `${message.type} ${message.type === 'done' ? message.done.job : message.job}`;
    const waiting = this.#waiting.get(about);
    this.#waiting.delete(about);
    if (waiting === undefined) this.#heard.set(about, message);
    else waiting.resolve(message);
  }

  /** What failed once fails for good: the harness puts such a peer out of the run. */
  #lose(error: Error): void {
    this.#lost ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#lost);
    this.#waiting.clear();
  }
}
