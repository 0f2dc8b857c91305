/**
 * Reads the metadata of Arrow IPC messages and footers. Pure: bytes in, plain objects out.
 *
 * What it is given may come from any program, so numbers are checked by whoever uses them as places (`walk.ts`);
 * here a table that does not hold together throws RangeError or yields nonsense, never memory of others.
 */
import { ByteBuffer } from 'flatbuffers';
import { arrowTypeIds, type ArrowType } from './types.js';
import type { BodyBuffer, FieldNode, FileBlock } from './encode.js';

export interface ArrowField {
  name: string;
  nullable: boolean;
  /** Of the values; for a dictionary-encoded field, of what the codes point into. */
  type: ArrowType;
  dictionary?: { id: number; codes: ArrowType } | undefined;
  /** What a list holds. */
  items?: ArrowField | undefined;
}

export interface BatchMetadata {
  rows: number;
  nodes: FieldNode[];
  /** Relative to the body. */
  buffers: BodyBuffer[];
  compression?: string | undefined;
}

export type ArrowMessage = { bodyBytes: number } & (
  | { is: 'schema'; fields: ArrowField[]; littleEndian: boolean }
  | { is: 'dictionary'; id: number; isDelta: boolean; batch: BatchMetadata }
  | { is: 'batch'; batch: BatchMetadata }
  | { is: 'other' }
);

/** A table of a flatbuffer; fields by their slot in the .fbs file. */
class Table {
  constructor(
    private readonly buffer: ByteBuffer,
    private readonly at: number,
  ) {}

  static root(bytes: Uint8Array): Table {
    const buffer = new ByteBuffer(bytes);
    return new Table(buffer, buffer.readInt32(0));
  }

  #field(slot: number): number {
    const offset = this.buffer.__offset(this.at, 4 + 2 * slot);
    return offset === 0 ? 0 : this.at + offset;
  }
  int8(slot: number, absent = 0): number {
    const at = this.#field(slot);
    return at === 0 ? absent : this.buffer.readInt8(at);
  }
  int16(slot: number, absent = 0): number {
    const at = this.#field(slot);
    return at === 0 ? absent : this.buffer.readInt16(at);
  }
  int32(slot: number, absent = 0): number {
    const at = this.#field(slot);
    return at === 0 ? absent : this.buffer.readInt32(at);
  }
  int64(slot: number): number {
    const at = this.#field(slot);
    return at === 0 ? 0 : Number(this.buffer.readInt64(at));
  }
  text(slot: number): string {
    const at = this.#field(slot);
    const text = at === 0 ? '' : this.buffer.__string(at);
    return typeof text === 'string' ? text : new TextDecoder().decode(text);
  }
  table(slot: number): Table | undefined {
    const at = this.#field(slot);
    return at === 0 ? undefined : new Table(this.buffer, this.buffer.__indirect(at));
  }
  tables(slot: number): Table[] {
    return this.#vector(slot, 4, (at) => new Table(this.buffer, this.buffer.__indirect(at)));
  }
  /** A vector of structs of two int64. */
  pairs(slot: number): [number, number][] {
    return this.#vector(slot, 16, (at) => [Number(this.buffer.readInt64(at)), Number(this.buffer.readInt64(at + 8))]);
  }
  blocks(slot: number): FileBlock[] {
    return this.#vector(slot, 24, (at) => ({
      offset: Number(this.buffer.readInt64(at)),
      metadataBytes: this.buffer.readInt32(at + 8),
      bodyBytes: Number(this.buffer.readInt64(at + 16)),
    }));
  }
  #vector<T>(slot: number, width: number, read: (at: number) => T): T[] {
    const at = this.#field(slot);
    if (at === 0) return [];
    const from = this.buffer.__vector(at);
    const length = this.buffer.__vector_len(at);
    if (length < 0 || from + length * width > this.buffer.capacity())
      throw new RangeError('a vector ends outside of its message');
    return Array.from({ length }, (_, index) => read(from + index * width));
  }
}

/** `metadata`: without the prefix of continuation mark and length. */
export function decodeMessage(metadata: Uint8Array): ArrowMessage {
  const message = Table.root(metadata);
  const bodyBytes = message.int64(3);
  const headerType = message.int8(1);
  const header = message.table(2);
  if (!header) return { is: 'other', bodyBytes };
  switch (headerType) {
    case 1:
      return { is: 'schema', bodyBytes, ...decodeSchema(header) };
    case 2: {
      const batch = header.table(1);
      if (!batch) throw new RangeError('a dictionary batch has no data');
      return { is: 'dictionary', bodyBytes, id: header.int64(0), isDelta: header.int8(2) !== 0, batch: decodeBatch(batch) };
    }
    case 3:
      return { is: 'batch', bodyBytes, batch: decodeBatch(header) };
    default:
      return { is: 'other', bodyBytes };
  }
}

export function decodeFooter(footer: Uint8Array): {
  fields: ArrowField[];
  littleEndian: boolean;
  dictionaries: FileBlock[];
  batches: FileBlock[];
} {
  const table = Table.root(footer);
  const schema = table.table(1);
  if (!schema) throw new RangeError('the footer has no schema');
  return { ...decodeSchema(schema), dictionaries: table.blocks(2), batches: table.blocks(3) };
}

function decodeSchema(schema: Table): { fields: ArrowField[]; littleEndian: boolean } {
  return { fields: schema.tables(1).map((field) => decodeField(field)), littleEndian: schema.int16(0) === 0 };
}

function decodeField(field: Table, depth = 0): ArrowField {
  const dictionary = field.table(4);
  const codes = dictionary?.table(1);
  const type = decodeType(field.int8(2), field.table(3));
  // Deeper than a list of what cannot be taken nobody needs to look: a damaged schema may go round in circles.
  const [items] = type.is === 'list' && depth < 2 ? field.tables(5) : [];
  return {
    name: field.text(0),
    nullable: field.int8(1) !== 0,
    type,
    // Without an index type the codes are int32 (Schema.fbs).
    dictionary: dictionary && {
      id: dictionary.int64(0),
      codes: codes ? decodeInt(codes) : { is: 'int', bits: 32, signed: true },
    },
    items: items && decodeField(items, depth + 1),
  };
}

const decodeInt = (table: Table): ArrowType => ({ is: 'int', bits: table.int32(0), signed: table.int8(1) !== 0 });

function decodeType(id: number, table: Table | undefined): ArrowType {
  switch (id) {
    case arrowTypeIds.Int:
      if (table) return decodeInt(table);
      break;
    case arrowTypeIds.FloatingPoint:
      return { is: 'float', bits: [16, 32, 64][table?.int16(0) ?? 0] ?? 0 };
    case arrowTypeIds.Bool:
      return { is: 'bool' };
    case arrowTypeIds.Utf8:
      return { is: 'utf8', large: false };
    case arrowTypeIds.LargeUtf8:
      return { is: 'utf8', large: true };
    case arrowTypeIds.Timestamp:
      return { is: 'timestamp', unit: (['s', 'ms', 'us', 'ns'] as const)[table?.int16(0) ?? 0] ?? 's' };
    case arrowTypeIds.Date:
      return { is: 'date', unit: table?.int16(0, 1) === 0 ? 'day' : 'ms' };
    case arrowTypeIds.List:
      return { is: 'list' };
  }
  const name = Object.entries(arrowTypeIds).find(([, value]) => value === id)?.[0] ?? `type ${String(id)}`;
  return { is: 'other', name: name.replace(/(?<!^)([A-Z])/g, '_$1').toLowerCase() };
}

function decodeBatch(batch: Table): BatchMetadata {
  const compression = batch.table(3);
  return {
    rows: batch.int64(0),
    nodes: batch.pairs(1).map(([rows, nullCount]) => ({ rows, nullCount })),
    buffers: batch.pairs(2).map(([offset, length]) => ({ offset, length })),
    compression: compression && (compression.int8(0) === 0 ? 'lz4' : 'zstd'),
  };
}
