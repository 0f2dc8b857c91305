/**
 * NDJSON: an object per row and line, from columns to bytes. Whole numbers of 64 bits are written with all their digits; NaN and infinities,
 * which JSON has not, are null; lists are arrays.
 */
import type { ColumnData } from '../scratch/types.js';
import { cellWriter, type CellFormat, type CellWriter } from './cell-writers.js';
import type { Cell } from './cells.js';
import { pieceOf, type TextBuffer } from './text-buffer.js';

const nullWord = pieceOf('null');

function jsonValue(cell: Cell): string {
  if (typeof cell === 'number') return Number.isFinite(cell) ? String(cell) : 'null';
  return typeof cell === 'string' ? JSON.stringify(cell) : String(cell);
}

export const jsonCells: CellFormat = {
  null: (out) => {
    out.raw(nullWord);
  },
  strange: (out) => {
    out.raw(nullWord);
  },
  text: (out, bytes, from, to) => {
    out.jsonText(bytes, from, to);
  },
  timeQuote: pieceOf('"'),
  cell: jsonValue,
  list: jsonList,
};

/** `[1,null,3]` */
export function jsonList(out: TextBuffer, column: ColumnData): CellWriter {
  const { offsets, items } = column;
  if (offsets === undefined || items === undefined) return () => undefined;
  const item = cellWriter(out, items, jsonCells);
  return (row) => {
    const from = offsets[row] ?? 0;
    const to = offsets[row + 1] ?? 0;
    out.byte(0x5b);
    for (let i = from; i < to; i++) {
      if (i > from) out.byte(0x2c);
      item(i);
    }
    out.byte(0x5d);
  };
}

export function writeNdjsonBlock(out: TextBuffer, rows: number, columns: ReadonlyMap<string, ColumnData>): void {
  const cells = [...columns].map(([name, column], index) => ({
    label: pieceOf(`${index === 0 ? '{' : ','}${JSON.stringify(name)}:`),
    write: cellWriter(out, column, jsonCells),
  }));
  const end = pieceOf(cells.length === 0 ? '{}\n' : '}\n');
  for (let row = 0; row < rows; row++) {
    for (const { label, write } of cells) {
      out.raw(label);
      write(row);
    }
    out.raw(end);
    out.drainIfFull();
  }
  out.drain();
}
