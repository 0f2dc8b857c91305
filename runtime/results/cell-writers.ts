/** Writers of cells: from a column and a row to the bytes of the text formats, JSON and CSV. */
import { isUtf8 } from 'node:buffer';
import type { ColumnData, Utf8Data } from '../scratch/types.js';
import { cellReader, isSet, type Cell } from './cells.js';
import { hasPlainYear, pieceOf, TextBuffer, type Piece } from './text-buffer.js';

export type CellWriter = (row: number) => void;

/** What a format does its own way. */
export interface CellFormat {
  null(out: TextBuffer): void;
  /** NaN and the infinities. */
  strange(out: TextBuffer, value: number): void;
  /** UTF-8 text. */
  text(out: TextBuffer, bytes: Uint8Array, from: number, to: number): void;
  /** ISO times and dates between this. */
  timeQuote: Piece;
  /** Any cell, for what has no faster way. */
  cell(cell: Cell): string;
  list(out: TextBuffer, column: ColumnData): CellWriter;
}

export function cellWriter(out: TextBuffer, column: ColumnData, format: CellFormat): CellWriter {
  const write = valueWriter(out, column, format);
  const { validity, nullCount } = column;
  if (validity === undefined || nullCount === 0) return write;
  return (row) => {
    if (isSet(validity, row)) write(row);
    else format.null(out);
  };
}

function valueWriter(out: TextBuffer, column: ColumnData, format: CellFormat): CellWriter {
  const { values, type, rows } = column;
  switch (type) {
    case 'int8':
    case 'int16':
    case 'int32':
    case 'uint8':
    case 'uint16':
    case 'uint32': {
      const numbers = asDoubles(values as Int32Array);
      return (row) => {
        out.integer(numbers[row] ?? 0);
      };
    }
    case 'float32':
    case 'float64': {
      const numbers = asDoubles(values as Float32Array);
      return (row) => {
        const value = numbers[row] ?? 0;
        if (value - value === 0) out.number(value);
        else format.strange(out, value);
      };
    }
    case 'int64':
    case 'uint64':
      return wideWriter(out, values as BigInt64Array | BigUint64Array);
    case 'bool': {
      const bits = values as Uint8Array;
      return (row) => {
        out.raw(isSet(bits, row) ? yes : no);
      };
    }
    case 'utf8': {
      const { offsets } = column;
      if (offsets === undefined || !isUtf8(values as Uint8Array)) return cellByCell(out, column, format);
      const bytes = values as Uint8Array;
      return (row) => {
        format.text(out, bytes, offsets[row] ?? 0, offsets[row + 1] ?? 0);
      };
    }
    case 'dictionary':
      return column.dictionary === undefined
        ? cellByCell(out, column, format)
        : dictionaryWriter(out, values as Int32Array, column.dictionary, format);
    case 'date32':
    case 'timestamp[ms]':
    case 'timestamp[us]':
      return timeWriter(out, column, format);
    default:
      return rows === 0 ? () => undefined : format.list(out, column);
  }
}

const yes = pieceOf('true');
const no = pieceOf('false');

/** One type of array, so that what writes numbers is compiled for one. */
const asDoubles = (values: ArrayLike<number>): Float64Array =>
  values instanceof Float64Array ? values : new Float64Array(values);

const cellByCell = (out: TextBuffer, column: ColumnData, format: CellFormat): CellWriter => {
  const read = cellReader(column);
  return (row) => {
    out.string(format.cell(read(row)));
  };
};

function wideWriter(out: TextBuffer, values: BigInt64Array | BigUint64Array): CellWriter {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const isSigned = values instanceof BigInt64Array;
  return (row) => {
    const top = halves[2 * row + 1] ?? 0;
    const value = (isSigned ? top : top >>> 0) * 4_294_967_296 + ((halves[2 * row] ?? 0) >>> 0);
    if (Number.isSafeInteger(value)) out.integer(value);
    else out.string(String(values[row]));
  };
}

/** Each entry as its format writes it, made once and kept while the dictionary is the same. */
function dictionaryWriter(out: TextBuffer, codes: Int32Array, dictionary: Utf8Data, format: CellFormat): CellWriter {
  const { offsets, values, length } = dictionary;
  if (!isUtf8(values) || length > codes.length) {
    const isText = isUtf8(values);
    return (row) => {
      const code = codes[row] ?? 0;
      const [from, to] = [offsets[code] ?? 0, offsets[code + 1] ?? 0];
      if (isText) format.text(out, values, from, to);
      else out.string(format.cell(Buffer.from(values.subarray(from, to)).toString()));
    };
  }
  const entries: Piece[] = [];
  const one = new TextBuffer((bytes) => entries.push(pieceOf(bytes)), 4096);
  for (let code = 0; code < length; code++) {
    format.text(one, values, offsets[code] ?? 0, offsets[code + 1] ?? 0);
    one.drain();
    // An empty field without quotes drains nothing.
    if (entries.length === code) entries.push(pieceOf(''));
  }
  return (row) => {
    const entry = entries[codes[row] ?? 0];
    if (entry !== undefined) out.raw(entry);
  };
}

function timeWriter(out: TextBuffer, column: ColumnData, format: CellFormat): CellWriter {
  const read = cellReader(column);
  const { timeQuote } = format;
  const odd = (row: number): void => {
    out.string(format.cell(read(row)));
  };
  if (column.type === 'date32') {
    const days = column.values as Int32Array;
    return (row) => {
      const day = days[row] ?? 0;
      if (!hasPlainYear(day)) return odd(row);
      out.raw(timeQuote);
      out.date(day);
      out.raw(timeQuote);
    };
  }
  const values = column.values as BigInt64Array;
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const perMs = column.type === 'timestamp[us]' ? 1000 : 1;
  return (row) => {
    const value = (halves[2 * row + 1] ?? 0) * 4_294_967_296 + ((halves[2 * row] ?? 0) >>> 0);
    const ms = Math.floor(value / perMs);
    if (!Number.isSafeInteger(value) || !hasPlainYear(Math.floor(ms / 86_400_000))) return odd(row);
    out.raw(timeQuote);
    out.time(ms, perMs === 1 ? undefined : value - ms * perMs);
    out.raw(timeQuote);
  };
}
