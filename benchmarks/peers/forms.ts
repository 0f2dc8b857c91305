/**
 * What the processes of a chain hand to each other, for a kind of work and a way to carry it: how the source lies in memory before the
 * span begins, what goes over the first edge and over the others, what a stage does to it, and what becomes of the last stage's output.
 */
import { bytesAsTheyCome } from '../codecs/bytes.js';
import type { BlockCodec } from '../codecs/codec.js';
import { columnsCodec } from '../codecs/columns.js';
import { ndjsonLines, packedRecords, type Plain } from '../codecs/objects.js';
import { protoChunks, protoOrders } from '../codecs/proto.js';
import { BytesDigest, digestFile, NumbersDigest, ordersFile, writeResult } from '../work/result.js';
import { piecesOf, readNumbers, readWhole, recordsOf, type NumberColumns } from '../work/source.js';
import {
  addedBy,
  numberNames,
  stepNumber,
  stepNumbers,
  stepOrder,
  xor,
  xorKeyOf,
  type NumberRecord,
  type Order,
} from '../work/stages.js';
import type { BytesWork, Job, NumbersWork, Work } from '../work/work.js';

/** How records travel; bytes travel as they are, or in protobuf chunks. */
export type Carrying = 'ndjson' | 'msgpackr' | 'columns' | 'protobuf';

export interface First<S, B> {
  readonly name: string;
  encode(block: S): Iterable<Uint8Array>;
  decoder: BlockCodec<B>['decoder'];
}

/** S: what the source sends; B: what stages work on. */
export interface Form<S = unknown, B = unknown> {
  load(job: Job): Promise<Iterable<S>>;
  /** From the source: encodes what it has, decodes to what a stage works on. */
  first: First<S, B>;
  /** Between stages. */
  codec: BlockCodec<B>;
  /** As the first stage sees it where nothing lies between it and the source. */
  open(block: S): B;
  /** Undefined: nothing is left of it. May change the block, which is the stage's own. */
  step(block: B, stage: number): B | undefined;
  /** `gather` keeps what the last stage gives, as it has to be; `write` takes it, after the span. */
  output(): { gather(block: B): void; write(dir: string): void };
}

/** What one value of a store, or one piece of a stream of text, holds at least. */
const textBytes = 1024 * 1024;

export function formOf(work: Work, carrying: Carrying): Form {
  switch (work.kind) {
    case 'bytes':
      return bytesForm(work, carrying === 'protobuf' ? protoChunks : bytesAsTheyCome);
    case 'numbers':
      return carrying === 'columns' || carrying === 'protobuf' ? columnsForm(work, carrying) : recordsForm(work, carrying);
    case 'orders':
      return ordersForm(carrying);
    case 'flights':
      throw new Error('the flights are not a chain');
  }
}

function bytesForm({ blockBytes, stage: what }: BytesWork, codec: BlockCodec<Uint8Array>): Form<Uint8Array, Uint8Array> {
  return {
    load: async (job) => piecesOf(await readWhole(job), blockBytes),
    first: codec,
    codec,
    open: (piece) => piece,
    step(piece, stage) {
      if (what === 'xor') xor(piece, piece, xorKeyOf(stage));
      return piece;
    },
    output() {
      let held: Uint8Array[] = [];
      return {
        gather: (piece) => held.push(piece),
        write(dir) {
          const digest = new BytesDigest();
          for (const piece of held) digest.add(piece);
          held = [];
          writeResult(dir, digestFile, [digest.text()]);
        },
      };
    },
  };
}

function columnsForm({ blockRows }: NumbersWork, carrying: 'columns' | 'protobuf'): Form<NumberColumns, NumberColumns> {
  const types = new Map(numberNames.map((name) => [name, name === 'id' ? ('int32' as const) : ('float64' as const)] as const));
  const tables = columnsCodec([...types].map(([name, type]) => ({ name, type, nullable: false })));
  const columns: BlockCodec<NumberColumns> = {
    name: tables.name,
    encode: ({ rows, columns }) =>
      tables.encode({
        rows,
        columns: new Map([...types].map(([name, type]) => [name, { type, rows, nullCount: 0, values: columns[name]! }])),
      }),
    decoder() {
      const decoder = tables.decoder();
      return {
        *push(piece) {
          for (const { rows, columns } of decoder.push(piece)) {
            const named = [...columns].map(([name, { values }]) => [name, values as Float64Array] as const);
            yield { rows, columns: Object.fromEntries(named) };
          }
        },
        *end() {
          for (const left of decoder.end()) throw new Error(`${left.rows} rows are left`);
        },
      };
    },
  };
  const codec = carrying === 'protobuf' ? inChunks(columns) : columns;
  return {
    load: (job) => readNumbers(job, blockRows),
    first: codec,
    codec,
    open: (block) => block,
    step(block, stage) {
      const { x, [addedBy[stage]!]: added } = block.columns as Record<string, Float64Array>;
      stepNumbers(x!, added!, x!);
      return block;
    },
    output: () => digestOf<NumberColumns>((digest, block) => digest.add(block)),
  };
}

function recordsForm({ blockRows }: NumbersWork, carrying: 'ndjson' | 'msgpackr'): Form<NumberRecord[], NumberRecord[]> {
  const codec = recordCodec<NumberRecord>(carrying === 'ndjson' ? ndjsonLines : packedRecords(false));
  return {
    load: async (job) => (await readNumbers(job, blockRows)).map(recordsOf),
    first: codec,
    codec,
    open: (block) => block,
    step(records, stage) {
      for (const record of records) stepNumber(record, stage);
      return records;
    },
    output: () => digestOf<NumberRecord[]>((digest, records) => digest.addRecords(records)),
  };
}

/** Text is sent to the first stage as it lies in the file; the last stage makes text again. */
function ordersForm(carrying: Carrying): Form<Uint8Array, Order[]> {
  const lines = recordCodec<Order>(ndjsonLines);
  const text = { name: 'text', encode: (piece: Uint8Array) => [piece], decoder: () => lines.decoder() };
  const isProto = carrying === 'protobuf';
  return {
    load: async (job) => linesOf(await readWhole(job)),
    first: isProto ? inChunks(text) : text,
    codec: isProto ? protoOrders : carrying === 'ndjson' ? lines : recordCodec<Order>(packedRecords(true)),
    open: (text) => [...lines.decoder().push(bufferOf(text))].flat(),
    step(orders, stage) {
      const kept = stage === 1 ? orders.filter((order) => stepOrder(order, stage)) : orders;
      if (kept === orders) for (const order of orders) stepOrder(order, stage);
      return kept.length === 0 ? undefined : kept;
    },
    output() {
      let texts: Uint8Array[] = [];
      return {
        gather: (orders) => texts.push(...lines.encode(orders)),
        write(dir) {
          writeResult(dir, ordersFile, texts);
          texts = [];
        },
      };
    },
  };
}

const recordCodec = <R>(codec: BlockCodec<Plain[]>): BlockCodec<R[]> => codec as unknown as BlockCodec<R[]>;

function digestOf<B>(add: (digest: NumbersDigest, block: B) => void): ReturnType<Form<B, B>['output']> {
  let held: B[] = [];
  return {
    gather: (block) => held.push(block),
    write(dir) {
      const digest = new NumbersDigest();
      for (const block of held) add(digest, block);
      held = [];
      writeResult(dir, digestFile, [digest.text()]);
    },
  };
}

const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, byteLength);

/** Pieces that end with a line. */
function* linesOf(content: Uint8Array): Generator<Buffer> {
  const text = bufferOf(content);
  for (let at = 0; at < text.length;) {
    const end = at + textBytes >= text.length ? text.length : text.indexOf(10, at + textBytes) + 1 || text.length;
    yield text.subarray(at, end);
    at = end;
  }
}

/** What a codec makes, in protobuf messages of a few hundred KiB. */
function inChunks<S, B>(codec: First<S, B>): First<S, B> & { name: string } {
  return {
    name: `${codec.name} in protobuf chunks`,
    *encode(block) {
      for (const piece of codec.encode(block)) yield* protoChunks.encode(piece);
    },
    decoder() {
      const chunks = protoChunks.decoder();
      const blocks = codec.decoder();
      return {
        *push(piece) {
          for (const part of chunks.push(piece)) yield* blocks.push(bufferOf(part));
        },
        end: () => blocks.end(),
      };
    },
  };
}
