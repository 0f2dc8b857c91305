/** Makes the sources of shards: the same bytes for the same seed, written once for a run of the benchmark. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { ArrowTable } from '../../runtime/results/arrow.js';
import { FileSink } from '../../runtime/results/sink.js';
import type { ColumnData } from '../../runtime/scratch/types.js';
import { randomOf } from '../statistics.js';
import { numberNames, type Order } from './stages.js';

const pieceBytes = 4 * 1024 * 1024;

/** Bytes that do not repeat within a piece; from one piece to the next, four bytes differ, so that no two pieces are equal. Each is valid until the next. */
export function* randomBytes(bytes: number, seed: number): Generator<Uint8Array> {
  const words = new Uint32Array(Math.min(pieceBytes, Math.ceil(bytes / 4) * 4) / 4);
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  const piece = new Uint8Array(words.buffer);
  for (let done = 0, index = 0; done < bytes; done += piece.length, index++) {
    words[index % words.length] = (words[index % words.length]! + index * 2654435761) >>> 0;
    yield piece.subarray(0, Math.min(piece.length, bytes - done));
  }
}

export function writeBytes(path: string, bytes: number, seed: number): void {
  const file = openSync(path, 'wx');
  try {
    for (const piece of randomBytes(bytes, seed)) for (let done = 0; done < piece.length;) done += writeSync(file, piece, done);
  } finally {
    closeSync(file);
  }
}

/** An Arrow IPC file of `numberNames`: `id` counts, the others are quarters below 1,000. */
export async function writeNumbers(path: string, rows: number, seed: number, blockRows: number): Promise<void> {
  const random = randomOf(seed);
  const schema = numberNames.map((name) => ({
    name,
    type: name === 'id' ? ('int32' as const) : ('float64' as const),
    nullable: false,
  }));
  const sink = new FileSink(path, 'numbers');
  const table = new ArrowTable(sink, schema, new Map());
  for (let from = 0; from < rows; from += blockRows) {
    const count = Math.min(blockRows, rows - from);
    const columns = schema.map(({ name, type }): [string, ColumnData] => {
      const values =
        name === 'id'
          ? Int32Array.from({ length: count }, (_, row) => from + row)
          : Float64Array.from({ length: count }, () => Math.floor(random() * 4000) / 4);
      return [name, { type, rows: count, nullCount: 0, values }];
    });
    await table.append(count, new Map(columns));
  }
  await table.finish();
  sink.finish(rows);
}

const countries = ['DE', 'FR', 'NO', 'PL', 'PT', 'SE', 'BR', 'IN', 'JP', 'US'];
const discounts = [0, 0, 0, 0.125, 0.25, 0.5];

/** Every tenth order or so is not paid. */
export function orderOf(id: number, random: () => number): Order {
  return {
    id,
    at: 1_700_000_000 + id * 7,
    customer: `customer-${Math.floor(random() * 50_000)}`,
    country: countries[Math.floor(random() * countries.length)]!,
    price: Math.floor(random() * 3200) / 4,
    quantity: 1 + Math.floor(random() * 12),
    discount: discounts[Math.floor(random() * discounts.length)]!,
    paid: random() < 0.9,
  };
}

export function writeOrders(path: string, rows: number, seed: number): void {
  const random = randomOf(seed);
  const sink = new FileSink(path, 'orders');
  let text = '';
  for (let id = 0; id < rows; id++) {
    text += `${JSON.stringify(orderOf(id, random))}\n`;
    if (text.length < 256 * 1024 && id + 1 < rows) continue;
    sink.write(text);
    text = '';
  }
  sink.finish();
}
