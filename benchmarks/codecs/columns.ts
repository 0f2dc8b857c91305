/**
 * Columns as they lie in memory: a head by msgpackr, then the arrays, unchanged, each at a multiple of 8. Nothing is packed or
 * unpacked, and what arrives is worked on where it was received. The most that a message between processes can be tuned to.
 */
import { pack, unpack } from 'msgpackr';
import type { ColumnSchema, ColumnType } from '../../runtime/contracts/block.js';
import type { ColumnData } from '../../runtime/scratch/types.js';
import { columnsOf, type Table } from '../table.js';
import type { Codec } from './codec.js';
import { framed, FrameReader } from './frames.js';

interface ColumnHead {
  name: string;
  type: ColumnType;
  nullCount: number;
  /** Bytes of values, validity, offsets, dictionary offsets, dictionary values; -1: not there. */
  lengths: number[];
  words: number;
}

const alignment = 8;
const padded = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;
const zeros = Buffer.alloc(alignment);
const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

export const columnsCodec = (schema: readonly ColumnSchema[]): Codec => ({
  name: 'msgpackr columns',
  encode(table) {
    const bodies: Uint8Array[] = [];
    const heads = columnsOf(table, schema).map((data, index): ColumnHead => {
      const { name, type } = schema[index]!;
      const views = [data.values, data.validity, data.offsets, data.dictionary?.offsets, data.dictionary?.values];
      for (const view of views) {
        if (view === undefined || view.byteLength === 0) continue;
        bodies.push(bytesOf(view));
        const gap = padded(view.byteLength) - view.byteLength;
        if (gap > 0) bodies.push(zeros.subarray(0, gap));
      }
      return {
        name,
        type,
        nullCount: data.nullCount,
        lengths: views.map((view) => view?.byteLength ?? -1),
        words: data.dictionary?.length ?? 0,
      };
    });
    const head = pack({ rows: table.rows, columns: heads });
    const prefix = Buffer.alloc(alignment);
    prefix.writeUInt32LE(head.length);
    return framed([prefix, head, zeros.subarray(0, padded(head.length) - head.length), ...bodies]);
  },
  decoder() {
    const frames = new FrameReader();
    return {
      *push(piece) {
        for (const frame of frames.push(piece)) yield tableOf(frame);
      },
      *end() {
        frames.end();
      },
    };
  },
});

function tableOf(frame: Buffer): Table {
  const headBytes = frame.readUInt32LE(0);
  const { rows, columns } = unpack(frame.subarray(alignment, alignment + headBytes)) as { rows: number; columns: ColumnHead[] };
  let at = frame.byteOffset + alignment + padded(headBytes);
  const next = (length: number | undefined): Uint8Array | undefined => {
    if (length === undefined || length < 0) return undefined;
    const view = new Uint8Array(frame.buffer, at, length);
    at += padded(length);
    return view;
  };
  return {
    rows,
    columns: new Map(
      columns.map(({ name, type, nullCount, lengths, words }): [string, ColumnData] => {
        const [values, validity, offsets, wordOffsets, wordBytes] = lengths.map(next);
        if (values === undefined) throw new Error(`column ${name} came without values`);
        const data: ColumnData = { type, rows, nullCount, validity, values: typed(type, values) };
        if (offsets !== undefined) data.offsets = int32(offsets);
        if (wordOffsets !== undefined && wordBytes !== undefined)
          data.dictionary = { length: words, offsets: int32(wordOffsets), values: wordBytes };
        return [name, data];
      }),
    ),
  };
}

const int32 = ({ buffer, byteOffset, byteLength }: Uint8Array): Int32Array => new Int32Array(buffer, byteOffset, byteLength / 4);

function typed(type: ColumnType, { buffer, byteOffset, byteLength }: Uint8Array): ArrayBufferView {
  switch (type) {
    case 'int8':
      return new Int8Array(buffer, byteOffset, byteLength);
    case 'int16':
      return new Int16Array(buffer, byteOffset, byteLength / 2);
    case 'uint16':
      return new Uint16Array(buffer, byteOffset, byteLength / 2);
    case 'uint32':
      return new Uint32Array(buffer, byteOffset, byteLength / 4);
    case 'int32':
    case 'date32':
    case 'dictionary':
      return new Int32Array(buffer, byteOffset, byteLength / 4);
    case 'float32':
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case 'float64':
      return new Float64Array(buffer, byteOffset, byteLength / 8);
    case 'uint64':
      return new BigUint64Array(buffer, byteOffset, byteLength / 8);
    case 'int64':
    case 'timestamp[ms]':
    case 'timestamp[us]':
      return new BigInt64Array(buffer, byteOffset, byteLength / 8);
    case 'bool':
    case 'uint8':
    case 'utf8':
      return new Uint8Array(buffer, byteOffset, byteLength);
    default:
      throw new Error(`the baselines carry no ${type}`);
  }
}
