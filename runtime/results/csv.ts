/**
 * CSV as RFC 4180 has it, with `\n` as line end and a header. A null is an empty field, an empty string is `""`, so that the
 * two can be told apart.
 */
import type { ColumnData } from '../scratch/types.js';
import { cellReader, type Cell } from './cells.js';
import type { FileSink } from './sink.js';

const mustQuote = /[",\r\n]|^$|^\s|\s$/;

export const csvField = (cell: Cell): string => {
  if (cell === null) return '';
  if (typeof cell !== 'string') return String(cell);
  return mustQuote.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
};

export const csvHeader = (columns: readonly string[]): string => `${columns.map(csvField).join(',')}\n`;

/** Rows that become one string before they are handed on. */
const rowsAtOnce = 4096;

export function writeCsvBlock(sink: FileSink, rows: number, columns: readonly ColumnData[]): void {
  const cells = columns.map(cellReader);
  for (let from = 0; from < rows; from += rowsAtOnce) {
    let text = '';
    for (let row = from; row < Math.min(rows, from + rowsAtOnce); row += 1) {
      for (let index = 0; index < cells.length; index += 1) {
        text += index === 0 ? '' : ',';
        text += csvField(cells[index]?.(row) ?? null);
      }
      text += '\n';
    }
    sink.write(text);
  }
}
