/** One column over all batches of a source: cast to one type, and its dictionaries brought to one that grows. */
import type { ColumnSchema } from '../contracts/block.js';
import type { PodlineError } from '../contracts/errors.js';
import type { ColumnData, Utf8Data } from '../scratch/types.js';
import { castColumn } from './cast.js';
import { GrowingDictionary } from './dictionary.js';

export class UnifiedColumn {
  readonly isDictionary: boolean;
  readonly #dictionary: GrowingDictionary;
  #last: { from: Utf8Data; codes: Int32Array; isSame: boolean } | undefined;

  constructor(
    name: string,
    readonly type: ColumnSchema['type'],
  ) {
    this.isDictionary = type === 'dictionary';
    this.#dictionary = new GrowingDictionary(name);
  }

  take(column: ColumnData, misfitAt: (row: number, value: string) => PodlineError): ColumnData {
    if (!this.isDictionary) return castColumn(column, this.type, misfitAt);
    if (column.type === 'utf8') return this.#encode(column);
    const { dictionary } = column;
    if (dictionary === undefined) throw new RangeError('a dictionary column without a dictionary');
    if (this.#last?.from !== dictionary) {
      const codes = encodeAll(dictionary, this.#dictionary);
      this.#last = { from: dictionary, codes, isSame: codes.every((code, i) => code === i) };
    }
    const { codes, isSame } = this.#last;
    const old = column.values as Int32Array;
    const values = isSame ? old : recoded(old, codes);
    return { ...column, values, dictionary: this.#dictionary.snapshot() };
  }

  #encode(column: ColumnData): ColumnData {
    const offsets = column.offsets ?? new Int32Array(column.rows + 1);
    const codes = new Int32Array(column.rows);
    const text = asBuffer(column.values as Uint8Array);
    for (let i = 0; i < column.rows; i++) {
      const isNull = column.validity !== undefined && (((column.validity[i >> 3] ?? 0) >> (i & 7)) & 1) === 0;
      if (!isNull) codes[i] = this.#dictionary.codeOf(text, offsets[i] ?? 0, offsets[i + 1] ?? 0);
    }
    return {
      type: 'dictionary',
      rows: column.rows,
      nullCount: column.nullCount,
      validity: column.validity,
      values: codes,
      dictionary: this.#dictionary.snapshot(),
    };
  }
}

function recoded(old: Int32Array, codes: Int32Array): Int32Array {
  const values = new Int32Array(old.length);
  for (let i = 0; i < old.length; i++) values[i] = codes[old[i] ?? 0] ?? 0;
  return values;
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function encodeAll(from: Utf8Data, into: GrowingDictionary): Int32Array {
  const text = asBuffer(from.values);
  return Int32Array.from({ length: from.length }, (_, i) => into.codeOf(text, from.offsets[i] ?? 0, from.offsets[i + 1] ?? 0));
}
