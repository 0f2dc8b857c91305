/**
 * Service to service over HTTP on loopback: one request per edge and job, its body a stream of blocks, on connections that are
 * kept alive. A service begins with the first bytes that reach it and hands on while it still receives, so that all services work
 * at once; it answers when everything behind it is done.
 */
import { once } from 'node:events';
import {
  Agent,
  createServer,
  request,
  type ClientRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { inputStream } from '../../runtime/contracts/block.js';
import type { Codec, Decoder } from '../codecs/codec.js';
import type { StageDone } from '../stage-protocol.js';
import type { StageWork } from '../stage-work.js';
import { zipTables, type Table } from '../table.js';
import { groupsOf, type Edge, type Job } from '../workload.js';

/** What a socket takes before it asks to wait. */
const bufferedBytesMax = 1024 * 1024;

interface Arrival {
  body: IncomingMessage;
  answer: ServerResponse;
}

export class HttpStage {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });
  readonly #server: Server;
  readonly #arrivals = new Map<string, Map<string, Arrival>>();
  readonly #codecs = new Map<Edge, Codec>();
  #ports: Record<string, number> = {};

  constructor(
    private readonly work: StageWork,
    private readonly onDone: (done: StageDone) => void,
    private readonly onFailed: (thrown: unknown) => void,
  ) {
    for (const edge of [...work.inputs, ...work.outputs]) this.#codecs.set(edge, work.codecOf(edge));
    this.#server = createServer({ highWaterMark: bufferedBytesMax, requestTimeout: 0, keepAliveTimeout: 0 }, (body, answer) => {
      this.#arrive(body, answer);
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  connect(ports: Record<string, number>): void {
    this.#ports = ports;
  }

  /** The process that reads the source begins with this; all others with a request. */
  async start(job: Job): Promise<void> {
    this.work.begin(job);
    await this.#handOn(job, this.work.source(job.source), (table) => Promise.resolve(table));
  }

  #arrive(body: IncomingMessage, answer: ServerResponse): void {
    const job = JSON.parse(decodeURIComponent(String(body.headers['x-job']))) as Job;
    const from = String(body.headers['x-from']);
    let arrivals = this.#arrivals.get(job.id);
    if (arrivals === undefined) this.#arrivals.set(job.id, (arrivals = new Map<string, Arrival>()));
    arrivals.set(from, { body, answer });
    if (arrivals.size < this.work.inputs.length) return;
    this.#arrivals.delete(job.id);
    const complete = arrivals;
    this.#serve(job, complete).catch((thrown: unknown) => {
      for (const arrival of complete.values()) arrival.answer.writeHead(500).end();
      this.onFailed(thrown);
    });
  }

  async #serve(job: Job, arrivals: ReadonlyMap<string, Arrival>): Promise<void> {
    this.work.begin(job);
    const streams = this.work.inputs.map((edge) =>
      this.#tables(arrivals.get(edge.from)!.body, this.#codecs.get(edge)!.decoder()),
    );
    await this.#handOn(job, zipped(streams), (table) => this.work.take(table));
    for (const arrival of arrivals.values()) arrival.answer.writeHead(200).end();
  }

  async *#tables(body: IncomingMessage, decoder: Decoder): AsyncGenerator<Table> {
    for await (const piece of body as AsyncIterable<Buffer>) {
      this.work.received(piece.length);
      yield* decoder.push(piece);
    }
    yield* decoder.end();
  }

  async #handOn(job: Job, tables: AsyncIterable<Table>, take: (table: Table) => Promise<Table | undefined>): Promise<void> {
    const out = new Outlets(this.work.outputs, (edge) => this.#open(job, edge));
    for await (const table of tables) {
      const taken = await take(table);
      if (taken !== undefined) await this.#send(out, taken);
    }
    const last = this.work.stage === inputStream ? undefined : await this.work.finish(job);
    if (last !== undefined) await this.#send(out, last);
    await out.end();
    this.onDone(this.work.done());
  }

  /** Edges that take the same columns share one encoding. A piece goes to all before the next: none of two branches can starve. */
  async #send(out: Outlets, table: Table): Promise<void> {
    const encodings = [...groupsOf(this.work.outputs).values()].map((edges) => ({
      edges,
      pieces: this.#codecs.get(edges[0]!)!.encode(table)[Symbol.iterator]() as Iterator<Uint8Array, undefined>,
    }));
    for (let open = encodings; open.length > 0;) {
      open = open.filter(({ edges, pieces }) => {
        const next = pieces.next();
        if (next.done === true) return false;
        for (const edge of edges) {
          this.work.sent(next.value.byteLength);
          out.write(edge, next.value);
        }
        return true;
      });
      await out.drained();
    }
  }

  #open(job: Job, edge: Edge): ClientRequest {
    return request({
      host: '127.0.0.1',
      port: this.#ports[edge.to],
      method: 'POST',
      agent: this.#agent,
      headers: { 'x-job': encodeURIComponent(JSON.stringify({ ...job, source: undefined })), 'x-from': edge.from },
    });
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** The requests to the services behind, of one job. */
class Outlets {
  readonly #requests: Map<Edge, ClientRequest>;
  readonly #answers: Promise<void>[];
  #full: Promise<unknown>[] = [];

  constructor(edges: readonly Edge[], open: (edge: Edge) => ClientRequest) {
    this.#requests = new Map(edges.map((edge) => [edge, open(edge)]));
    this.#answers = [...this.#requests.values()].map(async (sent) => {
      const [answer] = (await once(sent, 'response')) as [IncomingMessage];
      answer.resume();
      await once(answer, 'end');
      if (answer.statusCode !== 200) throw new Error(`a service answered ${String(answer.statusCode)}`);
    });
    for (const answer of this.#answers) answer.catch(() => undefined);
  }

  write(edge: Edge, piece: Uint8Array): void {
    const sent = this.#requests.get(edge)!;
    if (!sent.write(piece)) this.#full.push(once(sent, 'drain'));
  }

  async drained(): Promise<void> {
    const full = this.#full;
    this.#full = [];
    if (full.length > 0) await Promise.all(full);
  }

  async end(): Promise<void> {
    await this.drained();
    for (const sent of this.#requests.values()) sent.end();
    await Promise.all(this.#answers);
  }
}

/** Block by block; all streams have as many. */
async function* zipped(streams: readonly AsyncGenerator<Table>[]): AsyncGenerator<Table> {
  const [only] = streams;
  if (only !== undefined && streams.length === 1) {
    yield* only;
    return;
  }
  for (;;) {
    const next = await Promise.all(streams.map((stream) => stream.next()));
    const tables = next.flatMap((result) => (result.done === true ? [] : [result.value]));
    if (tables.length === 0) return;
    if (tables.length < streams.length) throw new Error('one branch ended before the other');
    yield zipTables(tables);
  }
}
