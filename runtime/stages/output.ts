/**
 * The border at which a stage's answer is checked against what it declared, and becomes columns to commit.
 *
 * Throws PDL_STAGE_OUTPUT, which names stage, column, what was expected and what came.
 */
import type { BlockRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import { layColumns } from '../line/kept.js';
import { itemTypeOf, physicalTypes } from '../scratch/arrow/types.js';
import type { ColumnData, ColumnToWrite } from '../scratch/types.js';
import { BlockBatch } from './batch.js';
import { column as make } from './builders.js';
import { isColumn, valuesColumn, type AnyColumn } from './columns.js';
import type { Batch } from './define.js';
import { hasValues } from './number-arrays.js';
import { rowsOfMask, selectedColumns } from './selection.js';

export interface TableOutput {
  rows: number;
  columns: ColumnToWrite[];
}

type Spec = NonNullable<StageDeclaration['output']>[string];

/** What a block form returned for a block. */
export function tableOutput(
  stage: string,
  declaration: StageDeclaration,
  block: BlockRecord,
  batch: Batch,
  result: unknown,
): TableOutput {
  if (!isObject(result)) throw fault(stage, `an object with columns for block ${block.seq}`, describe(result));
  const own = result['columns'] ?? {};
  if (!isObject(own)) throw fault(stage, '`columns` as an object', describe(own));
  const { rows = block.rows, select } = result;
  if (select !== undefined) {
    const picked = selectedRows(stage, select, block.rows);
    // A filter that lets everything pass costs nothing.
    const count = picked === 'all' ? block.rows : picked.length;
    const kept = picked === 'all' ? keptColumns(declaration, block) : pickedColumns(declaration, block, batch, picked);
    return { rows: count, columns: [...kept, ...ownColumns(stage, declaration, own, count)] };
  }
  if (typeof rows !== 'number' || !Number.isInteger(rows) || rows < 0)
    throw fault(stage, '`rows` as a whole number', describe(rows));
  if (rows !== block.rows && declaration.keep !== 'none') {
    throw fault(
      stage,
      `${block.rows} rows, as the input columns that it keeps`,
      `${rows} rows`,
      "Use keep: 'none' to write other rows, or `select` to leave rows out.",
    );
  }
  return { rows, columns: [...keptColumns(declaration, block), ...ownColumns(stage, declaration, own, rows)] };
}

/** What an aggregation's `finish` returned: as many rows as its columns have. */
export function finalOutput(stage: string, declaration: StageDeclaration, result: unknown): TableOutput {
  if (!isObject(result)) throw fault(stage, 'an object of columns from finish', describe(result));
  const first = Object.values(result)[0];
  const rows = isColumn(first) ? first.rows : ((first as ArrayLike<unknown> | undefined)?.length ?? 0);
  return { rows, columns: ownColumns(stage, declaration, result, rows) };
}

/** The columns of the input that go on, all their rows: references. The scratch orders columns by the schema of the stream. */
export function keptColumns(declaration: StageDeclaration, block: BlockRecord): ColumnToWrite[] {
  const refs = new Map(block.columns.map((ref) => [ref.name, ref]));
  return layColumns(declaration, [...refs.keys()]).columns.flatMap(({ name, from }) => {
    const ref = from === undefined ? undefined : refs.get(from);
    return ref === undefined ? [] : [{ name, ref }];
  });
}

/** The same for some rows: their numbers or copies of them, whichever is cheaper. */
export function pickedColumns(
  declaration: StageDeclaration,
  block: BlockRecord,
  batch: Batch,
  rows: Uint32Array,
): ColumnToWrite[] {
  const kept = keptColumns(declaration, block).filter((column) => 'ref' in column);
  const selected = selectedColumns([...new Set(kept.map(({ ref }) => ref))], block.rows, rows.length);
  // Of a column that was given back there is nothing to copy.
  return kept.map(({ name, ref }): ColumnToWrite =>
    selected.has(ref) || ref.freed === true ? { name, ref, select: rows } : { name, data: pick(batch, ref.name, rows) },
  );
}

const pick = (batch: Batch, name: string, rows: Uint32Array): ColumnData =>
  batch instanceof BlockBatch ? batch.pick(name, rows) : batch.column(name).pick(rows);

function ownColumns(stage: string, declaration: StageDeclaration, given: Record<string, unknown>, rows: number): ColumnToWrite[] {
  const wanted = declaration.output ?? {};
  const stray = Object.keys(given).find((name) => wanted[name] === undefined);
  if (stray !== undefined)
    throw fault(
      stage,
      `the columns ${Object.keys(wanted).join(', ') || 'none'}`,
      `a column ${stray}`,
      'Declare it under `output`.',
    );
  return Object.entries(wanted).map(([name, spec]) => {
    const value = given[name];
    const committed = isColumn(value) && value.type === spec.type ? value.ref : undefined;
    // Under a selection, nulls may lie among rows that are not of the block.
    const isPlain = committed?.selection === undefined || committed.nullCount === 0 || spec.nullable === true;
    if (committed !== undefined && isPlain && (value as AnyColumn).rows === rows) {
      checkNullable(stage, name, spec, value as AnyColumn);
      return { name, ref: { ...committed, name } };
    }
    const column = columnFrom(stage, name, spec, value);
    if (column.rows !== rows) throw fault(`${stage}.${name}`, `${rows} rows`, `${column.rows} rows`);
    checkNullable(stage, name, spec, column);
    return { name, data: column.toData() };
  });
}

function checkNullable(stage: string, name: string, spec: Spec, column: AnyColumn): void {
  const inItems = 'items' in column ? column.items.nullCount : 0;
  if (spec.nullable === true || (column.nullCount === 0 && inItems === 0)) return;
  throw fault(
    `${stage}.${name}`,
    `${spec.type} without nulls`,
    column.nullCount > 0 ? `${column.nullCount} nulls` : `${inItems} nulls in its lists`,
    `Declare it as { type: '${spec.type}', nullable: true }.`,
  );
}

/** A column of the declared type, made where the stage returned a typed array or a list of values. */
function columnFrom(stage: string, name: string, { type }: Spec, value: unknown): AnyColumn {
  const place = `${stage}.${name}`;
  if (isColumn(value)) {
    if (value.type !== type) throw fault(place, type, `a column of ${value.type}`);
    return value;
  }
  if (value === undefined) throw fault(place, type, 'nothing');
  const items = itemTypeOf(type);
  if (items !== undefined) {
    if (isListOf(value, isListLike)) return make.list(items).from(value as never);
  } else if (type === 'utf8' || type === 'dictionary') {
    if (isListOf(value, (item) => typeof item === 'string')) return make[type].from(value);
  } else if (type === 'bool') {
    if (isListOf(value, (item) => typeof item === 'boolean')) return make.bool.from(value);
  } else if (hasValues(type) && value instanceof physicalTypes[type].array) {
    // Uint8ClampedArray and Buffer are told from Uint8Array by what they are made of, which is the same: bytes.
    return valuesColumn(type, value);
  }
  throw fault(place, type, describe(value));
}

const isListLike = (value: unknown): value is unknown[] => Array.isArray(value) || ArrayBuffer.isView(value);

const isListOf = <T>(value: unknown, isItem: (item: unknown) => item is T): value is (T | null)[] =>
  Array.isArray(value) && value.every((item) => item === null || isItem(item));

/** `all` where the mask leaves nothing out. */
function selectedRows(stage: string, select: unknown, rows: number): Uint32Array | 'all' {
  if (select instanceof Uint32Array) {
    for (const row of select) if (row >= rows) throw fault(stage, `row numbers below ${rows} in \`select\``, `row ${row}`);
    return select;
  }
  if (select instanceof Uint8Array) {
    if (select.length !== rows) throw fault(stage, `a mask of ${rows} rows in \`select\``, `one of ${select.length}`);
    const picked = rowsOfMask(select);
    return picked.length === rows ? 'all' : picked;
  }
  throw fault(stage, '`select` as a Uint32Array of row numbers or a Uint8Array mask', describe(select));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

export function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (ArrayBuffer.isView(value) || Array.isArray(value))
    return `${value.constructor.name} of ${(value as unknown as ArrayLike<unknown>).length}`;
  if (typeof value === 'object') return `an object with ${Object.keys(value).slice(0, 8).join(', ') || 'nothing'}`;
  return `a ${typeof value}`;
}

export function fault(place: string, expected: string, got: string, hint?: string): PodlineError {
  return new PodlineError('PDL_STAGE_OUTPUT', `${place} must give ${expected}, but gave ${got}`, { place, hint });
}
