import { describe, expect, it } from 'vitest';
import { column } from '../../../runtime/index.js';
import { columnOf } from '../../../runtime/stages/columns.js';
import { gather } from '../../../runtime/scratch/gather.js';
import { rowsOfMask } from '../../../runtime/stages/selection.js';

/** What a column holds after it has been a column of the scratch. */
const back = (built: { toData(): Parameters<typeof columnOf>[0] }) => columnOf(built.toData());
const values = (built: { rows: number; at(row: number): unknown }) =>
  Array.from({ length: built.rows }, (_, row) => built.at(row));

describe('columns', () => {
  it('give back the values that they were made from, with nulls', () => {
    expect(values(back(column.int16.from([1, null, -3])))).toEqual([1, null, -3]);
    expect(values(back(column.utf8.from(['a', null, '', 'žluť', '𝄞'])))).toEqual(['a', null, '', 'žluť', '𝄞']);
    expect(values(back(column.dictionary.from(['x', 'y', null, 'x'])))).toEqual(['x', 'y', null, 'x']);
    expect(values(back(column.bool.from([true, false, null, true, true, true, true, true, false])))).toEqual([
      true,
      false,
      null,
      true,
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  it('count no nulls and carry no validity where there are none', () => {
    expect(column.utf8.from(['a']).toData().validity).toBeUndefined();
    const built = column.float64(3, 'nullable');
    expect(built.nullCount).toBe(0);
    built.setNull(1);
    built.setNull(1);
    expect(built.nullCount).toBe(1);
    expect(values(back(built))).toEqual([0, null, 0]);
  });

  it('tell moments before and after 1970 to the millisecond, without bigints', () => {
    const moments = [
      0,
      -1,
      1,
      -86_400_000,
      Date.UTC(2001, 0, 13, 23, 59, 59, 999),
      8_640_000_000_000_000,
      -8_640_000_000_000_000,
    ];
    for (const make of [column.timestampMs, column.timestampUs]) {
      const within = moments.filter((ms) => Math.abs(ms) < 8e12);
      const built = back(make.fromMs(within));
      expect(values(built)).toEqual(within);
      expect([...(built as { toMs(): Float64Array }).toMs()]).toEqual(within);
    }
    expect(values(back(column.timestampMs.fromMs(moments)))).toEqual(moments);
    expect(column.timestampMs.fromMs([-1]).values[0]).toBe(-1n);
  });

  it('encode the words of a dictionary once for the same array of words', () => {
    const words = ['EWR', 'JFK'];
    const [one, two] = [column.dictionary.of(Int32Array.of(0, 1), words), column.dictionary.of(Int32Array.of(1), words)];
    expect(one.words).toBe(two.words);
    expect(values(column.dictionary.ofNullable(Int32Array.of(1, -1), words))).toEqual(['JFK', null]);
  });

  it('read int64 as numbers where asked to', () => {
    const built = column.int64(2);
    built.values.set([-5n, 9_007_199_254_740_991n]);
    expect([...built.toFloat64()]).toEqual([-5, 9_007_199_254_740_991]);
    expect(built.at(1)).toBe(9_007_199_254_740_991n);
  });
});

describe('gather', () => {
  it('picks rows of every kind of column, in the order asked for', () => {
    const rows = Uint32Array.of(3, 0, 2);
    const long = 'w'.repeat(100);
    const picked = (built: { toData(): Parameters<typeof columnOf>[0] }) => values(columnOf(gather(back(built).toData(), rows)));
    expect(picked(column.int32.from([1, 2, null, 4]))).toEqual([4, 1, null]);
    expect(picked(column.utf8.from(['a', 'bb', long, null]))).toEqual([null, 'a', long]);
    expect(picked(column.dictionary.from(['a', 'b', 'a', 'c']))).toEqual(['c', 'a', 'a']);
    expect(picked(column.bool.from([true, false, false, null]))).toEqual([null, true, false]);
    expect(picked(column.timestampMs.fromMs([1, 2, -3, 4]))).toEqual([4, 1, -3]);
    const big = column.uint64(4);
    big.values.set([1n, 2n, 2n ** 63n, 4n]);
    expect(picked(big)).toEqual([4n, 1n, 2n ** 63n]);
  });

  it('drops the validity where only rows with values are left', () => {
    const data = gather(column.int8.from([1, null, 3]).toData(), Uint32Array.of(0, 2));
    expect(data.nullCount).toBe(0);
    expect(data.validity).toBeUndefined();
  });

  it('reads a mask as row numbers', () => {
    expect([...rowsOfMask(Uint8Array.of(0, 1, 0, 255))]).toEqual([1, 3]);
  });
});
