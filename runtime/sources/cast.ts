/** One column made into another type: widths of numbers, units of times, a dictionary spelled out. */
import type { ColumnType } from '../contracts/block.js';
import type { ColumnData } from '../scratch/types.js';
import { bitBytes, type FixedArray } from './columns.js';
import { narrow } from './narrow.js';

const isNumber = (type: ColumnType): boolean => /^u?int|^float/.test(type);
const isText = (type: ColumnType): boolean => type === 'utf8' || type === 'dictionary';
const perSecond: Partial<Record<ColumnType, bigint>> = { 'timestamp[ms]': 1_000n, 'timestamp[us]': 1_000_000n };
const secondsOfDay = 86_400n;

export function canCast(from: ColumnType, to: ColumnType): boolean {
  if (from === to) return true;
  if (isText(from)) return isText(to);
  if (isText(to)) return false;
  const isTime = (type: ColumnType): boolean => perSecond[type] !== undefined || type === 'date32';
  if (isTime(from)) return isTime(to) || to === 'int64';
  return (isNumber(from) || from === 'bool') && (isNumber(to) || (isNumber(from) && perSecond[to] !== undefined));
}

/** `to` as `canCast` allows, dictionaries aside. Throws what `misfit` makes of the first value that does not fit. Times are rounded down. */
export function castColumn(column: ColumnData, to: ColumnType, misfit: (row: number, value: string) => Error): ColumnData {
  if (column.type === to) return column;
  if (column.type === 'dictionary') return spellOut(column);
  const numbers = column.type === 'bool' ? unpackBits(column) : (column.values as FixedArray);
  const common = { type: to, rows: column.rows, nullCount: column.nullCount, validity: column.validity };
  if (column.type === 'date32' || perSecond[column.type] !== undefined) {
    const toUnits = perSecond[to];
    if (to === 'date32' || toUnits !== undefined) {
      const factor = column.type === 'date32' ? secondsOfDay : 1n;
      const divisor = (perSecond[column.type] ?? 1n) * (to === 'date32' ? secondsOfDay : 1n);
      const scaled = BigInt64Array.from({ length: column.rows }, (_, i) =>
        floorDivide(BigInt(numbers[i] ?? 0) * factor * (toUnits ?? 1n), divisor),
      );
      return { ...common, values: to === 'date32' ? narrow(scaled, 'int32').values : scaled };
    }
  }
  const { values, bad } = narrow(numbers, to);
  for (let i = 0; bad !== undefined && i < column.rows; i++) {
    const isNull = column.validity !== undefined && (((column.validity[i >> 3] ?? 0) >> (i & 7)) & 1) === 0;
    if (bad[i] === 1 && !isNull) throw misfit(i, String(numbers[i]));
  }
  return { ...common, values };
}

const floorDivide = (value: bigint, by: bigint): bigint => (value >= 0n ? value / by : -((-value + by - 1n) / by));

const unpackBits = (column: ColumnData): Uint8Array => {
  const bits = column.values as Uint8Array;
  return Uint8Array.from({ length: column.rows }, (_, i) => ((bits[i >> 3] ?? 0) >> (i & 7)) & 1);
};

function spellOut(column: ColumnData): ColumnData {
  const codes = column.values as Int32Array;
  const dictionary = column.dictionary ?? { length: 0, offsets: new Int32Array(1), values: new Uint8Array(0) };
  const offsets = new Int32Array(column.rows + 1);
  const validity = column.validity?.subarray(0, bitBytes(column.rows));
  const isNull = (i: number): boolean => validity !== undefined && (((validity[i >> 3] ?? 0) >> (i & 7)) & 1) === 0;
  for (let i = 0; i < column.rows; i++) {
    const code = codes[i] ?? 0;
    offsets[i + 1] = (offsets[i] ?? 0) + (isNull(i) ? 0 : (dictionary.offsets[code + 1] ?? 0) - (dictionary.offsets[code] ?? 0));
  }
  const values = new Uint8Array(offsets[column.rows] ?? 0);
  for (let i = 0; i < column.rows; i++) {
    const code = codes[i] ?? 0;
    if (!isNull(i))
      values.set(dictionary.values.subarray(dictionary.offsets[code], dictionary.offsets[code + 1]), offsets[i] ?? 0);
  }
  return { type: 'utf8', rows: column.rows, nullCount: column.nullCount, validity, offsets, values };
}
