/**
 * The stages' own loops without anything between them, in one process: the speed that Podline is held against.
 *
 * `new`: every stage makes new output buffers, as one must whose output others read; `reused`: two sets of buffers take turns, which is as
 * fast as the loop can be and keeps nothing.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { noBytes } from '../../runtime/contracts/block.js';
import { entryPath } from '../../runtime/platform/entries.js';
import type { FromBare, ToBare } from '../bare-process.js';
import type { BytesWork, Job, Work } from '../work/work.js';
import { Missing, type JobEnd, type Peer, type Runner } from './runner.js';

class BareRunner implements Runner {
  readonly memoryDirs = [];
  #child: ChildProcess | undefined;

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly work: BytesWork,
    private readonly buffers: ToBare['buffers'],
  ) {}

  async start(): Promise<void> {
    this.#child = fork(entryPath('benchmarks/bare-process'), [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    await once(this.#child, 'spawn');
  }

  pids(): number[] {
    return this.#child?.pid === undefined ? [] : [this.#child.pid];
  }

  async run(job: Job): Promise<JobEnd> {
    const child = this.#child;
    if (child === undefined) throw new Error('not started');
    const message: ToBare = { job, work: this.work, buffers: this.buffers };
    child.send(message);
    const exited = once(child, 'exit').then(([code]) => {
      throw new Error(`the process ended with ${String(code)}`);
    });
    exited.catch(() => undefined);
    const [answer] = (await Promise.race([once(child, 'message'), exited])) as [FromBare];
    if ('failed' in answer) throw new Error(answer.failed);
    return { dir: job.resultDir, bytes: noBytes(), spanMs: answer.spanMs, stages: [] };
  }

  async close(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.disconnect();
    await exited;
  }
}

const barePeer = (name: string, title: string, buffers: ToBare['buffers']): Peer => ({
  name,
  title,
  does: ['bytes'],
  make: (work: Work) => {
    if (work.kind !== 'bytes') throw new Missing('it works on bytes');
    return new BareRunner(name, title, work, buffers);
  },
});

export const bareNew = barePeer('bare-new', 'the loop alone, one thread, new output buffers', 'new');
export const bareReused = barePeer('bare-reused', 'the loop alone, one thread, output buffers reused', 'reused');
