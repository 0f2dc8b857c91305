/** What the compiler lets an author of a stage do. Each `@ts-expect-error` is a mistake that must not compile. */
import { describe, expectTypeOf, it } from 'vitest';
import { column, defineStage, type DictionaryColumn, type ListColumn, type NumberColumn } from '../../../runtime/index.js';

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

  it('types lists by their items', () => {
    defineStage({
      input: { vector: 'list<float32>', tags: { type: 'list<utf8>', nullable: true }, at: 'list<timestamp[ms]>' },
      output: { lengths: 'list<uint8>', words: { type: 'list<utf8>', nullable: true } },
      block(batch) {
        const { vector, tags, at } = batch.columns;
        expectTypeOf(vector).toEqualTypeOf<ListColumn<'float32'>>();
        expectTypeOf(vector.at(0)).toEqualTypeOf<Float32Array>();
        expectTypeOf(vector.items.values).toEqualTypeOf<Float32Array>();
        expectTypeOf(tags.at(0)).toEqualTypeOf<readonly (string | null)[] | null>();
        expectTypeOf(at.at(0)).toEqualTypeOf<Float64Array>();
        expectTypeOf(vector.toArray(0)).toEqualTypeOf<number[]>();
        expectTypeOf(vector.selection).toEqualTypeOf<Uint32Array | undefined>();
        return { columns: { lengths: [[1], Uint8Array.of(2)], words: [null, ['a', null]] } };
      },
    });
    defineStage({
      input: { vector: 'list<float32>' },
      output: { copy: 'list<float32>', words: 'list<utf8>' },
      row(row, out) {
        expectTypeOf(row.vector).toEqualTypeOf<Float32Array>();
        out.copy = row.vector;
        out.words = ['a'];
        // @ts-expect-error a text is no list of texts
        out.words = 'a';
      },
    });
    defineStage({
      output: { words: 'list<utf8>' },
      // @ts-expect-error numbers are no texts
      block: () => ({ columns: { words: column.list('int32').from([[1]]) } }),
    });
    // @ts-expect-error texts have no fixed size
    expectTypeOf(column.list('utf8').fixed).toBeFunction();
  });

  it('gives room to stages of bytes, and to no others', () => {
    defineStage({
      bytes(chunk, ctx) {
        expectTypeOf(ctx.allocate(chunk.length)).toEqualTypeOf<Uint8Array>();
        return chunk;
      },
    });
    defineStage({
      block(_, ctx) {
        // @ts-expect-error columns are not allocated
        expectTypeOf(ctx.allocate).toBeFunction();
        return {};
      },
    });
  });

  it('refuses what is not said so', () => {
    // @ts-expect-error a slip of the pen in a name
    defineStage({ ouput: { late: 'uint8' }, block: () => ({}) });
    // @ts-expect-error an aggregation keeps no column
    defineStage({
      keep: ['a'],
      output: { n: 'int8' },
      aggregate: { start: () => 0, add: () => 0, merge: () => 0, finish: () => ({ n: Int8Array.of(0) }) },
    });
  });
});
