/**
 * Walks an Arrow IPC file or stream and says where the buffers of its batches lie, without reading them.
 *
 * Owns: bounds. Every place that it yields lies within the file and is long enough for its rows.
 * Accepts what its users can take: `columnTypeInPlace` for those who use the bytes as they lie (adoption),
 * `convertedColumnType` for those who copy (the loader).
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import type { ColumnType, ItemType } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import { readExactly } from '../positioned.js';
import { decodeFooter, decodeMessage, type ArrowField, type ArrowMessage, type BatchMetadata } from './decode.js';
import { fileMagic, type BodyBuffer, type FieldNode } from './encode.js';
import { arrowTypeName, listOf, scalarTypeOf, type ArrowType } from './types.js';

/** Places within the file, in its own physical types. */
export interface Utf8At {
  length: number;
  offsets: BodyBuffer;
  values: BodyBuffer;
}
export interface ColumnAt {
  field: ArrowField;
  rows: number;
  nullCount: number;
  validity?: BodyBuffer | undefined;
  offsets?: BodyBuffer | undefined;
  values: BodyBuffer;
  dictionary?: Utf8At | undefined;
  /** What the lists hold; `values` is then nothing. */
  items?: ColumnAt | undefined;
}
export interface BatchAt {
  rows: number;
  /** End of the message of the batch. */
  end: number;
  columns: ColumnAt[];
}
export interface ArrowWalk {
  container: 'file' | 'stream';
  bytes: number;
  fields: ArrowField[];
  batches: BatchAt[];
}

interface MessageAt {
  message: ArrowMessage;
  body: number;
  end: number;
}

/** A field's type if its buffers can be used as they lie, else undefined. */
export function columnTypeInPlace(field: ArrowField): ColumnType | undefined {
  if (field.type.is === 'list') return listTypeOf(field, (items) => scalarTypeOf(items.type));
  if (!field.dictionary) return scalarTypeOf(field.type);
  const { codes } = field.dictionary;
  return codes.is === 'int' && codes.bits === 32 && codes.signed && field.type.is === 'utf8' && !field.type.large
    ? 'dictionary'
    : undefined;
}

/** The type that a field gets when its values are copied and may be widened or rescaled, else undefined. */
export function convertedColumnType(field: ArrowField): ColumnType | undefined {
  if (field.type.is === 'list') return listTypeOf(field, convertedScalarType);
  if (field.dictionary)
    return field.type.is === 'utf8' && scalarTypeOf(field.dictionary.codes) !== undefined ? 'dictionary' : undefined;
  return convertedScalarType(field);
}

function convertedScalarType({ type }: ArrowField): ItemType | undefined {
  switch (type.is) {
    case 'utf8':
      return 'utf8';
    case 'timestamp':
      return type.unit === 's' || type.unit === 'ms' ? 'timestamp[ms]' : 'timestamp[us]';
    case 'date':
      return 'date32';
    default:
      return scalarTypeOf(type);
  }
}

/** Lists of plain values only: no dictionaries in lists, nor lists as dictionaries. */
function listTypeOf(field: ArrowField, typeOf: (items: ArrowField) => ItemType | undefined): ColumnType | undefined {
  const { items } = field;
  const item = items && !items.dictionary && !field.dictionary ? typeOf(items) : undefined;
  return item && listOf(item);
}

/** The error for a field whose type cannot be taken. */
export function unsupportedField(path: string, field: ArrowField): PodlineError {
  return new PodlineError(
    'PDL_FORMAT_UNSUPPORTED',
    `column \`${field.name}\` is ${fieldTypeName(field)}, which cannot be used as it lies`,
    {
      place: path,
      hint: 'Write the column as one of: ints, floats, bool, utf8, dictionary<utf8, int32>, timestamp[ms], timestamp[us], date32, or a list of one of these without dictionaries.',
    },
  );
}

function fieldTypeName({ type, dictionary, items }: ArrowField): string {
  const name = items ? `list<${fieldTypeName(items)}>` : arrowTypeName(type);
  return dictionary ? `dictionary<${name}, ${arrowTypeName(dictionary.codes)}>` : name;
}

/** Which of the two containers a path holds, by its first bytes. */
export function arrowContainer(path: string): 'file' | 'stream' {
  const fd = openSync(path, 'r');
  try {
    return isFile(fd, fstatSync(fd).size) ? 'file' : 'stream';
  } finally {
    closeSync(fd);
  }
}

const isFile = (fd: number, bytes: number): boolean =>
  bytes >= 8 && Buffer.from(readExactly(fd, 0, fileMagic.length)).toString('latin1') === fileMagic;

/** Throws PDL_FORMAT_UNSUPPORTED (compressed, big endian, nested, delta dictionaries) or PDL_SOURCE_UNREADABLE (not whole). */
export function walkArrow(fd: number, path: string): ArrowWalk {
  const { size } = fstatSync(fd);
  try {
    return isFile(fd, size) ? walkFile(fd, size, path) : walkStream(fd, size, path);
  } catch (error) {
    if (error instanceof PodlineError) throw error;
    throw new PodlineError(
      'PDL_SOURCE_UNREADABLE',
      `not a whole Arrow IPC file or stream: ${error instanceof Error ? error.message : String(error)}`,
      {
        place: path,
        cause: error,
      },
    );
  }
}

/** One message; undefined at the end of the stream. */
function messageAt(fd: number, size: number, at: number): MessageAt | undefined {
  if (at === size) return undefined;
  if (at + 8 > size) throw new RangeError(`a message begins at ${String(at)} and the file ends at ${String(size)}`);
  const prefix = Buffer.from(readExactly(fd, at, 8));
  if (prefix.readInt32LE(0) !== -1) throw new RangeError(`there is no message at byte ${String(at)}`);
  const metadataBytes = prefix.readInt32LE(4);
  if (metadataBytes === 0) return undefined;
  const body = at + 8 + metadataBytes;
  if (metadataBytes < 0 || body > size) throw new RangeError(`the metadata at byte ${String(at)} is cut off`);
  const message = decodeMessage(readExactly(fd, at + 8, metadataBytes));
  const end = body + message.bodyBytes;
  if (message.bodyBytes < 0 || end > size) throw new RangeError(`the body at byte ${String(body)} is cut off`);
  return { message, body, end };
}

function walkStream(fd: number, size: number, path: string): ArrowWalk {
  const first = messageAt(fd, size, 0);
  if (first?.message.is !== 'schema') throw new RangeError('it does not begin with a schema');
  checkEndian(first.message.littleEndian, path);
  const { fields } = first.message;
  const dictionaries = new Map<number, Utf8At>();
  const batches: BatchAt[] = [];
  for (let at: MessageAt | undefined = messageAt(fd, size, first.end); at; at = messageAt(fd, size, at.end)) {
    if (at.message.is === 'dictionary') takeDictionary(dictionaries, fields, at, path);
    else if (at.message.is === 'batch') batches.push(placeBatch(fields, dictionaries, at, path));
  }
  return { container: 'stream', bytes: size, fields, batches };
}

function walkFile(fd: number, size: number, path: string): ArrowWalk {
  const tail = 4 + fileMagic.length;
  const end = Buffer.from(readExactly(fd, size - tail, tail));
  if (end.toString('latin1', 4) !== fileMagic) throw new RangeError('the closing mark of the file is missing');
  const footerBytes = end.readInt32LE(0);
  if (footerBytes <= 0 || footerBytes > size - tail) throw new RangeError('the footer is cut off');
  const footer = decodeFooter(readExactly(fd, size - tail - footerBytes, footerBytes));
  checkEndian(footer.littleEndian, path);
  const dictionaries = new Map<number, Utf8At>();
  const message = (offset: number): MessageAt => {
    const at = offset >= 0 && offset < size ? messageAt(fd, size, offset) : undefined;
    if (!at) throw new RangeError(`the footer names a message at byte ${String(offset)}, where there is none`);
    return at;
  };
  for (const block of footer.dictionaries) takeDictionary(dictionaries, footer.fields, message(block.offset), path);
  const batches = footer.batches.map((block) => placeBatch(footer.fields, dictionaries, message(block.offset), path));
  return { container: 'file', bytes: size, fields: footer.fields, batches };
}

function checkEndian(littleEndian: boolean, path: string): void {
  if (!littleEndian) throw new PodlineError('PDL_FORMAT_UNSUPPORTED', 'the data is big-endian', { place: path });
}

/** Hands out the nodes and buffers of a batch in order, checked against the body. */
class Buffers {
  #next = 0;
  #nextNode = 0;
  constructor(
    private readonly batch: BatchMetadata,
    private readonly at: MessageAt,
    path: string,
  ) {
    if (batch.compression) {
      throw new PodlineError('PDL_FORMAT_UNSUPPORTED', `its bodies are compressed (${batch.compression})`, {
        place: path,
        hint: 'Write Arrow IPC without compression: Podline maps it as it lies.',
      });
    }
    if (!Number.isSafeInteger(batch.rows) || batch.rows < 0)
      throw new RangeError(`a batch says it has ${String(batch.rows)} rows`);
  }
  take(bytesMin: number, what: string): BodyBuffer {
    const buffer = this.batch.buffers[this.#next++];
    if (!buffer) throw new RangeError(`the buffer of ${what} is missing`);
    const inside = buffer.offset >= 0 && buffer.length >= 0 && buffer.offset + buffer.length <= this.at.end - this.at.body;
    if (!inside || buffer.length < bytesMin)
      throw new RangeError(`the buffer of ${what} is too short or lies outside of its message`);
    return { offset: this.at.body + buffer.offset, length: buffer.length };
  }
  node(what: string): FieldNode {
    const node = this.batch.nodes[this.#nextNode++];
    if (!node) throw new RangeError(`${what} is missing`);
    const { rows, nullCount } = node;
    if (!Number.isSafeInteger(rows) || rows < 0 || nullCount < 0 || nullCount > rows)
      throw new RangeError(`${what} says it has ${String(nullCount)} nulls in ${String(rows)} rows`);
    return node;
  }
}

const offsetBytes = (type: ArrowType, rows: number): number =>
  rows === 0 ? 0 : (rows + 1) * (type.is === 'utf8' && type.large ? 8 : 4);

function takeDictionary(dictionaries: Map<number, Utf8At>, fields: readonly ArrowField[], at: MessageAt, path: string): void {
  if (at.message.is !== 'dictionary') throw new RangeError('a dictionary batch is something else');
  const { id, isDelta, batch } = at.message;
  const field = fields.find((candidate) => candidate.dictionary?.id === id);
  // Dictionaries of nested or non-text fields are refused with their field, later and by name.
  if (field?.type.is !== 'utf8') return;
  if (isDelta)
    throw new PodlineError('PDL_FORMAT_UNSUPPORTED', `the dictionary of column \`${field.name}\` grows by deltas`, {
      place: path,
    });
  const nulls = batch.nodes[0]?.nullCount ?? 0;
  if (nulls > 0)
    throw new PodlineError('PDL_FORMAT_UNSUPPORTED', `the dictionary of column \`${field.name}\` holds a null`, { place: path });
  const buffers = new Buffers(batch, at, path);
  buffers.take(0, `the dictionary of ${field.name}`);
  const offsets = buffers.take(offsetBytes(field.type, batch.rows), `the dictionary of ${field.name}`);
  dictionaries.set(id, { length: batch.rows, offsets, values: buffers.take(0, `the dictionary of ${field.name}`) });
}

function placeBatch(
  fields: readonly ArrowField[],
  dictionaries: ReadonlyMap<number, Utf8At>,
  at: MessageAt,
  path: string,
): BatchAt {
  if (at.message.is !== 'batch') throw new RangeError('a record batch is something else');
  const { batch } = at.message;
  const buffers = new Buffers(batch, at, path);
  const columns = fields.map((field): ColumnAt => {
    if (convertedColumnType(field) === undefined) throw unsupportedField(path, field);
    const column = placeColumn(field, field.name, buffers);
    if (column.rows !== batch.rows)
      throw new RangeError(`column ${field.name} has ${String(column.rows)} rows in a batch of ${String(batch.rows)}`);
    if (field.dictionary) {
      column.dictionary = dictionaries.get(field.dictionary.id);
      if (!column.dictionary) throw new RangeError(`the dictionary of column ${field.name} is missing`);
    }
    return column;
  });
  return { rows: batch.rows, end: at.end, columns };
}

/** Depth first, as the format has it: validity, offsets and values of a column, then its items. */
function placeColumn(field: ArrowField, name: string, buffers: Buffers): ColumnAt {
  const { rows, nullCount } = buffers.node(name);
  const validity = buffers.take(nullCount > 0 ? Math.ceil(rows / 8) : 0, name);
  const column: ColumnAt = { field, rows, nullCount, validity: nullCount > 0 ? validity : undefined, values: validity };
  const type = field.dictionary ? field.dictionary.codes : field.type;
  if (type.is === 'utf8' || type.is === 'list') column.offsets = buffers.take(offsetBytes(type, rows), name);
  if (field.items) {
    column.values = { offset: validity.offset, length: 0 };
    column.items = placeColumn(field.items, `items of ${name}`, buffers);
  } else {
    column.values = buffers.take(fixedBytes(type, rows), name);
  }
  return column;
}

function fixedBytes(type: ArrowType, rows: number): number {
  switch (type.is) {
    case 'int':
    case 'float':
      return (rows * type.bits) / 8;
    case 'bool':
      return Math.ceil(rows / 8);
    case 'timestamp':
      return rows * 8;
    case 'date':
      return rows * (type.unit === 'day' ? 4 : 8);
    default:
      return 0;
  }
}
