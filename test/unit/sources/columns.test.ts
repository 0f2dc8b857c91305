import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ColumnType } from '../../../runtime/contracts/block.js';
import { joinColumns, limitRows, reblock, sliceColumn, type Batch } from '../../../runtime/sources/columns.js';
import { columnOf, type Value } from '../scratch/helpers.js';
import { cellOf } from './helpers.js';

const value: Partial<Record<ColumnType, fc.Arbitrary<Value>>> = {
  int16: fc.integer({ min: -32768, max: 32767 }),
  float64: fc.double({ noNaN: true }),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  bool: fc.boolean(),
  utf8: fc.string({ unit: 'grapheme', maxLength: 5 }),
};
const column = fc
  .constantFrom(...(Object.keys(value) as ColumnType[]))
  .chain((type) => fc.tuple(fc.constant(type), fc.array(fc.option(value[type]!, { freq: 4 }), { minLength: 1, maxLength: 60 })));
const cells = (data: ReturnType<typeof columnOf>): unknown[] => Array.from({ length: data.rows }, (_, row) => cellOf(data, row));

describe('columns', () => {
  it('are cut and joined like arrays of their values', () => {
    fc.assert(
      fc.property(column, fc.nat(60), fc.nat(60), ([type, values], a, b) => {
        const [from, to] = [Math.min(a, b, values.length), Math.min(Math.max(a, b), values.length)];
        const whole = columnOf(type, values);
        const cut = sliceColumn(whole, from, to);
        expect(cells(cut)).toEqual(values.slice(from, to));
        expect(cut.nullCount).toBe(values.slice(from, to).filter((each) => each === null).length);
        const joined = joinColumns([sliceColumn(whole, 0, from), cut, sliceColumn(whole, to, values.length)]);
        expect(cells(joined)).toEqual(values);
        expect(joined.nullCount).toBe(whole.nullCount);
      }),
      { numRuns: 500 },
    );
  });

  it('come in blocks of one size, the last aside, however they came', async () => {
    await fc.assert(
      fc.asyncProperty(
        column,
        fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 30 }),
        fc.nat(30),
        async ([type, values], sizes, blockRows, skip) => {
          async function* batches(): AsyncGenerator<Batch> {
            let at = 0;
            for (const size of [...sizes, values.length]) {
              const part = values.slice(at, at + size);
              if (part.length > 0) yield { rows: part.length, columns: [columnOf(type, part)] };
              at += size;
            }
          }
          const blocks: Batch[] = [];
          for await (const block of reblock(limitRows(batches(), skip, Number.POSITIVE_INFINITY), blockRows)) blocks.push(block);
          expect(blocks.flatMap((block) => cells(block.columns[0]!))).toEqual(values.slice(skip));
          expect(blocks.slice(0, -1).every(({ rows }) => rows === blockRows)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });
});
