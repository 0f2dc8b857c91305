/** The column that a chunk is decoded into: takes pages one after another and ends as Arrow buffers. */
import { isUtf8 } from 'node:buffer';
import type { Encoding } from 'hyparquet';
import type { ColumnType } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import { gather } from '../../scratch/gather.js';
import type { ColumnData } from '../../scratch/types.js';
import { bitBytes, fixedArray, placeBits, setBits, type FixedArray } from '../columns.js';
import { decodeCodes, type Presence } from './hybrid.js';
import { notText, type ChunkRequest } from './request.js';
import { convertNumbers, readValues, type PageValues, type Texts } from './values.js';

export type DecodedDictionary =
  /** Numbers, converted already. */
  | { is: 'fixed'; length: number; values: FixedArray; bad: Uint8Array | undefined; originals: ArrayLike<number | bigint> }
  | { is: 'texts'; length: number; texts: Texts }
  /** Code of the file to code of the stream. */
  | { is: 'codes'; length: number; codes: Int32Array };

export class ColumnSink {
  readonly #fixed: FixedArray | undefined;
  #text = new Uint8Array(0);
  #offsets: Int32Array | undefined;
  #validity: Uint8Array | undefined;
  #nulls = 0;
  #rows = 0;

  /** `rowsMax` rows; `firstRow` is the row of the group that the first of them is. */
  constructor(
    private readonly request: ChunkRequest,
    private readonly rowsMax: number,
    private readonly firstRow: number,
  ) {
    if (request.type === 'utf8') this.#offsets = new Int32Array(rowsMax + 1);
    else this.#fixed = request.type === 'bool' ? new Uint8Array(rowsMax) : fixedArray(request.type, rowsMax);
  }

  static dictionary(values: PageValues, request: ChunkRequest): DecodedDictionary {
    if ('numbers' in values) {
      return {
        is: 'fixed',
        length: values.numbers.length,
        ...convertNumbers(values.numbers, request.column.meaning, request.type),
        originals: values.numbers,
      };
    }
    const { texts } = values;
    const length = texts.starts.length;
    if (request.dictionary === undefined) return { is: 'texts', length, texts };
    return { is: 'codes', length, codes: encodeTexts(texts, request) };
  }

  /** Values as a data page has them. */
  addPage(values: Buffer, encoding: Encoding, dictionary: DecodedDictionary | undefined, presence: Presence, rows: number): void {
    if (encoding !== 'RLE_DICTIONARY' && encoding !== 'PLAIN_DICTIONARY') {
      this.addValues(readValues(values, encoding, presence.present, this.request.column), presence, rows);
      return;
    }
    if (dictionary === undefined) throw new RangeError('a page refers to a dictionary that is not there');
    const codes =
      presence.present === 0 ? new Int32Array(0) : decodeCodes(values, 1, values.length, values[0] ?? 0, presence.present);
    this.addCodes(codes, dictionary, presence, rows);
  }

  addCodes(codes: Int32Array, dictionary: DecodedDictionary, presence: Presence, rows: number): void {
    const wrong = firstOver(codes, dictionary.length);
    if (wrong >= 0)
      throw new RangeError(`a value refers to entry ${String(codes[wrong])} of a dictionary of ${String(dictionary.length)}`);
    switch (dictionary.is) {
      case 'texts':
        this.#addTexts(dictionary.texts, codes, presence, rows);
        return;
      case 'codes':
        this.#place(pick(dictionary.codes, 'int32', codes), presence, rows);
        return;
      case 'fixed': {
        const { bad } = dictionary;
        if (bad !== undefined)
          this.#refuse(
            codes.findIndex((code) => bad[code] === 1),
            (i) => dictionary.originals[codes[i] ?? 0],
            presence,
            rows,
            codes,
            bad,
          );
        this.#place(pick(dictionary.values, this.request.type, codes), presence, rows);
      }
    }
  }

  addValues(values: PageValues, presence: Presence, rows: number): void {
    if ('texts' in values) {
      if (this.request.dictionary === undefined) this.#addTexts(values.texts, undefined, presence, rows);
      else this.#place(encodeTexts(values.texts, this.request), presence, rows);
      return;
    }
    const { values: converted, bad } = convertNumbers(values.numbers, this.request.column.meaning, this.request.type);
    if (bad !== undefined) this.#refuse(bad.indexOf(1), (i) => values.numbers[i], presence, rows, undefined, bad);
    this.#place(converted, presence, rows);
  }

  finish(): ColumnData {
    const rows = this.#rows;
    const common = {
      type: this.request.type,
      rows,
      nullCount: this.#nulls,
      validity: this.#nulls === 0 ? undefined : this.#validity,
    };
    if (this.#offsets !== undefined) {
      const offsets = this.#offsets.subarray(0, rows + 1);
      return { ...common, offsets, values: this.#text.subarray(0, offsets[rows] ?? 0) };
    }
    const fixed = this.#fixed ?? new Uint8Array(0);
    if (this.request.type === 'bool') {
      const bits = new Uint8Array(bitBytes(rows));
      for (let i = 0; i < rows; i++) if (fixed[i] === 1) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
      return { ...common, values: bits };
    }
    const values = rows === fixed.length ? fixed : fixed.subarray(0, rows);
    const { dictionary } = this.request;
    return dictionary === undefined ? { ...common, values } : { ...common, values, dictionary: dictionary.snapshot() };
  }

  /** Throws for the first value from `first` on that does not fit and lies in the rows that are wanted. */
  #refuse(
    first: number,
    original: (i: number) => number | bigint | undefined,
    presence: Presence,
    rows: number,
    codes: Int32Array | undefined,
    bad: Uint8Array,
  ): void {
    if (first < 0) return;
    let value = 0;
    for (let i = 0; i < rows; i++) {
      if (presence.bits !== undefined && (((presence.bits[i >> 3] ?? 0) >> (i & 7)) & 1) === 0) continue;
      const slot = this.firstRow + this.#rows + i;
      const row = this.request.rowOf?.(slot) ?? slot;
      if (bad[codes === undefined ? value : (codes[value] ?? 0)] === 1 && row >= this.request.from && row < this.request.to) {
        const { column, groupStart, name, type } = this.request;
        throw new PodlineError(
          'PDL_COLUMN_TYPE',
          `${name}: row ${String(groupStart + row)} of column "${column.name}" is ${String(original(value))}, which does not fit ${type}`,
          {
            place: `${name}, row ${String(groupStart + row)}, column ${column.name}`,
          },
        );
      }
      value += 1;
    }
  }

  #present(presence: Presence, rows: number): void {
    if (presence.bits === undefined) {
      if (this.#validity !== undefined) setBits(this.#validity, this.#rows, this.#rows + rows);
      return;
    }
    if (this.#validity === undefined) {
      this.#validity = new Uint8Array(bitBytes(this.rowsMax));
      setBits(this.#validity, 0, this.#rows);
    }
    placeBits(this.#validity, this.#rows, presence.bits, rows);
    this.#nulls += rows - presence.present;
  }

  #place(values: FixedArray, presence: Presence, rows: number): void {
    this.#present(presence, rows);
    const fixed = this.#fixed as Float64Array;
    if (presence.bits === undefined) {
      fixed.set(values as Float64Array, this.#rows);
    } else if (presence.present > 0) {
      scatter(fixed.subarray(this.#rows, this.#rows + rows), values, presence.bits);
    }
    this.#rows += rows;
  }

  #addTexts(texts: Texts, codes: Int32Array | undefined, presence: Presence, rows: number): void {
    this.#present(presence, rows);
    const offsets = this.#offsets ?? new Int32Array(0);
    const { bytes, starts, ends } = texts;
    const count = codes?.length ?? starts.length;
    let at = offsets[this.#rows] ?? 0;
    let more = 0;
    for (let i = 0; i < count; i++) {
      const which = codes === undefined ? i : (codes[i] ?? 0);
      more += (ends[which] ?? 0) - (starts[which] ?? 0);
    }
    if (at + more > 0x7fffffff)
      throw new PodlineError(
        'PDL_FORMAT_UNSUPPORTED',
        `column "${this.request.column.name}" of ${this.request.name} has more than 2 GiB of text in one row group`,
        { hint: 'Write it with smaller row groups.' },
      );
    if (at + more > this.#text.length) {
      const grown = new Uint8Array(Math.max(at + more, Math.min(this.#text.length * 2, 0x7fffffff)));
      grown.set(this.#text.subarray(0, at));
      this.#text = grown;
    }
    const text = this.#text;
    let value = 0;
    for (let i = 0; i < rows; i++) {
      if (presence.bits === undefined || (((presence.bits[i >> 3] ?? 0) >> (i & 7)) & 1) === 1) {
        const which = codes === undefined ? value : (codes[value] ?? 0);
        const start = starts[which] ?? 0;
        const end = ends[which] ?? 0;
        if (end - start > 48) {
          text.set(bytes.subarray(start, end), at);
          at += end - start;
        } else {
          for (let b = start; b < end; b++) text[at++] = bytes[b] ?? 0;
        }
        value += 1;
      }
      offsets[this.#rows + i + 1] = at;
    }
    this.#rows += rows;
  }
}

function encodeTexts(texts: Texts, request: ChunkRequest): Int32Array {
  const codes = new Int32Array(texts.starts.length);
  for (let i = 0; i < codes.length; i++) {
    const start = texts.starts[i] ?? 0;
    const end = texts.ends[i] ?? 0;
    if (!isUtf8(texts.bytes.subarray(start, end))) throw notText(request);
    codes[i] = request.dictionary?.codeOf(texts.bytes, start, end) ?? 0;
  }
  return codes;
}

function firstOver(codes: Int32Array, length: number): number {
  for (let i = 0; i < codes.length; i++) if ((codes[i] ?? 0) >>> 0 >= length) return i;
  return -1;
}

type Bits = Uint8Array | Uint16Array | Int32Array;
/** The same bytes as unsigned units of the elements' width; 8-byte elements as pairs of int32. */
function asUnits(array: FixedArray): Bits {
  const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT: width } = array;
  if (width === 1) return new Uint8Array(buffer, byteOffset, byteLength);
  return width === 2 ? new Uint16Array(buffer, byteOffset, byteLength / 2) : new Int32Array(buffer, byteOffset, byteLength / 4);
}

/** The values of the dictionary that codes name. */
function pick(values: FixedArray, type: ColumnType, codes: Int32Array): FixedArray {
  const rows = new Uint32Array(codes.buffer, codes.byteOffset, codes.length);
  // A bool is a byte here.
  const column: ColumnData = { type: type === 'bool' ? 'uint8' : type, rows: values.length, nullCount: 0, values };
  return gather(column, rows).values as FixedArray;
}

/** Puts the values, in order, where a bit is set; what lies between stays 0. */
function scatter(into: FixedArray, values: FixedArray, bits: Uint8Array): void {
  const target = asUnits(into);
  const source = asUnits(values);
  const per = into.BYTES_PER_ELEMENT === 8 ? 2 : 1;
  let value = 0;
  for (let i = 0; i < into.length; i++) {
    if ((((bits[i >> 3] ?? 0) >> (i & 7)) & 1) === 0) continue;
    for (let unit = 0; unit < per; unit++) target[i * per + unit] = source[value * per + unit] ?? 0;
    value += 1;
  }
}
