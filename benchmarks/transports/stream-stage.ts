/**
 * A stage behind streams of bytes: one stream per edge and job. It begins with the first bytes that reach it and hands on while it still
 * receives, so that all stages work at once; it answers when everything behind it is done.
 *
 * HTTP, gRPC and pipes differ in how such a stream is opened and accepted, and in nothing else.
 */
import { inputStream } from '../../runtime/contracts/block.js';
import type { BlockCodec, BlockDecoder } from '../codecs/codec.js';
import { groupsOf, nameOf, type Link, type TransportJob, type TransportWork } from './transport.js';

/** What a socket takes before it asks to wait. */
export const bufferedBytesMax = 1024 * 1024;

/** A stream that came in. */
export interface Arrival {
  /** The job as JSON, without its source. */
  job: string;
  from: string;
  body: AsyncIterable<Buffer>;
  /** Tells the sender that all is done, or that it failed. */
  answer(isDone: boolean): void;
}

/** A stream that goes out. */
export interface Outlet {
  /** False: wait for `drained` before the next. */
  write(piece: Uint8Array): boolean;
  drained(): Promise<unknown>;
  /** Resolves when the other side answered that all is done. */
  end(): Promise<void>;
}

export interface StreamTransport {
  /** Where it can be reached. */
  listen(onArrival: (arrival: Arrival) => void): Promise<number>;
  open(port: number, job: string, from: string): Outlet;
  close(): void;
}

export class StreamStage<B, J extends TransportJob, D> {
  readonly #arrivals = new Map<string, Map<string, Arrival>>();
  readonly #codecs = new Map<string, BlockCodec<B>>();
  readonly #inputs: number;
  #ports: Record<string, number> = {};

  /** `workOf`: of a job that begins. Where it is the same for all of them, they have to come one at a time. */
  constructor(
    private readonly workOf: () => TransportWork<B, J, D>,
    private readonly transport: StreamTransport,
    private readonly onDone: (done: D) => void,
    private readonly onFailed: (thrown: unknown) => void,
  ) {
    const work = workOf();
    for (const edge of [...work.inputs, ...work.outputs]) this.#codecs.set(nameOf(edge), work.codecOf(edge));
    this.#inputs = work.inputs.length;
  }

  listen(): Promise<number> {
    return this.transport.listen((arrival) => this.#arrive(arrival));
  }

  connect(ports: Record<string, number>): void {
    this.#ports = ports;
  }

  /** The process that reads the source begins with this; all others with a stream. */
  async start(job: J): Promise<void> {
    const work = this.workOf();
    work.begin(job);
    await this.#handOn(job, work, work.source(job.source), (block) => block);
  }

  #arrive(arrival: Arrival): void {
    const job = JSON.parse(arrival.job) as J;
    let arrivals = this.#arrivals.get(job.id);
    if (arrivals === undefined) this.#arrivals.set(job.id, (arrivals = new Map<string, Arrival>()));
    arrivals.set(arrival.from, arrival);
    if (arrivals.size < this.#inputs) return;
    this.#arrivals.delete(job.id);
    const complete = arrivals;
    this.#serve(job, complete).catch((thrown: unknown) => {
      for (const waiting of complete.values()) waiting.answer(false);
      this.onFailed(thrown);
    });
  }

  async #serve(job: J, arrivals: ReadonlyMap<string, Arrival>): Promise<void> {
    const work = this.workOf();
    work.begin(job);
    const streams = work.inputs.map((edge) =>
      this.#blocks(work, arrivals.get(edge.from)!.body, this.#codecs.get(nameOf(edge))!.decoder()),
    );
    const [only] = streams;
    const blocks = only !== undefined && streams.length === 1 ? only : zipped(streams, (parts) => work.zip(parts));
    await this.#handOn(job, work, blocks, (block) => work.take(block));
    for (const arrival of arrivals.values()) arrival.answer(true);
  }

  async *#blocks(work: TransportWork<B, J, D>, body: AsyncIterable<Buffer>, decoder: BlockDecoder<B>): AsyncGenerator<B> {
    for await (const piece of body) {
      work.received(piece.length);
      // Not `yield*`, which would wrap each block of a synchronous list in promises of its own.
      for (const block of decoder.push(piece)) yield block;
    }
    for (const block of decoder.end()) yield block;
  }

  async #handOn(
    job: J,
    work: TransportWork<B, J, D>,
    blocks: AsyncIterable<B>,
    take: (block: B) => B | undefined | Promise<B | undefined>,
  ): Promise<void> {
    const text = JSON.stringify({ ...job, source: undefined });
    const outlets = new Outlets(work.outputs, (edge) => this.transport.open(this.#ports[edge.to] ?? 0, text, edge.from));
    const groups = [...groupsOf(work.outputs).values()].map((edges) => ({
      edges,
      codec: this.#codecs.get(nameOf(edges[0]!))!,
    }));
    const send = (block: B): Promise<void> => this.#send(work, outlets, groups, block);
    for await (const block of blocks) {
      const answer = take(block);
      const taken = answer instanceof Promise ? await answer : answer;
      if (taken !== undefined) await send(taken);
    }
    const last = work.stage === inputStream ? undefined : await work.finish(job);
    if (last !== undefined) await send(last);
    await outlets.end();
    this.onDone(work.done());
  }

  /** Edges that take the same columns share one encoding. A piece goes to all before the next: none of two branches can starve. */
  async #send(
    work: TransportWork<B, J, D>,
    outlets: Outlets,
    groups: readonly { edges: readonly Link[]; codec: BlockCodec<B> }[],
    block: B,
  ): Promise<void> {
    const write = (edges: readonly Link[], piece: Uint8Array): void => {
      for (const edge of edges) {
        work.sent(piece.byteLength);
        outlets.write(edge, piece);
      }
    };
    const [only] = groups;
    if (only !== undefined && groups.length === 1) {
      for (const piece of only.codec.encode(block)) {
        write(only.edges, piece);
        if (outlets.isFull) await outlets.drained();
      }
      return;
    }
    let open = groups.map(({ edges, codec }) => ({
      edges,
      pieces: codec.encode(block)[Symbol.iterator]() as Iterator<Uint8Array, undefined>,
    }));
    while (open.length > 0) {
      open = open.filter(({ edges, pieces }) => {
        const next = pieces.next();
        if (next.done !== true) write(edges, next.value);
        return next.done !== true;
      });
      await outlets.drained();
    }
  }
}

/** The streams of one job to the stages behind. */
class Outlets {
  readonly #outlets: Map<Link, Outlet>;
  #full: Promise<unknown>[] = [];

  constructor(edges: readonly Link[], open: (edge: Link) => Outlet) {
    this.#outlets = new Map(edges.map((edge) => [edge, open(edge)]));
  }

  get isFull(): boolean {
    return this.#full.length > 0;
  }

  write(edge: Link, piece: Uint8Array): void {
    const outlet = this.#outlets.get(edge)!;
    if (!outlet.write(piece)) this.#full.push(outlet.drained());
  }

  async drained(): Promise<void> {
    if (this.#full.length > 0) await Promise.all(this.#full.splice(0));
  }

  async end(): Promise<void> {
    await this.drained();
    await Promise.all([...this.#outlets.values()].map((outlet) => outlet.end()));
  }
}

/** Block by block; all streams have as many. */
async function* zipped<B>(streams: readonly AsyncGenerator<B>[], zip: (blocks: readonly B[]) => B): AsyncGenerator<B> {
  for (;;) {
    const next = await Promise.all(streams.map((stream) => stream.next()));
    const blocks = next.flatMap((result) => (result.done === true ? [] : [result.value]));
    if (blocks.length === 0) return;
    if (blocks.length < streams.length) throw new Error('one branch ended before the other');
    yield zip(blocks);
  }
}
