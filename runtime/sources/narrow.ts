/** Numbers of one width put into another, each checked: what does not fit is marked, never wrapped or rounded away. */
import type { ColumnType } from '../contracts/block.js';
import { fixedArray, type FixedArray } from './columns.js';

/** Smallest and largest integer of each integer type that a double holds exactly. */
export const integerRange: Partial<Record<ColumnType, readonly [number, number]>> = {
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  int32: [-2_147_483_648, 2_147_483_647],
  uint8: [0, 255],
  uint16: [0, 65_535],
  uint32: [0, 4_294_967_295],
};

/**
 * Marks in `bad` what is out of range or, for integer types, no integer. bool: bytes of 0 or 1. int64 and timestamps
 * share their bits. float64 to float32 rounds, as that is what the type means.
 */
export function narrow(numbers: FixedArray, type: ColumnType): { values: FixedArray; bad: Uint8Array | undefined } {
  const wanted = type === 'bool' ? new Uint8Array(0) : fixedArray(type, 0);
  if (numbers.constructor === wanted.constructor) return { values: numbers, bad: undefined };
  let bad: Uint8Array | undefined;
  const mark = (i: number): void => {
    bad ??= new Uint8Array(numbers.length);
    bad[i] = 1;
  };
  if (wanted instanceof BigInt64Array || wanted instanceof BigUint64Array) {
    const values = wanted instanceof BigInt64Array ? new BigInt64Array(numbers.length) : new BigUint64Array(numbers.length);
    const [low, high] = wanted instanceof BigInt64Array ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i] ?? 0;
      if (typeof number === 'number' && !Number.isInteger(number)) {
        mark(i);
        continue;
      }
      const value = BigInt(number);
      if (value < low || value > high) mark(i);
      else values[i] = value;
    }
    return { values, bad };
  }
  const values = type === 'bool' ? new Uint8Array(numbers.length) : (fixedArray(type, numbers.length) as Float64Array);
  const range = type === 'bool' ? ([0, 1] as const) : integerRange[type];
  if (numbers instanceof BigInt64Array || numbers instanceof BigUint64Array) {
    // Both halves of each 64-bit number, so that no BigInt is made per value.
    const halves = new Int32Array(numbers.buffer, numbers.byteOffset, numbers.length * 2);
    const signed = numbers instanceof BigInt64Array;
    for (let i = 0; i < numbers.length; i++) {
      const top = halves[2 * i + 1] ?? 0;
      const value = (signed ? top : top >>> 0) * 4_294_967_296 + ((halves[2 * i] ?? 0) >>> 0);
      if (range === undefined ? Math.abs(value) > Number.MAX_SAFE_INTEGER : value < range[0] || value > range[1]) mark(i);
      else values[i] = value;
    }
    return { values, bad };
  }
  for (let i = 0; i < numbers.length; i++) {
    const value = numbers[i] ?? 0;
    if (range !== undefined && (!Number.isInteger(value) || value < range[0] || value > range[1])) mark(i);
    else values[i] = value;
  }
  return { values, bad };
}
