/**
 * An Arrow IPC file: a record batch per block, then the footer.
 *
 * In a file a dictionary has one meaning from beginning to end, while each block of a stream may bring its own; so the
 * dictionaries of all blocks are merged first, and the codes of blocks whose dictionary is another are rewritten.
 */
import type { ColumnSchema } from '../contracts/block.js';
import { encodeFooter, encodeSchema, endOfStream, fileMagic, type FileBlock } from '../scratch/arrow/encode.js';
import { layDictionary, layRecordBatch, type LaidMessage } from '../scratch/arrow/layout.js';
import type { ColumnData, Utf8Data } from '../scratch/types.js';
import { stringsOf } from './cells.js';
import type { FileSink } from './sink.js';

/** The dictionaries of one column as one: values in the order in which they first appear. */
export class MergedDictionary {
  readonly #codes = new Map<string, number>();
  /** Codes by dictionary; absent: not looked at yet. `undefined` as value: its codes are the merged ones. */
  readonly #recoded = new WeakMap<Utf8Data, { codes: Int32Array | undefined }>();

  /** New code of each code of `dictionary`, or undefined when they are the same. Adds values that are new. */
  codesOf(dictionary: Utf8Data): Int32Array | undefined {
    const known = this.#recoded.get(dictionary);
    if (known !== undefined) return known.codes;
    const codes = Int32Array.from(stringsOf(dictionary), (text) => {
      const merged = this.#codes.get(text) ?? this.#codes.size;
      this.#codes.set(text, merged);
      return merged;
    });
    const recoded = { codes: codes.every((merged, code) => merged === code) ? undefined : codes };
    this.#recoded.set(dictionary, recoded);
    return recoded.codes;
  }

  data(): Utf8Data {
    const strings = [...this.#codes.keys()].map((text) => Buffer.from(text, 'utf8'));
    const offsets = new Int32Array(strings.length + 1);
    strings.forEach((bytes, index) => (offsets[index + 1] = (offsets[index] ?? 0) + bytes.length));
    return { length: strings.length, offsets, values: Buffer.concat(strings) };
  }
}

export class ArrowTable {
  readonly #dictionaries: FileBlock[] = [];
  readonly #batches: FileBlock[] = [];

  /** `merged` knows the dictionaries of every block that will be appended. */
  constructor(
    private readonly sink: FileSink,
    private readonly schema: readonly ColumnSchema[],
    private readonly merged: ReadonlyMap<string, MergedDictionary>,
  ) {
    sink.write(Buffer.from(fileMagic.padEnd(8, '\0'), 'latin1'));
    sink.write(encodeSchema(schema));
    for (const [index, { name }] of schema.entries()) {
      const dictionary = merged.get(name);
      if (dictionary !== undefined) this.#put(layDictionary(index, dictionary.data()), this.#dictionaries);
    }
    sink.flush();
  }

  append(rows: number, columns: ReadonlyMap<string, ColumnData>): Promise<void> {
    const ordered = this.schema.flatMap(({ name }) => {
      const column = columns.get(name);
      return column === undefined ? [] : [this.#recoded(name, column)];
    });
    this.#put(layRecordBatch(rows, ordered), this.#batches);
    // The pieces are views of the caller's columns.
    this.sink.flush();
    return Promise.resolve();
  }

  finish(): Promise<void> {
    this.sink.write(endOfStream);
    this.sink.write(encodeFooter(this.schema, this.#dictionaries, this.#batches));
    return Promise.resolve();
  }

  #recoded(name: string, column: ColumnData): ColumnData {
    const codes = column.dictionary === undefined ? undefined : this.merged.get(name)?.codesOf(column.dictionary);
    if (codes === undefined) return column;
    const before = column.values as Int32Array;
    return { ...column, values: Int32Array.from(before.subarray(0, column.rows), (code) => codes[code] ?? 0) };
  }

  #put(message: LaidMessage<unknown>, blocks: FileBlock[]): void {
    blocks.push({
      offset: this.sink.bytes,
      metadataBytes: message.metadataBytes,
      bodyBytes: message.bytes - message.metadataBytes,
    });
    for (const piece of message.pieces) this.sink.write(piece);
  }
}
