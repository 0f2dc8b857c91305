/**
 * Writes blocks as one Arrow IPC file: for results, and for commands whose input lies in several segments.
 *
 * The file format allows one dictionary per column, so that blocks with different ones are brought to a common one. It is
 * written behind the batches, where the footer names it; until a second dictionary appears, codes are written as they are.
 */
import { open } from 'node:fs/promises';
import type { ColumnSchema } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import { writePiecesAside } from '../positioned.js';
import type { ColumnData, Utf8Data } from '../types.js';
import { sameDictionary } from '../utf8.js';
import { encodeFooter, encodeSchema, endOfStream, fileMagic, type FileBlock } from './encode.js';
import { checkColumn, layDictionary, layRecordBatch, type LaidMessage } from './layout.js';

export interface ArrowBlock {
  rows: number;
  columns: Map<string, ColumnData>;
}
type Blocks = Iterable<ArrowBlock> | AsyncIterable<ArrowBlock>;

/** Writes the file at `path`, which must not exist. Throws PDL_STAGE_OUTPUT when a block does not fit the schema. */
export async function writeArrowFile(
  path: string,
  schema: readonly ColumnSchema[],
  blocks: Blocks,
): Promise<{ rows: number; bytes: number }> {
  const file = await open(path, 'wx', 0o640);
  try {
    const written = { rows: 0, bytes: 0 };
    for await (const { rows, pieces } of arrowFilePieces(schema, blocks, path)) {
      await writePiecesAside(file.fd, pieces, written.bytes);
      written.bytes += pieces.reduce((sum, piece) => sum + piece.length, 0);
      written.rows += rows;
    }
    return written;
  } finally {
    await file.close();
  }
}

/** The bytes of the file in order, a block at a time; views of the blocks' arrays, so use them before the next is asked for. */
export async function* arrowFilePieces(
  schema: readonly ColumnSchema[],
  blocks: Blocks,
  place = 'an Arrow file',
): AsyncGenerator<{ rows: number; pieces: Uint8Array[] }> {
  // The magic is padded to 64 rather than 8 bytes, so that buffers keep their alignment in the file.
  const head = Buffer.alloc(64);
  head.write(fileMagic, 'latin1');
  const schemaMessage = encodeSchema(schema);
  yield { rows: 0, pieces: [head, schemaMessage] };
  let at = head.length + schemaMessage.length;
  const batches: FileBlock[] = [];
  const dictionaries: FileBlock[] = [];
  const block = (laid: LaidMessage<unknown>): FileBlock => {
    const place = { offset: at, metadataBytes: laid.metadataBytes, bodyBytes: laid.bytes - laid.metadataBytes };
    at += laid.bytes;
    return place;
  };
  const common = schema.map((column) => (column.type === 'dictionary' ? new CommonDictionary() : undefined));
  for await (const { rows, columns } of blocks) {
    const ordered = schema.map((column, index): ColumnData => {
      const data = columns.get(column.name);
      if (!data) throw new PodlineError('PDL_STAGE_OUTPUT', `column \`${column.name}\` is missing`, { place });
      checkColumn(place, column, rows, data);
      return common[index]?.recode(data) ?? data;
    });
    const laid = layRecordBatch(rows, ordered);
    batches.push(block(laid));
    yield { rows, pieces: laid.pieces };
  }
  for (const [index, dictionary] of common.entries()) {
    if (!dictionary) continue;
    const laid = layDictionary(index, dictionary.whole());
    dictionaries.push(block(laid));
    yield { rows: 0, pieces: laid.pieces };
  }
  yield { rows: 0, pieces: [endOfStream, encodeFooter(schema, dictionaries, batches)] };
}

/** The dictionary of a column over all blocks: that of the first, grown by what later ones have beyond it. */
class CommonDictionary {
  #first: Utf8Data | undefined;
  /** Values by their bytes, once a second dictionary has come. */
  #codes: Map<string, number> | undefined;
  #last: { of: Utf8Data; map: Int32Array } | undefined;

  /** The column with codes into the common dictionary; the same object as long as there is only one dictionary. */
  recode(data: ColumnData): ColumnData {
    const { dictionary } = data;
    if (!dictionary) return data;
    if (!this.#first) this.#first = owned(dictionary);
    if (!this.#codes) {
      if (sameDictionary(this.#first, dictionary)) return data;
      this.#codes = new Map(texts(this.#first).map((text, code) => [text, code]));
    }
    const map = this.#last?.of === dictionary ? this.#last.map : this.#map(this.#codes, dictionary);
    this.#last = { of: dictionary, map };
    const codes = new Int32Array(data.values.buffer, data.values.byteOffset, data.rows);
    return { ...data, values: codes.map((code) => map[code] ?? 0) };
  }

  whole(): Utf8Data {
    if (!this.#codes) return this.#first ?? { length: 0, offsets: new Int32Array(1), values: new Uint8Array(0) };
    const values = [...this.#codes.keys()].map((text) => Buffer.from(text, 'latin1'));
    const offsets = new Int32Array(values.length + 1);
    for (const [index, value] of values.entries()) offsets[index + 1] = (offsets[index] ?? 0) + value.length;
    return { length: values.length, offsets, values: Buffer.concat(values) };
  }

  #map(codes: Map<string, number>, dictionary: Utf8Data): Int32Array {
    return Int32Array.from(texts(dictionary), (text) => {
      const known = codes.get(text);
      if (known !== undefined) return known;
      const code = codes.size;
      codes.set(text, code);
      return code;
    });
  }
}

/** Values as strings of their bytes (latin1), which compares them exactly whatever they hold. */
function texts({ length, offsets, values }: Utf8Data): string[] {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return Array.from({ length }, (_, index) => bytes.toString('latin1', offsets[index], offsets[index + 1]));
}

/** A copy: the first dictionary is needed to the end, when the reader that gave it may be closed. */
const owned = ({ length, offsets, values }: Utf8Data): Utf8Data => ({
  length,
  offsets: offsets.slice(0, length + 1),
  values: values.slice(0, offsets[length] ?? 0),
});
