/**
 * CSV as RFC 4180 has it, with `\n` as line end and a header. A null is an empty field, an empty string is `""`, so that the
 * two can be told apart. A list, which CSV has not, is its JSON.
 */
import type { ColumnData } from '../scratch/types.js';
import { cellWriter, type CellFormat, type CellWriter } from './cell-writers.js';
import type { Cell } from './cells.js';
import { jsonList } from './ndjson.js';
import { pieceOf, TextBuffer } from './text-buffer.js';

const mustQuote = /[",\r\n]|^$|^\s|\s$/;

export const csvField = (cell: Cell): string => {
  if (cell === null) return '';
  if (typeof cell !== 'string') return String(cell);
  return mustQuote.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
};

export const csvHeader = (columns: readonly string[]): string => `${columns.map(csvField).join(',')}\n`;

/** 1: a field with this byte is quoted. */
const quotes = Uint8Array.from({ length: 256 }, (_, byte) => (/[",\r\n]/.test(String.fromCharCode(byte)) ? 1 : 0));
/** White space of one byte; beyond ASCII, where there is more of it, a field is looked at as a string. */
const isPlain = (byte: number): boolean => byte > 0x20 && byte < 0x80;

const csvCells: CellFormat = {
  null: () => undefined,
  strange: (out, value) => {
    out.string(String(value));
  },
  text: (out, bytes, from, to) => {
    if (from === to) {
      out.quotedText(bytes, from, to);
      return;
    }
    if (!isPlain(bytes[from] ?? 0) || !isPlain(bytes[to - 1] ?? 0)) {
      out.string(csvField(Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString()));
      return;
    }
    let at = from;
    while (at < to && quotes[bytes[at] ?? 0] === 0) at += 1;
    if (at === to) out.plainText(bytes, from, to);
    else out.quotedText(bytes, from, to);
  },
  timeQuote: pieceOf(''),
  cell: csvField,
  list: csvList,
};

function csvList(out: TextBuffer, column: ColumnData): CellWriter {
  const json = new TextBuffer((bytes) => {
    csvCells.text(out, bytes, 0, bytes.length);
  }, 4096);
  const write = jsonList(json, column);
  return (row) => {
    write(row);
    json.drain();
  };
}

export function writeCsvBlock(out: TextBuffer, rows: number, columns: readonly ColumnData[]): void {
  const cells = columns.map((column) => cellWriter(out, column, csvCells));
  for (let row = 0; row < rows; row++) {
    for (let index = 0; index < cells.length; index++) {
      if (index > 0) out.byte(0x2c);
      cells[index]?.(row);
    }
    out.byte(0x0a);
    out.drainIfFull();
  }
  out.drain();
}
