/** What the compiler lets an author of a stage do. Each `@ts-expect-error` is a mistake that must not compile. */
import { describe, expectTypeOf, it } from 'vitest';
import { column, defineStage, type DictionaryColumn, type NumberColumn } from '../../../runtime/index.js';

describe('types of a stage', () => {
  it('gives each declared column its class, and null only where it is nullable', () => {
    defineStage({
      input: { delay: 'int16', origin: { type: 'dictionary', nullable: true }, at: 'timestamp[ms]', id: 'int64' },
      output: { late: 'uint8', word: 'utf8', maybe: { type: 'float32', nullable: true } },
      parameters: { limit: 'number' },
      block(batch, ctx) {
        expectTypeOf(batch.columns.delay).toEqualTypeOf<NumberColumn<'int16'>>();
        expectTypeOf(batch.columns.delay.values).toEqualTypeOf<Int16Array>();
        expectTypeOf(batch.columns.delay.at(0)).toEqualTypeOf<number>();
        expectTypeOf(batch.columns.origin).toEqualTypeOf<DictionaryColumn<null>>();
        expectTypeOf(batch.columns.origin.at(0)).toEqualTypeOf<string | null>();
        expectTypeOf(batch.columns.at.at(0)).toEqualTypeOf<number>();
        expectTypeOf(batch.columns.id.at(0)).toEqualTypeOf<bigint>();
        expectTypeOf(ctx.parameters.limit).toEqualTypeOf<number>();
        // @ts-expect-error a column that was not declared
        expectTypeOf(batch.columns.nothing).toBeAny();
        return { columns: { late: new Uint8Array(batch.rows), word: ['x'], maybe: column.float32(batch.rows, 'nullable') } };
      },
    });
  });

  it('refuses an output of another type', () => {
    defineStage({
      output: { late: 'uint8' },
      // @ts-expect-error Int16Array is no uint8
      block: (batch) => ({ columns: { late: new Int16Array(batch.rows) } }),
    });
    defineStage({
      output: { late: 'uint8' },
      // @ts-expect-error an int16 column is no uint8
      block: (batch) => ({ columns: { late: column.int16(batch.rows) } }),
    });
    defineStage({
      output: { late: 'uint8' },
      // @ts-expect-error a nullable column where none may be null
      block: (batch) => ({ columns: { late: column.uint8(batch.rows, 'nullable') } }),
    });
  });

  it('refuses a missing column', () => {
    defineStage({
      output: { late: 'uint8', early: 'uint8' },
      // @ts-expect-error early is missing
      block: (batch) => ({ columns: { late: new Uint8Array(batch.rows) } }),
    });
  });

  it('refuses to set null on a column that has none', () => {
    // @ts-expect-error not a nullable column
    expectTypeOf(column.int32(1).setNull).toBeFunction();
  });

  it('types rows', () => {
    defineStage({
      input: { delay: { type: 'int16', nullable: true }, origin: 'dictionary' },
      output: { route: 'utf8', late: { type: 'bool', nullable: true } },
      row(row, out) {
        expectTypeOf(row.delay).toEqualTypeOf<number | null>();
        expectTypeOf(row.origin).toEqualTypeOf<string>();
        out.late = row.delay === null ? null : row.delay > 15;
        // @ts-expect-error a number is no string
        out.route = 1;
        out.route = row.origin;
        return row.origin !== '';
      },
    });
  });

  it('infers the state of an aggregation from its start', () => {
    defineStage({
      input: { delay: 'int16' },
      output: { sum: 'float64' },
      aggregate: {
        start: () => ({ sum: 0 }),
        add(state, batch) {
          expectTypeOf(state).toEqualTypeOf<{ sum: number }>();
          for (const value of batch.columns.delay.values) state.sum += value;
        },
        merge: (a, b) => ({ sum: a.sum + b.sum }),
        finish: (state) => ({ sum: Float64Array.of(state.sum) }),
      },
    });
  });

  it('refuses two forms in one stage', () => {
    const twice = () =>
      // @ts-expect-error two forms in one stage
      defineStage({ bytes: (chunk) => chunk, files: () => undefined });
    expectTypeOf(twice).toBeFunction();
  });
});
