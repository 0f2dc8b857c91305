/** The typed arrays of the types, and numbers on their way into 64-bit ones. */
import type { ColumnType } from '../contracts/block.js';
import { itemTypeOf, physicalTypes } from '../scratch/arrow/types.js';
import type { ArrayOf, NumberType, ValuesOf, ValuesType } from './columns.js';

/** Whether the values of a column of the type are the elements of one typed array. */
export const hasValues = (type: ColumnType): type is ValuesType =>
  type !== 'utf8' && type !== 'bool' && type !== 'dictionary' && itemTypeOf(type) === undefined;

export const arrayOfType = <T extends ValuesType>(type: T, length: number): ValuesOf[T] =>
  new physicalTypes[type].array(length) as ValuesOf[T];

export function numbersFrom<T extends NumberType>(type: T, values: ArrayLike<number | null>): ArrayOf[T] {
  const array = arrayOfType(type, values.length);
  for (let i = 0; i < values.length; i++) array[i] = values[i] ?? 0;
  return array;
}

/** Milliseconds since 1970 as 64-bit integers of 1/`perMs` ms, written as two halves: a bigint for each would cost ten times as much. */
export function int64FromMs(ms: ArrayLike<number | null>, perMs: number): BigInt64Array {
  const values = new BigInt64Array(ms.length);
  const halves = new Int32Array(values.buffer);
  for (let i = 0; i < ms.length; i++) {
    const value = Math.round((ms[i] ?? 0) * perMs);
    const high = Math.floor(value / 4294967296);
    halves[i * 2 + 1] = high;
    halves[i * 2] = value - high * 4294967296;
  }
  return values;
}
