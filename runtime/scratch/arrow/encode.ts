/**
 * Arrow IPC messages (MetadataVersion V5), written by hand on the flatbuffers runtime: what Schema.fbs, Message.fbs and
 * File.fbs lay down, as far as Podline's column types need it.
 *
 * A message is `FFFFFFFF`, the length of the metadata, the metadata, and a body. Invariants
 *  1. `frame` makes prefix and metadata together a multiple of `bufferAlignment`; bodies are laid out in multiples of
 *     it too; so a stream that starts at 0 has every buffer at such a multiple of its file.
 *  2. Dictionary ids are the indices of the columns in their schema.
 */
import { Builder } from 'flatbuffers';
import { alignUp, bufferAlignment, type ColumnSchema } from '../../contracts/block.js';
import { arrowTypeIds, itemTypeOf, physicalTypes, type ArrowType } from './types.js';

const metadataVersion = 4; // V5
const header = { schema: 1, dictionaryBatch: 2, recordBatch: 3 } as const;

/** Ends a stream: a continuation mark and no metadata. */
export const endOfStream = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
/** Begins (padded to 8 bytes) and ends an Arrow file. */
export const fileMagic = 'ARROW1';

/** A node of a batch: rows and nulls of one column, or of the items of one. */
export interface FieldNode {
  rows: number;
  nullCount: number;
}
/** A buffer within a body. */
export interface BodyBuffer {
  offset: number;
  length: number;
}
/** A message within a file, as the footer names it. */
export interface FileBlock {
  offset: number;
  metadataBytes: number;
  bodyBytes: number;
}

/** The schema message, whole (it has no body). */
export function encodeSchema(schema: readonly ColumnSchema[]): Uint8Array {
  const builder = new Builder(1024);
  return frame(builder, header.schema, buildSchema(builder, schema), 0);
}

/** Prefix and metadata of a record batch whose body is laid out as `buffers` say. */
export function encodeRecordBatch(
  rows: number,
  nodes: readonly FieldNode[],
  buffers: readonly BodyBuffer[],
  bodyBytes: number,
): Uint8Array {
  const builder = new Builder(256 + 16 * (nodes.length + buffers.length));
  return frame(builder, header.recordBatch, buildBatch(builder, rows, nodes, buffers), bodyBytes);
}

/** Prefix and metadata of a dictionary batch that replaces what `id` meant before. */
export function encodeDictionaryBatch(id: number, length: number, buffers: readonly BodyBuffer[], bodyBytes: number): Uint8Array {
  const builder = new Builder(512);
  const batch = buildBatch(builder, length, [{ rows: length, nullCount: 0 }], buffers);
  builder.startObject(3);
  builder.addFieldInt64(0, BigInt(id), 0n);
  builder.addFieldOffset(1, batch, 0);
  return frame(builder, header.dictionaryBatch, builder.endObject(), bodyBytes);
}

/** Footer, its length and the closing magic of a file. */
export function encodeFooter(
  schema: readonly ColumnSchema[],
  dictionaries: readonly FileBlock[],
  batches: readonly FileBlock[],
): Uint8Array {
  const builder = new Builder(1024);
  const schemaOffset = buildSchema(builder, schema);
  const blocks = (list: readonly FileBlock[]): number => {
    builder.startVector(24, list.length, 8);
    for (const block of list.toReversed()) {
      builder.prep(8, 24);
      builder.writeInt64(BigInt(block.bodyBytes));
      builder.pad(4);
      builder.writeInt32(block.metadataBytes);
      builder.writeInt64(BigInt(block.offset));
    }
    return builder.endVector();
  };
  const batchesOffset = blocks(batches);
  const dictionariesOffset = blocks(dictionaries);
  builder.startObject(5);
  builder.addFieldInt16(0, metadataVersion, 0);
  builder.addFieldOffset(1, schemaOffset, 0);
  builder.addFieldOffset(2, dictionariesOffset, 0);
  builder.addFieldOffset(3, batchesOffset, 0);
  builder.finish(builder.endObject());
  const footer = builder.asUint8Array();
  const out = Buffer.alloc(footer.length + 4 + fileMagic.length);
  out.set(footer, 0);
  out.writeInt32LE(footer.length, footer.length);
  out.write(fileMagic, footer.length + 4, 'latin1');
  return out;
}

/** Wraps a header in a Message and puts the prefix before it (invariant 1). */
function frame(builder: Builder, headerType: number, headerOffset: number, bodyBytes: number): Uint8Array {
  builder.startObject(5);
  builder.addFieldInt16(0, metadataVersion, 0);
  builder.addFieldInt8(1, headerType, 0);
  builder.addFieldOffset(2, headerOffset, 0);
  builder.addFieldInt64(3, BigInt(bodyBytes), 0n);
  builder.finish(builder.endObject());
  const metadata = builder.asUint8Array();
  const framed = Buffer.alloc(alignUp(8 + metadata.length, bufferAlignment));
  framed.writeInt32LE(-1, 0);
  framed.writeInt32LE(framed.length - 8, 4);
  framed.set(metadata, 8);
  return framed;
}

function buildSchema(builder: Builder, schema: readonly ColumnSchema[]): number {
  const fields = schema.map((column, index) => buildField(builder, column, index));
  builder.startVector(4, fields.length, 4);
  for (const field of fields.toReversed()) builder.addOffset(field);
  const fieldsOffset = builder.endVector();
  builder.startObject(4);
  builder.addFieldInt16(0, 0, 1); // little endian; written out by naming another default
  builder.addFieldOffset(1, fieldsOffset, 0);
  return builder.endObject();
}

function buildField(builder: Builder, column: ColumnSchema, index: number): number {
  const item = itemTypeOf(column.type);
  // Named as pyarrow names it. Nullable, because blocks may hold null items whether others do or not.
  const child = item && buildField(builder, { name: 'item', type: item, nullable: true }, index);
  const name = builder.createString(column.name);
  builder.startVector(4, child === undefined ? 0 : 1, 4);
  if (child !== undefined) builder.addOffset(child);
  const children = builder.endVector();
  let dictionary = 0;
  if (column.type === 'dictionary') {
    const codes = buildInt(builder, 32, true);
    builder.startObject(4);
    builder.addFieldInt64(0, BigInt(index), 0n);
    builder.addFieldOffset(1, codes, 0);
    dictionary = builder.endObject();
  }
  const type = buildType(builder, physicalTypes[column.type].arrow);
  builder.startObject(7);
  builder.addFieldOffset(0, name, 0);
  builder.addFieldInt8(1, column.nullable ? 1 : 0, 0);
  builder.addFieldInt8(2, type.id, 0);
  builder.addFieldOffset(3, type.offset, 0);
  builder.addFieldOffset(4, dictionary, 0);
  builder.addFieldOffset(5, children, 0);
  return builder.endObject();
}

function buildInt(builder: Builder, bits: number, signed: boolean): number {
  builder.startObject(2);
  builder.addFieldInt32(0, bits, 0);
  builder.addFieldInt8(1, signed ? 1 : 0, 0);
  return builder.endObject();
}

function buildType(builder: Builder, type: ArrowType): { id: number; offset: number } {
  switch (type.is) {
    case 'int':
      return { id: arrowTypeIds.Int, offset: buildInt(builder, type.bits, type.signed) };
    case 'float':
      builder.startObject(1);
      builder.addFieldInt16(0, type.bits === 32 ? 1 : 2, 0);
      return { id: arrowTypeIds.FloatingPoint, offset: builder.endObject() };
    case 'bool':
      builder.startObject(0);
      return { id: arrowTypeIds.Bool, offset: builder.endObject() };
    case 'utf8':
      builder.startObject(0);
      return { id: arrowTypeIds.Utf8, offset: builder.endObject() };
    case 'timestamp':
      builder.startObject(2);
      builder.addFieldInt16(0, type.unit === 'ms' ? 1 : 2, 0);
      return { id: arrowTypeIds.Timestamp, offset: builder.endObject() };
    case 'date':
      builder.startObject(1);
      builder.addFieldInt16(0, 0, 1); // DAY, where the default is MILLISECOND
      return { id: arrowTypeIds.Date, offset: builder.endObject() };
    case 'list':
      builder.startObject(0);
      return { id: arrowTypeIds.List, offset: builder.endObject() };
    case 'other':
      throw new Error(`no column type is written as ${type.name}`);
  }
}

function buildBatch(builder: Builder, rows: number, nodes: readonly FieldNode[], buffers: readonly BodyBuffer[]): number {
  const pairs = (list: readonly (readonly [number, number])[]): number => {
    builder.startVector(16, list.length, 8);
    for (const [first, second] of list.toReversed()) {
      builder.prep(8, 16);
      builder.writeInt64(BigInt(second));
      builder.writeInt64(BigInt(first));
    }
    return builder.endVector();
  };
  const nodesOffset = pairs(nodes.map((node) => [node.rows, node.nullCount] as const));
  const buffersOffset = pairs(buffers.map((buffer) => [buffer.offset, buffer.length] as const));
  builder.startObject(5);
  builder.addFieldInt64(0, BigInt(rows), 0n);
  builder.addFieldOffset(1, nodesOffset, 0);
  builder.addFieldOffset(2, buffersOffset, 0);
  return builder.endObject();
}
