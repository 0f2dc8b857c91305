/** NDJSON: an object per row and line. Whole numbers of 64 bits are written with all their digits; NaN and infinities, which JSON has not, are null. */
import type { ColumnData } from '../scratch/types.js';
import { cellReader, type Cell } from './cells.js';
import type { FileSink } from './sink.js';

const rowsAtOnce = 4096;

function jsonValue(cell: Cell): string {
  if (typeof cell === 'number') return Number.isFinite(cell) ? String(cell) : 'null';
  return typeof cell === 'string' ? JSON.stringify(cell) : String(cell);
}

export function writeNdjsonBlock(sink: FileSink, rows: number, columns: ReadonlyMap<string, ColumnData>): void {
  const cells = [...columns].map(([name, column]) => ({ label: `${JSON.stringify(name)}:`, at: cellReader(column) }));
  for (let from = 0; from < rows; from += rowsAtOnce) {
    let text = '';
    for (let row = from; row < Math.min(rows, from + rowsAtOnce); row += 1) {
      let line = '{';
      for (const { label, at } of cells) line += (line === '{' ? '' : ',') + label + jsonValue(at(row));
      text += `${line}}\n`;
    }
    sink.write(text);
  }
}
