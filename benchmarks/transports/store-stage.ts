/**
 * A function with a store between it and the others: invoked when its inputs are whole, it fetches them block by block (the next one
 * while it works on this one), and puts what it makes under a new key. Warm processes, connections that stay.
 */
import { inputStream } from '../../runtime/contracts/block.js';
import type { BlockCodec } from '../codecs/codec.js';
import { groupOf, groupsOf, nameOf, type TransportJob, type TransportWork } from './transport.js';

/** Values by key, each written once. */
export interface BlockStore {
  /** The value in pieces, as they come from a codec. */
  put(key: string, pieces: readonly Uint8Array[]): Promise<void>;
  /** In a buffer that is the caller's, aligned to 8. Throws when there is none. */
  get(key: string): Promise<Buffer>;
  remove(keys: readonly string[]): Promise<void>;
  close(): void | Promise<void>;
}

/** Blocks that are on their way to the store, or fetched ahead, at once. */
const aheadMax = 2;

export const keyOf = (job: string, edge: { from: string; to: string }, block: number): string =>
  `${job}/${nameOf(edge)}/${block}`;

export class StoreStage<B, J extends TransportJob, D extends object> {
  readonly #codecs = new Map<string, BlockCodec<B>>();

  /** `workOf`: of a job that begins. Where it is the same for all of them, they have to come one at a time. */
  constructor(
    private readonly workOf: () => TransportWork<B, J, D>,
    private readonly store: BlockStore,
  ) {
    const work = workOf();
    for (const edge of [...work.inputs, ...work.outputs]) this.#codecs.set(nameOf(edge), work.codecOf(edge));
  }

  /** `blocks`: how many each of its inputs has. `blocks` of the answer: how many it put. */
  async run(job: J, blocks: Readonly<Record<string, number>>): Promise<D & { blocks: number }> {
    const work = this.workOf();
    work.begin(job);
    let made = 0;
    const sends: Promise<void>[] = [];
    const put = async (block: B): Promise<void> => {
      if (work.outputs.length === 0) return;
      const sent = this.#put(job, work, block, made++);
      sent.catch(() => undefined);
      sends.push(sent);
      if (sends.length >= aheadMax) await sends.shift();
    };
    if (work.stage === inputStream) {
      for await (const block of work.source(job.source)) await put(block);
    } else {
      const total = Math.max(...work.inputs.map(({ from }) => blocks[from] ?? 0));
      for await (const block of this.#fetched(job, work, total)) {
        const taken = await work.take(block);
        if (taken !== undefined) await put(taken);
      }
      const last = await work.finish(job);
      if (last !== undefined) await put(last);
    }
    await Promise.all(sends);
    return { ...work.done(), blocks: made };
  }

  remove(keys: readonly string[]): Promise<void> {
    return this.store.remove(keys);
  }

  async *#fetched(job: J, work: TransportWork<B, J, D>, total: number): AsyncGenerator<B> {
    const coming: Promise<B[]>[] = [];
    for (let block = 0, asked = 0; block < total; block++) {
      for (; asked < Math.min(block + aheadMax, total); asked++) {
        const fetch = this.#fetch(job, work, asked);
        fetch.catch(() => undefined);
        coming.push(fetch);
      }
      yield* await coming.shift()!;
    }
  }

  /** What one value holds; a codec may have cut it into several. */
  async #fetch(job: J, work: TransportWork<B, J, D>, block: number): Promise<B[]> {
    const values = await Promise.all(
      work.inputs.map((edge) => this.store.get(keyOf(job.id, { from: edge.from, to: groupOf(edge) }, block))),
    );
    const parts = values.map((value, index) => {
      work.received(value.length);
      const decoder = this.#codecs.get(nameOf(work.inputs[index]!))!.decoder();
      return [...decoder.push(value), ...decoder.end()];
    });
    if (parts.length === 1) return parts[0]!;
    if (parts.some(({ length }) => length !== 1)) throw new Error('a value of one of several inputs is not one block');
    return [work.zip(parts.flat())];
  }

  /** Functions behind it that read the same columns read the same value. */
  async #put(job: J, work: TransportWork<B, J, D>, made: B, block: number): Promise<void> {
    for (const [to, edges] of groupsOf(work.outputs)) {
      const pieces = [...this.#codecs.get(nameOf(edges[0]!))!.encode(made)];
      work.sent(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
      await this.store.put(keyOf(job.id, { from: work.stage, to }, block), pieces);
    }
  }
}
