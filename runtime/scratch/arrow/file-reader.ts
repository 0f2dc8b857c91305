/**
 * Reads an Arrow IPC file or stream into blocks in memory: what the loader does with `format: arrow`.
 *
 * Because it copies anyway, it takes more types than a segment does: large_utf8, codes of any width, timestamps in seconds (as
 * ms) and nanoseconds (as µs, rounded down), date64 (as date32).
 */
import { closeSync, openSync } from 'node:fs';
import type { ColumnSchema, ColumnType } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import { readExactly } from '../positioned.js';
import type { ColumnData, Utf8Data } from '../types.js';
import type { BodyBuffer } from './encode.js';
import type { ArrowBlock } from './file-writer.js';
import { itemTypeOf, physicalTypes, valueBytes, type ArrowType } from './types.js';
import { convertedColumnType, unsupportedField, walkArrow, type ColumnAt, type Utf8At } from './walk.js';

export interface ArrowFileBlocks {
  schema: ColumnSchema[];
  /** Rows of each block. */
  rows: number[];
  /** Reads block `index`; only the columns named, if any are. */
  read(index: number, columns?: readonly string[]): ArrowBlock;
  /** All blocks in order. */
  [Symbol.iterator](): Iterator<ArrowBlock>;
  close(): void;
}

/** Opens a file; `close` it. Throws PDL_SOURCE_UNREADABLE when it is not whole, PDL_FORMAT_UNSUPPORTED naming column and type. */
export function readArrowBlocks(path: string): ArrowFileBlocks {
  const fd = openSync(path, 'r');
  try {
    const { fields, batches } = walkArrow(fd, path);
    const schema = fields.map((field): ColumnSchema => {
      const type = convertedColumnType(field);
      if (!type) throw unsupportedField(path, field);
      return { name: field.name, type, nullable: field.nullable };
    });
    const dictionaries = new Map<Utf8At, Utf8Data>();
    const dictionary = (at: Utf8At, type: ArrowType): Utf8Data => {
      let found = dictionaries.get(at);
      if (!found) {
        found = { length: at.length, ...readUtf8(fd, at.length, at.offsets, at.values, type, path) };
        dictionaries.set(at, found);
      }
      return found;
    };
    const read = (index: number, columns?: readonly string[]): ArrowBlock => {
      const batch = batches[index];
      if (!batch) throw new PodlineError('PDL_INTERNAL', `there is no block ${String(index)} in ${path}`);
      const wanted = schema.filter(({ name }) => !columns || columns.includes(name));
      const table = wanted.map(({ name, type }): [string, ColumnData] => {
        const at = batch.columns.find((column) => column.field.name === name);
        if (!at) throw new PodlineError('PDL_INTERNAL', `there is no column ${name} in ${path}`);
        return [name, readColumn(fd, type, at, path, dictionary)];
      });
      return { rows: batch.rows, columns: new Map(table) };
    };
    let open = true;
    return {
      schema,
      rows: batches.map((batch) => batch.rows),
      read,
      *[Symbol.iterator]() {
        for (const index of batches.keys()) yield read(index);
      },
      close() {
        if (open) closeSync(fd);
        open = false;
      },
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function readColumn(
  fd: number,
  type: ColumnType,
  at: ColumnAt,
  path: string,
  dictionary: (at: Utf8At, type: ArrowType) => Utf8Data,
): ColumnData {
  const { rows, nullCount } = at;
  const data: ColumnData = { type, rows, nullCount, values: new Uint8Array(0) };
  if (at.validity) data.validity = bytes(fd, at.validity, Math.ceil(rows / 8));
  if (type === 'utf8' && at.offsets) return { ...data, ...readUtf8(fd, rows, at.offsets, at.values, at.field.type, path) };
  const itemType = itemTypeOf(type);
  if (itemType && at.offsets && at.items) {
    data.items = readColumn(fd, itemType, at.items, path, dictionary);
    data.offsets = readListOffsets(fd, rows, at.offsets, data.items.rows, path);
    return data;
  }
  data.values = readValues(fd, type, rows, at);
  if (at.dictionary) data.dictionary = dictionary(at.dictionary, at.field.type);
  return data;
}

function readListOffsets(fd: number, rows: number, offsets: BodyBuffer, items: number, path: string): Int32Array {
  if (rows === 0) return new Int32Array(1);
  const found = new Int32Array(bytes(fd, offsets, (rows + 1) * 4).buffer as ArrayBuffer);
  const [first, end] = [found[0] ?? 0, found[rows] ?? 0];
  if (first < 0 || end < first || end > items)
    throw new PodlineError(
      'PDL_SOURCE_UNREADABLE',
      `a list column has offsets up to ${String(end)} into ${String(items)} items`,
      {
        place: path,
      },
    );
  return found;
}

function readValues(fd: number, type: ColumnType, rows: number, { field, values }: ColumnAt): ArrayBufferView {
  if (field.dictionary) return readCodes(fd, rows, values, field.dictionary.codes);
  if (field.type.is === 'timestamp' && field.type.unit === 's') return longs(fd, rows, values).map((seconds) => seconds * 1000n);
  if (field.type.is === 'timestamp' && field.type.unit === 'ns')
    return longs(fd, rows, values).map((ns) => (ns - (((ns % 1000n) + 1000n) % 1000n)) / 1000n);
  if (field.type.is === 'date' && field.type.unit === 'ms')
    return Int32Array.from(longs(fd, rows, values), (ms) => Math.floor(Number(ms) / 86_400_000));
  const { array } = physicalTypes[type];
  const raw = bytes(fd, values, valueBytes(type, rows) ?? 0);
  return new array(raw.buffer as ArrayBuffer, 0, raw.length / array.BYTES_PER_ELEMENT);
}

function readCodes(fd: number, rows: number, values: BodyBuffer, codes: ArrowType): Int32Array {
  const { bits, signed } = codes.is === 'int' ? codes : { bits: 32, signed: true };
  const { buffer } = bytes(fd, values, (rows * bits) / 8);
  const raw = buffer as ArrayBuffer;
  switch (bits) {
    case 8:
      return Int32Array.from(signed ? new Int8Array(raw) : new Uint8Array(raw));
    case 16:
      return Int32Array.from(signed ? new Int16Array(raw) : new Uint16Array(raw));
    case 64:
      return Int32Array.from(new BigInt64Array(raw), Number);
    default:
      return new Int32Array(raw);
  }
}

function readUtf8(
  fd: number,
  length: number,
  offsets: BodyBuffer,
  values: BodyBuffer,
  type: ArrowType,
  path: string,
): { offsets: Int32Array; values: Uint8Array } {
  if (length === 0) return { offsets: new Int32Array(1), values: new Uint8Array(0) };
  const large = type.is === 'utf8' && type.large;
  const raw = large ? longs(fd, length + 1, offsets) : new Int32Array(bytes(fd, offsets, (length + 1) * 4).buffer as ArrayBuffer);
  // Numbers are kept exact: a batch's text is far below 2^53.
  const first = Number(raw[0] ?? 0);
  const end = Number(raw[length] ?? 0);
  if (first < 0 || end < first || end > values.length)
    throw new PodlineError(
      'PDL_SOURCE_UNREADABLE',
      `a text column has offsets up to ${String(end)} into ${String(values.length)} bytes`,
      { place: path },
    );
  if (end - first > 0x7fff_ffff)
    throw new PodlineError('PDL_FORMAT_UNSUPPORTED', 'a batch has more than 2 GiB of text in one column', {
      place: path,
      hint: 'Write smaller batches.',
    });
  const text = readExactly(fd, values.offset + first, end - first);
  if (raw instanceof Int32Array && first === 0) return { offsets: raw, values: text };
  const rebased = new Int32Array(length + 1);
  for (let index = 0; index <= length; index += 1) rebased[index] = Number(raw[index] ?? 0) - first;
  return { offsets: rebased, values: text };
}

const bytes = (fd: number, buffer: BodyBuffer, length: number): Uint8Array =>
  readExactly(fd, buffer.offset, Math.min(length, buffer.length));
const longs = (fd: number, rows: number, buffer: BodyBuffer): BigInt64Array =>
  new BigInt64Array(bytes(fd, buffer, rows * 8).buffer as ArrayBuffer);
