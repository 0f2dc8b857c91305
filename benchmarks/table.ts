/** A block of rows outside of a scratch: what travels between the stages of the baselines. */
import type { BlockRecord, ColumnRef, ColumnSchema } from '../runtime/contracts/block.js';
import type { ColumnData } from '../runtime/scratch/types.js';
import { columnOf, type AnyColumn } from '../runtime/stages/columns.js';
import type { Batch } from '../runtime/stages/define.js';

export interface Table {
  rows: number;
  columns: Map<string, ColumnData>;
}

/** Columns of several tables with the same rows side by side; of one name, the first. */
export function zipTables(tables: readonly Table[]): Table {
  const [first] = tables;
  if (first === undefined) throw new RangeError('nothing to zip');
  const columns = new Map<string, ColumnData>();
  for (const table of tables) {
    if (table.rows !== first.rows) throw new Error(`the branches do not match: ${first.rows} rows and ${table.rows}`);
    for (const [name, data] of table.columns) if (!columns.has(name)) columns.set(name, data);
  }
  return { rows: first.rows, columns };
}

/** The columns of a schema, in its order. */
export const columnsOf = (table: Table, schema: readonly ColumnSchema[]): ColumnData[] =>
  schema.map(({ name }) => {
    const data = table.columns.get(name);
    if (data === undefined) throw new Error(`there is no column ${name}; there are ${[...table.columns.keys()].join(', ')}`);
    return data;
  });

/** As a stage sees it. */
export function batchOf(table: Table, index: number): Batch {
  const made = new Map<string, AnyColumn>();
  const column = (name: string): AnyColumn => {
    let found = made.get(name);
    if (found === undefined) {
      const data = table.columns.get(name);
      if (data === undefined) throw new Error(`block ${index} has no column ${name}`);
      made.set(name, (found = columnOf(data)));
    }
    return found;
  };
  const columns = {};
  for (const name of table.columns.keys()) Object.defineProperty(columns, name, { enumerable: true, get: () => column(name) });
  return { rows: table.rows, index, names: [...table.columns.keys()], columns, column };
}

/** A record of it for the code that checks a stage's answer: references that name the column and nothing else. */
export const recordOf = (table: Table, seq: number): BlockRecord => ({
  seq,
  rows: table.rows,
  columns: [...table.columns].map(([name, { type, nullCount }]): ColumnRef => ({
    name,
    type,
    nullCount,
    values: { segment: name, offset: 0, length: 0 },
  })),
});
