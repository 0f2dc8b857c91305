/**
 * What must come out, computed from the source by other means than the stages: all stages in one step, whole file at a time.
 *
 * The reference of a work is the hash of the folder that its result would be in (`checker.ts`). Of the flights there is none: their
 * reference is what one process with all stages makes of them.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { resultHash } from '../runtime/results/result-manifest.js';
import { readArrowBlocks } from '../runtime/scratch/arrow/file-reader.js';
import type { BytesWork, Job, Work } from './work/work.js';

const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');
const folderOf = (name: string, content: string): string =>
  resultHash([{ name, bytes: Buffer.byteLength(content), sha256: sha256(content) }]);

/** The hash that every runner must arrive at; undefined where only another runner can tell. */
export async function expectedHash(work: Work, source: Job['source']): Promise<string | undefined> {
  switch (work.kind) {
    case 'bytes':
      return folderOf('digest.txt', await expectedBytes(work, source));
    case 'numbers':
      return folderOf('digest.txt', await expectedNumbers(fileOf(source)));
    case 'orders':
      return expectedOrders(fileOf(source));
    case 'flights':
      return undefined;
  }
}

function fileOf(source: Job['source']): string {
  if (!('uri' in source)) throw new Error('the source is not a file');
  return source.uri;
}

/** Keys of all stages are one key; eight bytes at a time. */
async function expectedBytes({ stage, stages }: BytesWork, source: Job['source']): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  let key = 0;
  if (stage === 'xor') for (let i = 0; i < stages; i++) key ^= (0x5a + 29 * i) % 256;
  const key8 = BigInt(`0x${key.toString(16).padStart(2, '0').repeat(8)}`);
  const pieces: AsyncIterable<Buffer> | Buffer[] =
    'uri' in source
      ? createReadStream(source.uri, { highWaterMark: 1024 * 1024 })
      : [Buffer.from((source.inline as { base64: string }).base64, 'base64')];
  for await (const piece of pieces) {
    bytes += piece.length;
    if (key === 0) {
      hash.update(piece);
      continue;
    }
    const padded = new Uint8Array(Math.ceil(piece.length / 8) * 8);
    padded.set(piece);
    const words = new BigUint64Array(padded.buffer);
    for (let at = 0; at < words.length; at++) words[at] = words[at]! ^ key8;
    hash.update(padded.subarray(0, piece.length));
  }
  return `${hash.digest('hex')}  ${bytes}\n`;
}

/** x after five stages is x/32 + a/16 + b/8 + c/4 + d/2 + e, which is exact. */
async function expectedNumbers(file: string): Promise<string> {
  const names = ['id', 'a', 'b', 'c', 'd', 'e', 'f', 'x'];
  const hashes = new Map(names.map((name) => [name, createHash('sha256')]));
  const blocks = readArrowBlocks(file);
  let rows = 0;
  try {
    for (const { rows: blockRows, columns } of blocks) {
      const of = (name: string): Float64Array => columns.get(name)!.values as Float64Array;
      const [a, b, c, d, e, before] = [of('a'), of('b'), of('c'), of('d'), of('e'), of('x')];
      const after = Float64Array.from(
        { length: blockRows },
        (_, row) => before[row]! / 32 + a[row]! / 16 + b[row]! / 8 + c[row]! / 4 + d[row]! / 2 + e[row]!,
      );
      for (const [name, hash] of hashes) {
        const values = name === 'x' ? after : of(name);
        hash.update(new Uint8Array(values.buffer, values.byteOffset, blockRows * values.BYTES_PER_ELEMENT));
      }
      rows += blockRows;
    }
  } finally {
    blocks.close();
  }
  return [...hashes].map(([name, hash]) => `${hash.digest('hex')}  ${name}  ${rows}\n`).join('');
}

async function expectedOrders(file: string): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    const order = JSON.parse(line) as Record<string, unknown> & Record<'price' | 'quantity' | 'discount', number>;
    if (order['paid'] !== true) continue;
    const total = order.price * order.quantity;
    const net = total - total * order.discount;
    const band = net >= 1000 ? 'large' : net >= 100 ? 'medium' : 'small';
    const text = `${JSON.stringify({ ...order, total, net, band, label: `${String(order['country'])}-${band}` })}\n`;
    bytes += Buffer.byteLength(text);
    hash.update(text);
  }
  return resultHash([{ name: 'orders.ndjson', bytes, sha256: hash.digest('hex') }]);
}
