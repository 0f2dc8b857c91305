/**
 * Where the bytes of a batch go: columns in memory → pieces to write one after another, and the buffers' places.
 *
 * Owns: the layout and the checks that come before bytes are written. Leaves to others: files and the index.
 * Pieces are views of the caller's arrays; nothing is copied.
 */
import { alignUp, bufferAlignment, type ColumnSchema, type ItemType } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import type { ColumnData, Utf8Data } from '../types.js';
import { encodeDictionaryBatch, encodeRecordBatch, type BodyBuffer, type FieldNode } from './encode.js';
import { hasOffsets, itemTypeOf, valueBytes } from './types.js';

/** Buffers of one column, offsets relative to the start of the message. */
export interface PlacedColumn {
  nullCount: number;
  validity?: BodyBuffer | undefined;
  offsets?: BodyBuffer | undefined;
  values: BodyBuffer;
  items?: (PlacedColumn & { rows: number }) | undefined;
}
export interface PlacedUtf8 {
  length: number;
  offsets: BodyBuffer;
  values: BodyBuffer;
}

/** A message ready to be written: `pieces` follow each other without gaps and are `bytes` long, a multiple of `bufferAlignment`. */
export interface LaidMessage<Placed> {
  pieces: Uint8Array[];
  bytes: number;
  /** Bytes of prefix and metadata. */
  metadataBytes: number;
  placed: Placed;
}

const zeros = new Uint8Array(bufferAlignment);

export const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

class Body {
  readonly pieces: Uint8Array[] = [];
  bytes = 0;

  put(bytes: Uint8Array): BodyBuffer {
    const at = { offset: this.bytes, length: bytes.length };
    if (bytes.length > 0) {
      this.pieces.push(bytes);
      this.bytes += bytes.length;
      const pad = alignUp(bytes.length) - bytes.length;
      if (pad > 0) this.pieces.push(zeros.subarray(0, pad));
      this.bytes += pad;
    }
    return at;
  }
}

const shifted = (buffer: BodyBuffer, by: number): BodyBuffer => ({ offset: buffer.offset + by, length: buffer.length });

const shiftedColumn = (column: PlacedColumn, by: number): PlacedColumn => ({
  nullCount: column.nullCount,
  validity: column.validity && shifted(column.validity, by),
  offsets: column.offsets && shifted(column.offsets, by),
  values: shifted(column.values, by),
  items: column.items && { ...shiftedColumn(column.items, by), rows: column.items.rows },
});

/**
 * Lays out a record batch. The columns must have passed `checkColumn`. `beside` are bytes that lie in the body and that no column of
 * the batch names, so that readers of Arrow pass over them: selections.
 */
export function layRecordBatch(
  rows: number,
  columns: readonly ColumnData[],
  beside: readonly Uint8Array[] = [],
): LaidMessage<{ columns: PlacedColumn[]; beside: BodyBuffer[] }> {
  const body = new Body();
  const nodes: FieldNode[] = [];
  const buffers: BodyBuffer[] = [];
  const placed = columns.map((column) => layColumn(body, column, nodes, buffers));
  const placedBeside = beside.map((bytes) => body.put(bytes));
  const metadata = encodeRecordBatch(rows, nodes, buffers, body.bytes);
  const by = metadata.length;
  return {
    pieces: [metadata, ...body.pieces],
    bytes: by + body.bytes,
    metadataBytes: by,
    placed: {
      columns: placed.map((column) => shiftedColumn(column, by)),
      beside: placedBeside.map((buffer) => shifted(buffer, by)),
    },
  };
}

/** Depth first, as the format has it: validity, offsets and values of a column, then its items. */
function layColumn(body: Body, column: ColumnData, nodes: FieldNode[], buffers: BodyBuffer[]): PlacedColumn {
  const { rows, nullCount } = column;
  nodes.push({ rows, nullCount });
  const validity = nullCount > 0 && column.validity ? body.put(column.validity.subarray(0, Math.ceil(rows / 8))) : undefined;
  buffers.push(validity ?? { offset: 0, length: 0 });
  let offsets: BodyBuffer | undefined;
  if (hasOffsets(column.type) && column.offsets) {
    offsets = body.put(bytesOf(column.offsets.subarray(0, rows + 1)));
    buffers.push(offsets);
  }
  if (column.items) {
    const values = { offset: body.bytes, length: 0 };
    return {
      nullCount,
      validity,
      offsets,
      values,
      items: { ...layColumn(body, column.items, nodes, buffers), rows: column.items.rows },
    };
  }
  // Offsets may begin above 0 (a slice of a longer array): the values then keep the bytes before it.
  const bytes = column.type === 'utf8' ? (column.offsets?.[rows] ?? 0) : valueBytes(column.type, rows);
  const values = body.put(bytesOf(column.values).subarray(0, bytes));
  buffers.push(values);
  return { nullCount, validity, offsets, values };
}

/** Lays out the dictionary of the column with this index in its schema. */
export function layDictionary(index: number, dictionary: Utf8Data): LaidMessage<PlacedUtf8> {
  const body = new Body();
  const offsets = body.put(bytesOf(dictionary.offsets.subarray(0, dictionary.length + 1)));
  const values = body.put(dictionary.values.subarray(0, dictionary.offsets[dictionary.length] ?? 0));
  const metadata = encodeDictionaryBatch(index, dictionary.length, [{ offset: 0, length: 0 }, offsets, values], body.bytes);
  const by = metadata.length;
  return {
    pieces: [metadata, ...body.pieces],
    bytes: by + body.bytes,
    metadataBytes: by,
    placed: { length: dictionary.length, offsets: shifted(offsets, by), values: shifted(values, by) },
  };
}

/** Throws PDL_STAGE_OUTPUT unless the data has the column's type, rows, nulls and large enough buffers. */
export function checkColumn(place: string, schema: ColumnSchema, rows: number, data: ColumnData): void {
  const fault = (what: string): never => {
    throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${schema.name}\` ${what}`, { place });
  };
  if (data.type !== schema.type) fault(`is ${data.type}, where the stream has ${schema.type}`);
  if (data.rows !== rows) fault(`has ${String(data.rows)} rows in a block of ${String(rows)}`);
  if (data.selection) fault('was read with `selected`: refer to it instead of writing it, or read it `gathered`');
  if (data.nullCount > 0 && !schema.nullable) fault(`has ${String(data.nullCount)} nulls and is not nullable`);
  checkArray(data, rows, fault);
  if (schema.type === 'dictionary') {
    const { dictionary } = data;
    if (!dictionary) fault('has codes but no dictionary');
    else checkOffsets(dictionary.offsets, dictionary.values.byteLength, dictionary.length, 'bytes of values', fault);
  }
  const itemType = itemTypeOf(schema.type);
  if (itemType) checkItems(data, itemType, rows, fault);
}

function checkItems(data: ColumnData, itemType: ItemType, rows: number, fault: (what: string) => never): void {
  const { items } = data;
  if (!items) return fault('has lists but no items');
  if (items.type !== itemType) fault(`has items of ${items.type}, where the stream has ${itemType}`);
  checkOffsets(data.offsets, items.rows, rows, 'items', fault);
  checkArray(items, items.rows, (what) => fault(`has lists of items, an array that ${what}`));
}

/** Nulls and buffers of an array without regard to its dictionary or items. */
function checkArray(data: ColumnData, rows: number, fault: (what: string) => never): void {
  if (!Number.isInteger(data.nullCount) || data.nullCount < 0 || data.nullCount > rows)
    fault(`says it has ${String(data.nullCount)} nulls in ${String(rows)} rows`);
  if (data.nullCount > 0 && (data.validity?.length ?? 0) < Math.ceil(rows / 8))
    fault('has nulls but no validity bits for all rows');
  if (data.type === 'utf8') checkOffsets(data.offsets, data.values.byteLength, rows, 'bytes of values', fault);
  else if (data.values.byteLength < (valueBytes(data.type, rows) ?? 0))
    fault(`has ${String(data.values.byteLength)} bytes of values, too few for ${String(rows)} rows`);
}

function checkOffsets(
  offsets: Int32Array | undefined,
  into: number,
  length: number,
  what: string,
  fault: (what: string) => never,
): void {
  if (!offsets || offsets.length < length + 1)
    return fault(`needs ${String(length + 1)} offsets and has ${String(offsets?.length ?? 0)}`);
  const end = offsets[length] ?? 0;
  if ((offsets[0] ?? 0) < 0 || end < (offsets[0] ?? 0) || end > into)
    fault(`has offsets up to ${String(end)} into ${String(into)} ${what}`);
}
