/** What the compiler sees of a graph. Each `@ts-expect-error` is a graph that must not compile; vitest runs it, `tsc` is the test. */
import { describe, expect, expectTypeOf, it } from 'vitest';
import { checkGraph, defineStage, type ColumnsOf } from '../../../runtime/index.js';

const input = { date: 'timestamp[ms]', delay: { type: 'int16', nullable: true }, origin: 'dictionary' } as const;
const clean = defineStage({
  input: { delay: { type: 'int16', nullable: true } },
  row: (row) => row.delay !== null,
});
const features = defineStage({
  input: { delay: 'int16' },
  output: { late: 'uint8' },
  block: (batch) => ({ columns: { late: new Uint8Array(batch.rows) } }),
});
const airports = defineStage({
  input: { origin: 'dictionary' },
  output: { state: 'dictionary', place: 'list<float32>' },
  block: (batch) => ({
    columns: { state: Array.from({ length: batch.rows }, () => ''), place: Array.from({ length: batch.rows }, () => [1, 2]) },
  }),
});
const count = defineStage({
  input: { state: 'dictionary', late: 'uint8' },
  output: { state: 'utf8', flights: 'int32' },
  aggregate: {
    start: () => 0,
    add: (state) => state + 1,
    merge: (a, b) => a + b,
    finish: () => ({ state: [], flights: new Int32Array() }),
  },
});
const report = defineStage({ files: () => ({ 'report.txt': '' }) });
const zip = defineStage({ bytes: (chunk) => chunk });

describe('checkGraph', () => {
  it('knows the columns that each stage writes', () => {
    const graph = checkGraph({
      input,
      stages: {
        clean: { stage: clean },
        airports: { stage: airports, after: ['clean'] },
        features: { stage: features, after: ['clean'] },
        count: { stage: count, after: ['airports', 'features'] },
        report: { stage: report, after: ['count', 'clean'] },
      },
    });
    expectTypeOf<ColumnsOf<typeof graph, 'clean'>>().toEqualTypeOf<{
      readonly date: 'timestamp[ms]';
      readonly delay: 'int16';
      readonly origin: 'dictionary';
    }>();
    expectTypeOf<ColumnsOf<typeof graph, 'airports'>['place']>().toEqualTypeOf<'list<float32>'>();
    expectTypeOf<ColumnsOf<typeof graph, 'count'>>().toEqualTypeOf<{ readonly state: 'utf8'; readonly flights: 'int32' }>();
    expectTypeOf<ColumnsOf<typeof graph, 'report'>>().toEqualTypeOf<'files'>();
    expect(graph.stages.clean.stage).toBe(clean);
  });

  it('refuses a column that no stage before writes', () => {
    checkGraph({
      input,
      stages: {
        features: { stage: features },
        // @ts-expect-error count asks for the column state, which airports would write
        count: { stage: count, after: ['features'] },
      },
    });
  });

  it('refuses a column of another type, be it of the source or of a stage', () => {
    checkGraph({
      input: { delay: 'int32' },
      // @ts-expect-error features asks for int16
      stages: { features: { stage: features } },
    });
    const wide = defineStage({
      output: { delay: 'float64' },
      block: (batch) => ({ columns: { delay: new Float64Array(batch.rows) } }),
    });
    checkGraph({
      input,
      stages: {
        wide: { stage: wide },
        // @ts-expect-error wide writes delay anew, as float64
        features: { stage: features, after: ['wide'] },
      },
    });
  });

  it('refuses a stage that is not there, and one that comes after itself', () => {
    checkGraph({
      input,
      stages: {
        clean: { stage: clean },
        // @ts-expect-error there is no stage claen
        features: { stage: features, after: ['claen'] },
      },
    });
  });

  it('follows what is dropped, renamed and kept', () => {
    const drop = defineStage({ keep: ['origin'], block: () => ({}) });
    const rename = defineStage({ keep: ['delay', 'late'], rename: { late: 'origin' }, block: () => ({}) });
    const move = defineStage({ rename: { late: 'delay' }, block: () => ({}) });
    const graph = checkGraph({
      input,
      stages: {
        drop: { stage: drop },
        rename: { stage: rename },
        move: { stage: move },
        airports: { stage: airports, after: ['drop'] },
        features: { stage: features, after: ['rename'] },
      },
    });
    expectTypeOf<keyof ColumnsOf<typeof graph, 'drop'>>().toEqualTypeOf<'origin'>();
    expectTypeOf<ColumnsOf<typeof graph, 'rename'>>().toEqualTypeOf<{ readonly delay: 'int16'; readonly late: 'dictionary' }>();
    expectTypeOf<ColumnsOf<typeof graph, 'move'>['late']>().toEqualTypeOf<'int16'>();
    expect(Object.keys(graph.stages)).toContain('move');
    checkGraph({
      input,
      stages: {
        drop: { stage: drop },
        // @ts-expect-error delay was dropped
        features: { stage: features, after: ['drop'] },
      },
    });
    checkGraph({
      input: { delay: 'int16' },
      // @ts-expect-error there is no origin to keep
      stages: { drop: { stage: drop } },
    });
    checkGraph({
      input: { origin: 'dictionary' },
      // @ts-expect-error there is no delay to rename
      stages: { move: { stage: move } },
    });
    checkGraph({
      input: { delay: 'int16', late: 'uint8' },
      // @ts-expect-error there is a column late already
      stages: { move: { stage: move } },
    });
  });

  it('refuses two different columns of one name side by side, and lets the same one through', () => {
    checkGraph({
      input,
      stages: {
        one: { stage: features },
        two: { stage: features },
        // @ts-expect-error both one and two write late
        both: { stage: clean, after: ['one', 'two'] },
      },
    });
    checkGraph({
      input,
      stages: {
        one: { stage: features },
        two: { stage: features },
        both: { stage: clean, after: ['one', 'two'], combine: 'concat' },
      },
    });
    checkGraph({
      input,
      stages: {
        one: { stage: features },
        // @ts-expect-error the streams have not the same columns
        both: { stage: clean, after: ['one', 'input'], combine: 'concat' },
      },
    });
  });

  it('tells columns, bytes and files apart', () => {
    checkGraph({ input: 'bytes', stages: { zip: { stage: zip }, report: { stage: report, after: ['zip'] } } });
    checkGraph({
      input,
      // @ts-expect-error zip works on bytes
      stages: { zip: { stage: zip } },
    });
    checkGraph({
      input: 'bytes',
      // @ts-expect-error clean works on columns
      stages: { clean: { stage: clean } },
    });
  });

  it('lets everything through behind a program, unless its columns are said', () => {
    checkGraph({ input, stages: { program: { command: 'table' }, features: { stage: features, after: ['program'] } } });
    checkGraph({ input: 'table', stages: { features: { stage: features } } });
    checkGraph({
      input,
      stages: {
        program: { command: { delay: 'float64' } },
        // @ts-expect-error the program writes delay as float64
        features: { stage: features, after: ['program'] },
      },
    });
  });
});
