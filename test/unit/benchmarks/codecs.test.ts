import { describe, expect, it } from 'vitest';
import type { Codec } from '../../../benchmarks/codecs/codec.js';
import { columnsCodec } from '../../../benchmarks/codecs/columns.js';
import { ndjsonLines, packedRecords, type Plain } from '../../../benchmarks/codecs/objects.js';
import { protoChunks, protoOrders } from '../../../benchmarks/codecs/proto.js';
import type { BlockCodec } from '../../../benchmarks/codecs/codec.js';
import { ndjsonCodec } from '../../../benchmarks/codecs/ndjson.js';
import { recordsCodec } from '../../../benchmarks/codecs/records.js';
import { batchOf, type Table } from '../../../benchmarks/table.js';
import { ReplyReader } from '../../../benchmarks/transports/redis-client.js';
import type { ColumnSchema } from '../../../runtime/contracts/block.js';
import { column } from '../../../runtime/stages/builders.js';
import { rowsOf } from '../../../runtime/stages/stream-input.js';

const schema: ColumnSchema[] = [
  { name: 'when', type: 'timestamp[ms]', nullable: false },
  { name: 'delay', type: 'int16', nullable: true },
  { name: 'origin', type: 'dictionary', nullable: false },
  { name: 'name', type: 'utf8', nullable: true },
  { name: 'latitude', type: 'float32', nullable: false },
];

function tableOf(rows: number): Table {
  const at = <T>(make: (row: number) => T): T[] => Array.from({ length: rows }, (_, row) => make(row));
  const columns = {
    when: column.timestampMs.fromMs(at((row) => 978_307_200_000 + row * 61_000)),
    delay: column.int16.from(at((row) => (row % 7 === 3 ? null : row - 50))),
    origin: column.dictionary.from(at((row) => ['JFK', 'SFO', 'a "b"\n'][row % 3] ?? '')),
    name: column.utf8.from(at((row) => (row % 5 === 0 ? null : `Zürich ${String(row)}`))),
    latitude: column.float32.from(at((row) => (row % 11 === 0 ? Number.NaN : row / 4))),
  };
  return { rows, columns: new Map(schema.map(({ name }) => [name, columns[name as keyof typeof columns].toData()])) };
}

const records: Plain[] = Array.from({ length: 5000 }, (_, id) => ({
  id,
  customer: `Zürich "${String(id)}"\n`,
  price: id / 3,
  paid: id % 2 === 0,
}));

/** Sends records in pieces of the given size. */
function sent(codec: BlockCodec<Plain[]>, pieceBytes: number): Plain[] {
  const bytes = Buffer.concat([...codec.encode(records)]);
  const decoder = codec.decoder();
  const out: Plain[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes)
    for (const block of decoder.push(Buffer.from(bytes.subarray(at, at + pieceBytes)))) out.push(...block);
  for (const block of decoder.end()) out.push(...block);
  return out;
}

describe.each([
  ['lines of records', ndjsonLines],
  ['packed records', packedRecords(false)],
  ['packed records with bundled strings', packedRecords(true)],
])('%s', (_, codec) => {
  it.each([7, 4096, 10_000_000])('bring every record over, in pieces of %i bytes', (pieceBytes) => {
    expect(sent(codec, pieceBytes)).toEqual(records);
  });

  it('refuse a stream that was cut off', () => {
    const decoder = codec.decoder();
    const bytes = Buffer.concat([...codec.encode(records)]);
    expect(() => [...decoder.push(bytes.subarray(0, bytes.length - 3)), ...decoder.end()]).toThrow('the stream ended within');
  });
});

describe('protobuf messages', () => {
  it('hold bytes in chunks', () => {
    const bytes = Buffer.alloc(600_000, 'chunk');
    const decoder = protoChunks.decoder();
    const messages = [...protoChunks.encode(bytes)];
    expect(messages.length).toBeGreaterThan(1);
    expect(Buffer.concat(messages.flatMap((message) => [...decoder.push(message as Buffer)])).equals(bytes)).toBe(true);
  });

  it('hold orders, false and zero and what is not there yet told apart', () => {
    const order = { id: 0, at: 1.5, customer: '', country: 'CH', price: 0.1, quantity: 0, discount: 0, paid: false };
    const [message] = protoOrders.encode([order, { ...order, total: 0, band: 'small' }]);
    const [orders] = protoOrders.decoder().push(message as Buffer);
    expect(orders).toEqual([order, { ...order, total: 0, band: 'small' }]);
    expect(Object.keys(orders![0]!)).toEqual(Object.keys(order));
  });
});

const readable = (tables: readonly Table[]): unknown[] => tables.flatMap((table) => rowsOf(batchOf(table, 0)));

/** Sends a table in pieces of the given size, as a socket might cut it. */
function through(codec: Codec, tables: readonly Table[], pieceBytes: number): Table[] {
  const bytes = Buffer.concat(tables.flatMap((table) => [...codec.encode(table)]));
  const decoder = codec.decoder();
  const out: Table[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes)
    out.push(...decoder.push(Buffer.from(bytes.subarray(at, at + pieceBytes))));
  out.push(...decoder.end());
  return out;
}

describe.each([
  ['NDJSON', ndjsonCodec(schema, 100)],
  ['msgpackr records', recordsCodec(schema, 100)],
  ['msgpackr columns', columnsCodec(schema)],
])('%s', (_, codec) => {
  it.each([1, 7, 1000, 1_000_000])('brings every value over, in pieces of %i bytes', (pieceBytes) => {
    const tables = [tableOf(100), tableOf(37)];
    expect(readable(through(codec, tables, pieceBytes))).toEqual(readable(tables));
  });

  it('refuses a stream that was cut off', () => {
    const bytes = Buffer.concat([...codec.encode(tableOf(10))]);
    const decoder = codec.decoder();
    const read = (): Table[] => [...decoder.push(bytes.subarray(0, bytes.length - 3)), ...decoder.end()];
    expect(read).toThrow('the stream ended within');
  });
});

describe('rows without blocks', () => {
  it('are cut into blocks of the size that was asked for', () => {
    const cut = through(ndjsonCodec(schema, 100), [tableOf(150), tableOf(75)], 4096);
    expect(cut.map(({ rows }) => rows)).toEqual([100, 100, 25]);
  });
});

describe('ReplyReader', () => {
  it('reads replies however they are cut', () => {
    const bytes = Buffer.from('+OK\r\n$5\r\na\r\nbc\r\n:7\r\n$-1\r\n$0\r\n\r\n-ERR no\r\n');
    for (let size = 1; size <= bytes.length; size++) {
      const reader = new ReplyReader();
      const replies: unknown[] = [];
      for (let at = 0; at < bytes.length; at += size) replies.push(...reader.push(bytes.subarray(at, at + size)));
      expect(
        replies.map((reply) => (Buffer.isBuffer(reply) ? reply.toString() : reply instanceof Error ? reply.message : reply)),
      ).toEqual(['OK', 'a\r\nbc', 7, null, '', 'redis: ERR no']);
    }
  });
});
