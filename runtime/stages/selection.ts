/**
 * Row numbers as filters give them, and the rule by which a filter writes them instead of rows.
 *
 * Gathering writes the rows that stay. A selection writes their numbers only, but keeps the dropped rows' bytes alive for as long as
 * anything reads the column. Both are bytes of the scratch, and the cheaper of the two is taken.
 */
import type { ArrayRef, ColumnRef } from '../contracts/block.js';

/** Row numbers of the ones in a mask with a byte for each row. */
export function rowsOfMask(mask: Uint8Array): Uint32Array {
  let count = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0) count++;
  const rows = new Uint32Array(count);
  for (let i = 0, at = 0; i < mask.length; i++) if (mask[i] !== 0) rows[at++] = i;
  return rows;
}

/** `rows` of a selection, as rows of what was selected from. */
export function composed(selection: Uint32Array, rows: Uint32Array): Uint32Array {
  const out = new Uint32Array(rows.length);
  for (let i = 0; i < rows.length; i++) out[i] = selection[rows[i]!]!;
  return out;
}

const rowNumberBytes = 4;

/** Whether columns are cheaper to select from than to gather: what is written and what is kept alive, against what is written. */
export const isSelectionCheaper = (columns: { rowsKept: number; rowsBelow: number; bytesPerRow: number }): boolean => {
  const { rowsKept, rowsBelow, bytesPerRow } = columns;
  const dropped = Math.max(0, rowsBelow - rowsKept) * bytesPerRow;
  return rowsKept * rowNumberBytes + dropped < rowsKept * bytesPerRow;
};

/**
 * Those of a block's columns that a filter should select from. Columns that lie under the same selection already share the row numbers
 * that are written for them, and are judged together: many narrow columns are worth what one wide one is.
 */
export function selectedColumns(columns: readonly ColumnRef[], rows: number, rowsKept: number): Set<ColumnRef> {
  const groups = new Map<string, { below: number; bytes: number; columns: ColumnRef[] }>();
  for (const ref of columns) {
    const under = ref.selection?.indices;
    const key = under === undefined ? '' : `${under.segment}:${under.offset}`;
    const group = groups.get(key) ?? { below: ref.selection?.rows ?? rows, bytes: 0, columns: [] };
    groups.set(key, group);
    group.bytes += bytesOf(ref) + (ref.items === undefined ? 0 : bytesOf(ref.items));
    group.columns.push(ref);
  }
  const chosen = [...groups.values()].filter(({ below, bytes }) =>
    isSelectionCheaper({ rowsKept, rowsBelow: below, bytesPerRow: below === 0 ? 0 : bytes / below }),
  );
  return new Set(chosen.flatMap((group) => group.columns));
}

const bytesOf = ({ values, offsets, validity }: ArrayRef): number =>
  values.length + (offsets?.length ?? 0) + (validity?.length ?? 0);
