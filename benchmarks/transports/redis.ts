/**
 * Functions with a store between them: each is invoked when its inputs are whole, fetches them block by block (the next one while it
 * works on this one), and pushes what it makes. Warm processes, a connection each.
 */
import { inputStream } from '../../runtime/contracts/block.js';
import type { Codec } from '../codecs/codec.js';
import type { StageDone } from '../stage-protocol.js';
import type { StageWork } from '../stage-work.js';
import { zipTables, type Table } from '../table.js';
import { groupOf, groupsOf, type Edge, type Job } from '../workload.js';
import { RedisClient } from './redis-client.js';

/** Blocks that are on their way to the store at once. */
const sendsMax = 2;

export const keyOf = (job: string, edge: { from: string; to: string }, block: number): string =>
  `${job}/${edge.from}>${edge.to}/${block}`;

export class RedisStage {
  readonly #codecs = new Map<Edge, Codec>();

  private constructor(
    private readonly work: StageWork,
    private readonly store: RedisClient,
  ) {
    for (const edge of [...work.inputs, ...work.outputs]) this.#codecs.set(edge, work.codecOf(edge));
  }

  static async open(work: StageWork, socket: string): Promise<RedisStage> {
    return new RedisStage(work, await RedisClient.open(socket));
  }

  /** `blocks`: how many each of its inputs has. `blocks` of the answer: how many it made. */
  async run(job: Job, blocks: Readonly<Record<string, number>>): Promise<StageDone> {
    this.work.begin(job);
    let made = 0;
    let sends: Promise<void>[] = [];
    const put = async (table: Table): Promise<void> => {
      sends.push(this.#put(job, table, made++));
      if (sends.length >= sendsMax) await sends.shift();
    };
    if (this.work.stage === inputStream) {
      for await (const table of this.work.source(job.source)) await put(table);
    } else {
      const total = Math.max(...this.work.inputs.map(({ from }) => blocks[from] ?? 0));
      let next = total > 0 ? this.#fetch(job, 0) : undefined;
      for (let block = 0; block < total; block++) {
        const table = await next!;
        next = block + 1 < total ? this.#fetch(job, block + 1) : undefined;
        next?.catch(() => undefined);
        const taken = await this.work.take(table);
        if (taken !== undefined) await put(taken);
      }
      const last = await this.work.finish(job);
      if (last !== undefined) await put(last);
    }
    await Promise.all(sends);
    sends = [];
    return { ...this.work.done(), blocks: made };
  }

  async forget(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.store.command('DEL', ...keys);
  }

  close(): void {
    this.store.close();
  }

  async #fetch(job: Job, block: number): Promise<Table> {
    const values = await Promise.all(
      this.work.inputs.map((edge) => this.store.get(keyOf(job.id, { from: edge.from, to: groupOf(edge) }, block))),
    );
    return zipTables(
      values.map((value, index) => {
        this.work.received(value.length);
        const decoder = this.#codecs.get(this.work.inputs[index]!)!.decoder();
        const tables = [...decoder.push(value), ...decoder.end()];
        if (tables.length !== 1) throw new Error(`a value holds ${tables.length} blocks`);
        return tables[0]!;
      }),
    );
  }

  /** Functions behind it that read the same columns read the same value. */
  async #put(job: Job, table: Table, block: number): Promise<void> {
    for (const [to, edges] of groupsOf(this.work.outputs)) {
      const pieces = [...this.#codecs.get(edges[0]!)!.encode(table)];
      this.work.sent(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
      await this.store.set(keyOf(job.id, { from: this.work.stage, to }, block), pieces);
    }
  }
}
