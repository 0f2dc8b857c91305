/**
 * A chain of warm processes, the source and one per stage, connected by streams, by a store, or (all in one) by nothing.
 *
 * The span: five stages mean five hand-overs for all. Where streams connect, it begins when the first process holds the source; where
 * a store does, when the source lies in the store, as Podline's begins when it lies in the scratch.
 */
import { noBytes, type BytesByMedium, type Medium } from '../../runtime/contracts/block.js';
import { keyOf } from '../transports/store-stage.js';
import { groupOf } from '../transports/transport.js';
import type { JobEnd, Runner } from '../runners/runner.js';
import type { Job, Work } from '../work/work.js';
import { ChainChild } from './child.js';
import { stageName } from './chain-stage.js';
import type { Carrying } from './forms.js';
import { openPipes } from './pipes.js';
import type { ChainSetup, Done, Store, StreamName } from './protocol.js';

/** A server that a peer starts for itself. */
export interface StoreServer {
  readonly store: Store;
  pids(): number[];
  close(): Promise<void>;
}

export type Connection =
  | { kind: 'stream'; name: StreamName }
  /** `media`: what the values go through. */
  | { kind: 'store'; start: (dir: string) => Promise<StoreServer>; media: readonly Medium[]; jobsMax?: number }
  | { kind: 'nothing' };

const jobsAtOnceMax = 64;

function jobsMaxOf(connection: Connection): number {
  switch (connection.kind) {
    case 'nothing':
      return 1;
    case 'stream':
      // A pipe carries one shard after another.
      return connection.name === 'pipe' ? 1 : jobsAtOnceMax;
    case 'store':
      return connection.jobsMax ?? jobsAtOnceMax;
  }
}

export class ChainRunner implements Runner {
  readonly memoryDirs = [];
  readonly jobsMax: number;
  readonly #stages: number;
  #server: StoreServer | undefined;
  #children: ChainChild[] = [];

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly work: Work,
    private readonly carrying: Carrying,
    private readonly connection: Connection,
    private readonly dir: string,
  ) {
    if (work.kind === 'flights') throw new Error('the flights are not a chain');
    this.#stages = work.stages;
    this.jobsMax = jobsMaxOf(connection);
  }

  async start(): Promise<void> {
    const { connection } = this;
    if (connection.kind === 'store') this.#server = await connection.start(this.dir);
    const by: ChainSetup['by'] = connection.kind === 'store' ? { kind: 'store', store: this.#server!.store } : connection;
    const { work, carrying } = this;
    if (by.kind === 'nothing') this.#children = [new ChainChild(this.name, { work, carrying, index: 0, by })];
    else {
      const isPiped = by.kind === 'stream' && by.name === 'pipe';
      const pipes = isPiped ? await openPipes(this.#stages) : undefined;
      this.#children = Array.from({ length: this.#stages + 1 }, (_, at) => {
        const setup = { work, carrying, index: at - 1, by };
        return new ChainChild(`${this.name}, ${stageName(at - 1)}`, setup, pipes?.stdio[at]);
      });
      pipes?.close();
    }
    const ports = await Promise.all(this.#children.map((child) => child.ready()));
    if (by.kind !== 'stream') return;
    const named = Object.fromEntries(ports.map((port, at) => [stageName(at - 1), port]));
    for (const child of this.#children) child.tell({ type: 'connect', ports: named });
  }

  pids(): number[] {
    return [...(this.#server?.pids() ?? []), ...this.#children.map(({ pid }) => pid)];
  }

  async run(job: Job): Promise<JobEnd> {
    const [first] = this.#children;
    if (first === undefined) throw new Error('not started');
    const done: Done[] = [];
    if (this.connection.kind === 'store') {
      for (const child of this.#children) {
        const before = done.at(-1);
        child.tell({ type: 'job', job, blocks: before === undefined ? {} : { [before.stage]: before.blocks } });
        done.push(await child.done(job.id));
      }
      await this.#remove(job, done);
    } else {
      first.tell({ type: 'job', job, blocks: {} });
      done.push(...(await Promise.all(this.#children.map((child) => child.done(job.id)))));
    }
    const beganMs = this.connection.kind === 'store' ? done[0]!.endedMs : done[0]!.loadedMs;
    return { dir: job.resultDir, bytes: this.#bytesOf(done), spanMs: done.at(-1)!.endedMs - beganMs, stages: [] };
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.splice(0).map((child) => child.close()));
    await this.#server?.close();
    this.#server = undefined;
  }

  /** A store is emptied after each job: it would grow without end. */
  async #remove(job: Job, done: readonly Done[]): Promise<void> {
    const to = groupOf({ columns: [] });
    const keys = done
      .slice(0, -1)
      .flatMap(({ stage, blocks }) => Array.from({ length: blocks }, (_, block) => keyOf(job.id, { from: stage, to }, block)));
    const [first] = this.#children;
    first!.tell({ type: 'remove', job: job.id, keys });
    await first!.removed(job.id);
  }

  #bytesOf(done: readonly Done[]): BytesByMedium {
    const bytes = noBytes();
    const media = this.connection.kind === 'store' ? this.connection.media : (['network'] as const);
    for (const medium of media) {
      bytes[medium].read = done.reduce((sum, { read }) => sum + read, 0);
      bytes[medium].written = done.reduce((sum, { written }) => sum + written, 0);
    }
    return bytes;
  }
}
