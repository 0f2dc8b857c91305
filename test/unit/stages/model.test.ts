/** Chains of stages that filter, rename, reorder and copy, held against rows in plain arrays. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ColumnType } from '../../../runtime/contracts/block.js';
import { column, defineStage, type AnyColumn, type DefinedStage } from '../../../runtime/index.js';
import { columnOf } from '../../../runtime/stages/columns.js';
import { Shard } from './shard.js';

type Row = Record<string, unknown>;
interface Kind {
  type: ColumnType;
  value: fc.Arbitrary<unknown>;
  make(values: unknown[]): { toData(): ReturnType<AnyColumn['toData']> };
}

const kinds: Kind[] = [
  { type: 'int16', value: fc.integer({ min: -32768, max: 32767 }), make: (values) => column.int16.from(values as number[]) },
  { type: 'float64', value: fc.double({ noNaN: true }), make: (values) => column.float64.from(values as number[]) },
  { type: 'utf8', value: fc.string({ unit: 'binary', maxLength: 40 }), make: (values) => column.utf8.from(values as string[]) },
  { type: 'dictionary', value: fc.constantFrom('EWR', 'JFK', 'ž'), make: (values) => column.dictionary.from(values as string[]) },
  { type: 'bool', value: fc.boolean(), make: (values) => column.bool.from(values as boolean[]) },
  {
    type: 'timestamp[us]',
    value: fc.integer({ min: -1e12, max: 1e12 }),
    make: (values) => column.timestampUs.fromMs(values as number[]),
  },
  {
    type: 'list<float32>',
    value: fc.array(fc.option(fc.integer({ min: -100, max: 100 })), { maxLength: 5 }),
    make: (values) => column.list('float32').from(values as number[][]),
  },
  {
    type: 'list<utf8>',
    value: fc.array(fc.string({ maxLength: 6 }), { maxLength: 4 }),
    make: (values) => column.list('utf8').from(values as string[][]),
  },
];
const typeOf = Object.fromEntries(kinds.map(({ type }) => [`c_${type}`, type]));

/** One value of every kind in a row, any of them null. */
const rowsOf = fc.array(
  fc.record(Object.fromEntries(kinds.map(({ type, value }) => [`c_${type}`, fc.option(value, { freq: 4 })]))),
  {
    minLength: 1,
    maxLength: 60,
  },
);

/** A stage, and what it does to rows. */
interface Step {
  stage: DefinedStage;
  apply(rows: Row[]): Row[];
}
/** A plain object: by its content, fast-check tells whether it has met the same arguments before. */
type Types = Readonly<Record<string, ColumnType>>;
type MakeStep = (names: string[], rows: number, types: Types) => fc.Arbitrary<Step>;

const pickNames = (row: Row, names: readonly [string, string][]): Row =>
  Object.fromEntries(names.map(([to, from]) => [to, row[from]]));

/** Mostly few rows are dropped, sometimes most: so that both ways of filtering are taken. */
const masks = (rows: number) =>
  fc
    .tuple(
      fc.constantFrom(0.05, 0.3, 0.8),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: rows, maxLength: rows }),
    )
    .map(([share, chances]) => Uint8Array.from(chances, (chance) => (chance < share ? 0 : 1)));

const steps: MakeStep[] = [
  (_, rows) =>
    masks(rows).map((mask) => ({
      stage: defineStage({ block: () => ({ select: mask }) }),
      apply: (all) => all.filter((_row, index) => mask[index] === 1),
    })),
  (_, rows) =>
    fc.array(fc.nat({ max: rows - 1 }), { minLength: 1, maxLength: rows * 2 }).map((numbers) => ({
      stage: defineStage({ selections: true, block: () => ({ select: Uint32Array.from(numbers) }) }),
      apply: (all) => numbers.map((row) => all[row] ?? {}),
    })),
  (_, rows) =>
    masks(rows).map((mask) => {
      let at = 0;
      return {
        stage: defineStage({ row: () => mask[at++] === 1 }),
        apply: (all: Row[]) => all.filter((_row, index) => mask[index] === 1),
      };
    }),
  (names) =>
    fc.shuffledSubarray(names, { minLength: 1 }).map((keep) => ({
      stage: defineStage({ keep, block: () => ({}) }),
      apply: (all) =>
        all.map((row) =>
          pickNames(
            row,
            keep.map((name) => [name, name]),
          ),
        ),
    })),
  (names) =>
    fc.shuffledSubarray(names).map((moved) => {
      const rename = Object.fromEntries(moved.map((name, index) => [moved[(index + 1) % moved.length] ?? name, name]));
      const back = new Map(Object.entries(rename).map(([to, from]) => [from, to]));
      return {
        stage: defineStage({ rename, row: () => undefined }),
        apply: (all: Row[]) =>
          all.map((row) =>
            pickNames(
              row,
              names.map((name) => [back.get(name) ?? name, name]),
            ),
          ),
      };
    }),
  (names, _, types) =>
    fc.tuple(fc.constantFrom(...names), fc.boolean(), fc.boolean()).map(([name, selections, isCopied]) => ({
      stage: defineStage({
        output: { copy: { type: types[name] ?? 'int8', nullable: true } },
        selections,
        block(batch) {
          const found = batch.column(name);
          return { columns: { copy: (isCopied ? columnOf(found.toData()) : found) as never } };
        },
      }),
      apply: (all) => all.map((row) => ({ ...row, copy: row[name] })),
    })),
  (names, _, types) =>
    fc.constantFrom(...names.filter((name) => types[name] !== 'list<float32>')).map((name) => ({
      stage: defineStage({
        output: { copy: { type: types[name] ?? 'int8', nullable: true } },
        row(row, out) {
          out.copy = row[name] as never;
        },
      }),
      apply: (all) => all.map((row) => ({ ...row, copy: row[name] })),
    })),
];

describe('any chain of stages', () => {
  let shard: Shard;
  let runs = 0;
  beforeAll(async () => {
    shard = await Shard.open();
  });
  afterAll(() => shard.close());

  it('gives the rows that plain arrays give', async () => {
    await fc.assert(
      fc.asyncProperty(
        rowsOf,
        fc.array(fc.nat({ max: steps.length - 1 }), { minLength: 1, maxLength: 5 }),
        fc.gen(),
        async (rows, chosen, draw) => {
          const run = ++runs;
          let types: Types = typeOf;
          await shard.load(
            `in${run}`,
            Object.fromEntries(kinds.map(({ type, make }) => [`c_${type}`, make(rows.map((row) => row[`c_${type}`]))])),
          );
          let expected: Row[] = rows;
          let stream = `in${run}`;
          for (const [index, choice] of chosen.entries()) {
            if (expected.length === 0) break;
            let names = Object.keys(types);
            // Views of null items of numbers are not what this is about.
            if (names.every((name) => types[name] === 'list<float32>')) break;
            const step = draw(steps[choice] as MakeStep, names, expected.length, types);
            expected = step.apply(expected);
            await shard.run(`s${run}-${index}`, step.stage, [stream]);
            stream = `s${run}-${index}`;
            types = Object.fromEntries(shard.schema(stream).map((described) => described.split(' ') as [string, ColumnType]));
            names = Object.keys(types);
            expect(shard.rows(stream)).toEqual(expected);
            expect(names).toEqual(Object.keys(expected[0] ?? Object.fromEntries(names.map((name) => [name, 0]))));
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
