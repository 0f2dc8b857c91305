import { describe, expect, it } from 'vitest';
import { parseManifest } from '../../../runtime/config/manifest.js';
import type { ColumnSchema } from '../../../runtime/contracts/block.js';
import type { Pipeline, ResolvedStage, StageDeclaration } from '../../../runtime/contracts/manifest.js';
import { flowColumns } from '../../../runtime/line/columns.js';

type Columns = NonNullable<StageDeclaration['input']>;
const block = (input: Columns, output: Columns, keep: StageDeclaration['keep'] = 'all'): StageDeclaration => ({
  form: 'block',
  input,
  output,
  keep,
});

/** A pipeline of stages by name: what each reads, and what it declares (a command where nothing). */
function pipeline(
  input: string,
  stages: Record<string, { after?: string[]; declares?: StageDeclaration; rest?: Partial<ResolvedStage> }>,
): Pick<Pipeline, 'spec' | 'stages'> {
  const listed = Object.entries(stages).map(
    ([name, { after = ['input'] }]) => `{name: ${name}, command: [x], after: [${after.join()}]}`,
  );
  const text = `apiVersion: podline.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n  input: ${input}\n  stages: [${listed.join()}]\n`;
  const { manifest, faults } = parseManifest(text, 'p.yaml');
  if (manifest === undefined) throw new Error(faults.map(({ message }) => message).join());
  return {
    spec: manifest.spec,
    stages: manifest.spec.stages.map((stage): ResolvedStage => ({
      ...stage,
      after: stage.after ?? ['input'],
      version: stage.name,
      declares: stages[stage.name]?.declares,
      ...stages[stage.name]?.rest,
    })),
  };
}

const flow = (
  ...given: Parameters<typeof flowColumns>
): { faults: string[]; columns: (stage: string) => string[] | undefined } => {
  const { faults, perStage } = flowColumns(...given);
  return {
    faults: faults.map(({ code, message }) => `${code === 'PDL_STAGE_COLUMNS' ? '' : code} ${message}`.trim()),
    columns: (stage) => perStage.get(stage)?.map(({ name, type }) => `${name} ${type}`),
  };
};

const typed = '{format: csv, columns: {x: int32, s: utf8}}';

describe('columns flow', () => {
  it('through stages that add, keep some, and drop all', () => {
    const { faults, columns } = flow(
      pipeline(typed, {
        a: { declares: block({ x: { type: 'int32' } }, { y: { type: 'float64' } }) },
        b: { after: ['a'], declares: block({ y: { type: 'float64' } }, {}, ['s', 'y']) },
        c: {
          after: ['b'],
          declares: { form: 'aggregate', input: { s: { type: 'utf8' } }, output: { n: { type: 'int64' } }, keep: 'none' },
        },
      }),
    );
    expect(faults).toEqual([]);
    expect([columns('input'), columns('a'), columns('b'), columns('c')]).toEqual([
      ['x int32', 's utf8'],
      ['x int32', 's utf8', 'y float64'],
      ['s utf8', 'y float64'],
      ['n int64'],
    ]);
  });

  it('in place of one of the same name', () => {
    expect(flow(pipeline(typed, { a: { declares: block({}, { x: { type: 'float32' } }) } })).columns('a')).toEqual([
      'x float32',
      's utf8',
    ]);
  });

  it('under other names and in another order', () => {
    const { faults, columns } = flow(
      pipeline(typed, {
        a: { declares: { ...block({}, {}), rename: { z: 'x' } } },
        b: {
          after: ['a'],
          declares: { ...block({ z: { type: 'int32' } }, { w: { type: 'bool' } }, ['w', 'y', 's']), rename: { y: 'z' } },
        },
      }),
    );
    expect(faults).toEqual([]);
    expect([columns('a'), columns('b')]).toEqual([
      ['z int32', 's utf8'],
      ['w bool', 'y int32', 's utf8'],
    ]);
  });

  it('side by side where branches give one column the same name', () => {
    const renamed = { ...block({}, {}), rename: { z: 'x' } };
    const both = { after: ['l', 'r'], declares: block({ z: { type: 'int32' } }, {}) };
    expect(flow(pipeline(typed, { l: { declares: renamed }, r: { declares: renamed }, m: both })).faults).toEqual([]);
  });

  it('from the schema of the source where it was read', () => {
    const schema: ColumnSchema[] = [{ name: 'z', type: 'bool', nullable: false }];
    expect(flow(pipeline('{format: parquet}', { a: { declares: block({ z: { type: 'bool' } }, {}) } }), schema)).toMatchObject({
      faults: [],
    });
    expect(flow(pipeline('{format: parquet}', { a: { declares: block({ q: { type: 'bool' } }, {}) } }), schema).faults).toEqual([
      'stage a asks for the column q of type bool; what reaches it has z bool',
    ]);
  });

  it('side by side through a diamond whose branches keep the same columns', () => {
    const { faults, columns } = flow(
      pipeline(typed, {
        l: { declares: block({}, { y: { type: 'int8' } }) },
        r: { declares: block({}, { z: { type: 'int8' } }) },
        m: { after: ['l', 'r'], declares: block({ x: { type: 'int32' }, y: { type: 'int8' }, z: { type: 'int8' } }, {}) },
      }),
    );
    expect(faults).toEqual([]);
    expect(columns('m')).toEqual(['x int32', 's utf8', 'y int8', 'z int8']);
  });
});

describe('a fault says stage, column, what is there and what was asked', () => {
  it.each([
    [
      'a column that is not there',
      pipeline(typed, { a: { declares: block({ q: { type: 'int8' } }, {}) } }),
      'stage a asks for the column q of type int8; what reaches it has x int32, s utf8',
    ],
    [
      'a column of another type',
      pipeline(typed, { a: { declares: block({ x: { type: 'int64' } }, {}) } }),
      'stage a asks for the column x of type int64; it reaches it as int32 from input',
    ],
    [
      'a column to keep that is not there',
      pipeline(typed, { a: { declares: block({}, {}, ['q']) } }),
      'stage a keeps the column q; what reaches it has x int32, s utf8',
    ],
    [
      'a column to rename that is not there',
      pipeline(typed, { a: { declares: { ...block({}, {}), rename: { z: 'q' } } } }),
      'stage a renames the column q; what reaches it has x int32, s utf8',
    ],
    [
      'a new name that is taken',
      pipeline(typed, { a: { declares: { ...block({}, {}), rename: { s: 'x' } } } }),
      'stage a renames a column to s, which is the name of another; what reaches it has x int32, s utf8',
    ],
    [
      'a column asked for under the name that it had before',
      pipeline(typed, {
        a: { declares: { ...block({}, {}), rename: { z: 'x' } } },
        b: { after: ['a'], declares: block({ x: { type: 'int32' } }, {}) },
      }),
      'stage b asks for the column x of type int32; what reaches it has z int32, s utf8',
    ],
    [
      'two branches that give one name to different columns',
      pipeline('{format: csv, columns: {x: int32, y: int32}}', {
        l: { declares: { ...block({}, {}, ['z']), rename: { z: 'x' } } },
        r: { declares: { ...block({}, {}, ['z']), rename: { z: 'y' } } },
        m: { after: ['l', 'r'], declares: block({}, {}) },
      }),
      'the inputs of stage m do not go together: x and y of input both reach it as z',
    ],
    [
      'columns where bytes are',
      pipeline('{format: bytes}', { a: { declares: block({}, {}) } }),
      'stage a works on columns, and bytes reach it',
    ],
    [
      'bytes where columns are',
      pipeline(typed, { a: { declares: { form: 'bytes', keep: 'none' } } }),
      'stage a works on bytes, and columns reach it',
    ],
    [
      'two branches that write one column',
      pipeline(typed, {
        l: { declares: block({}, { y: { type: 'int8' } }) },
        r: { declares: block({}, { y: { type: 'int8' } }) },
        m: { after: ['l', 'r'], declares: block({}, {}) },
      }),
      'the inputs of stage m do not go together: both l and r write a column y',
    ],
    [
      'streams one after another that differ',
      pipeline(typed, {
        l: { declares: block({}, { y: { type: 'int8' } }, 'none') },
        r: { declares: block({}, { y: { type: 'int16' } }, 'none') },
        m: { after: ['l', 'r'], declares: block({}, {}), rest: { combine: 'concat' } },
      }),
      'the inputs of stage m do not go together: column y is int8 in l and int16 in r',
    ],
  ])('%s', (_, given, message) => {
    expect(flow(given).faults).toEqual([message]);
  });
});

describe('what is not known is not refused', () => {
  it('behind a command', () => {
    const { faults, columns } = flow(
      pipeline(typed, { a: {}, b: { after: ['a'], declares: block({ q: { type: 'int8' } }, { y: { type: 'int8' } }) } }),
    );
    expect(faults).toEqual([]);
    expect([columns('a'), columns('b')]).toEqual([undefined, undefined]);
  });

  it('where the manifest names columns without types, or none', () => {
    for (const input of ['{format: csv, columns: [x]}', '{format: csv}']) {
      expect(flow(pipeline(input, { a: { declares: block({ q: { type: 'int8' } }, {}) } })).faults).toEqual([]);
    }
  });

  it('but what a stage writes itself is known again', () => {
    const { columns } = flow(pipeline('{format: csv}', { a: { declares: block({}, { y: { type: 'int8' } }, 'none') } }));
    expect(columns('a')).toEqual(['y int8']);
  });
});
