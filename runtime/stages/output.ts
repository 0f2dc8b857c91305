/**
 * The border at which a stage's answer is checked against what it declared, and becomes columns to commit.
 *
 * Throws PDL_STAGE_OUTPUT, which names stage, column, what was expected and what came.
 */
import type { BlockRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { StageDeclaration } from '../contracts/manifest.js';
import type { ColumnData, ColumnToWrite } from '../scratch/types.js';
import { column as make } from './builders.js';
import { isColumn, type NumberType } from './columns.js';
import type { Batch } from './define.js';
import { gather, rowsOfMask } from './gather.js';
import { isKept } from './schema.js';

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
  const { rows, select } = result;
  if (select !== undefined) {
    const picked = selectedRows(stage, select, block.rows);
    // A filter that lets everything pass costs nothing.
    const rest = picked === 'all' ? sameRows(declaration, block) : gatheredRows(declaration, block, batch, picked);
    const count = picked === 'all' ? block.rows : picked.length;
    return { rows: count, columns: merge(rest, ownColumns(stage, declaration, own, count)) };
  }
  if (rows !== undefined && rows !== block.rows) {
    if (typeof rows !== 'number' || !Number.isInteger(rows) || rows < 0)
      throw fault(stage, '`rows` as a whole number', describe(rows));
    if (declaration.keep !== 'none') {
      throw fault(
        stage,
        `${block.rows} rows, as the input columns that it keeps`,
        `${rows} rows`,
        "Use keep: 'none' to write other rows, or `select` to leave rows out.",
      );
    }
    return { rows, columns: ownColumns(stage, declaration, own, rows) };
  }
  return { rows: block.rows, columns: merge(sameRows(declaration, block), ownColumns(stage, declaration, own, block.rows)) };
}

/** What an aggregation's `finish` returned: as many rows as its columns have. */
export function finalOutput(stage: string, declaration: StageDeclaration, result: unknown): TableOutput {
  if (!isObject(result)) throw fault(stage, 'an object of columns from finish', describe(result));
  const first = Object.values(result)[0];
  const rows = isColumn(first) ? first.rows : ((first as ArrayLike<unknown> | undefined)?.length ?? 0);
  return { rows, columns: ownColumns(stage, declaration, result, rows) };
}

/** Kept input columns for the rows named, copied; for all rows, by reference. */
export const sameRows = ({ keep }: StageDeclaration, block: BlockRecord): ColumnToWrite[] =>
  block.columns.filter((ref) => isKept(keep, ref.name)).map((ref) => ({ name: ref.name, ref }));

export const gatheredRows = (
  { keep, output }: StageDeclaration,
  block: BlockRecord,
  batch: Batch,
  rows: Uint32Array,
): ColumnToWrite[] =>
  block.columns
    .filter((ref) => isKept(keep, ref.name) && output?.[ref.name] === undefined)
    .map(({ name }) => ({ name, data: gather(batch.column(name), rows) }));

/** Kept columns, each replaced where the stage wrote one of its name, then the stage's own: the order of `outputSchema`. */
export function merge(kept: readonly ColumnToWrite[], own: readonly ColumnToWrite[]): ColumnToWrite[] {
  if (own.length === 0) return [...kept];
  const byName = new Map([...kept, ...own].map((column) => [column.name, column]));
  return [...byName.values()];
}

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
    if (isColumn(value) && value.ref !== undefined && value.type === spec.type && value.rows === rows) {
      checkNullable(stage, name, spec, value.nullCount);
      return { name, ref: { ...value.ref, name } };
    }
    const data = columnData(stage, name, spec, value);
    if (data.rows !== rows) throw fault(`${stage}.${name}`, `${rows} rows`, `${data.rows} rows`);
    checkNullable(stage, name, spec, data.nullCount);
    return { name, data };
  });
}

function checkNullable(stage: string, name: string, spec: Spec, nullCount: number): void {
  if (nullCount > 0 && spec.nullable !== true) {
    throw fault(
      `${stage}.${name}`,
      `${spec.type} without nulls`,
      `${nullCount} nulls`,
      `Declare it as { type: '${spec.type}', nullable: true }.`,
    );
  }
}

const numberArrays: Record<NumberType, { new (length: number): ArrayBufferView }> = {
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
};

function columnData(stage: string, name: string, { type }: Spec, value: unknown): ColumnData {
  const place = `${stage}.${name}`;
  if (isColumn(value)) {
    if (value.type !== type) throw fault(place, type, `a column of ${value.type}`);
    return value.toData();
  }
  if (value === undefined) throw fault(place, type, 'nothing');
  const bare = (array: ArrayBufferView & { length: number }): ColumnData => ({
    type,
    rows: array.length,
    nullCount: 0,
    values: array,
  });
  switch (type) {
    case 'utf8':
    case 'dictionary':
      if (isListOf(value, 'string')) return make[type].from(value as (string | null)[]).toData();
      break;
    case 'bool':
      if (isListOf(value, 'boolean')) return make.bool.from(value as (boolean | null)[]).toData();
      break;
    case 'int64':
    case 'timestamp[ms]':
    case 'timestamp[us]':
      if (value instanceof BigInt64Array) return bare(value);
      break;
    case 'uint64':
      if (value instanceof BigUint64Array) return bare(value);
      break;
    case 'date32':
      if (value instanceof Int32Array) return bare(value);
      break;
    default:
      // Uint8ClampedArray and Buffer are told from Uint8Array by what they are made of, which is the same: bytes.
      if (value instanceof numberArrays[type]) return bare(value as ArrayBufferView & { length: number });
  }
  throw fault(place, type, describe(value));
}

function isListOf(value: unknown, type: 'string' | 'boolean'): boolean {
  return Array.isArray(value) && value.every((item) => item === null || typeof item === type);
}

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
