import { describe, expect, it } from 'vitest';
import type { BlockRecord, ColumnRef, ColumnSchema } from '../../../runtime/contracts/block.js';
import { combine, type InputStream } from '../../../runtime/stages/combine.js';

const schema = (...columns: [string, ColumnSchema['type']][]): ColumnSchema[] =>
  columns.map(([name, type]) => ({ name, type, nullable: false }));
const ref = (name: string, segment: string, offset = 0): ColumnRef => ({
  name,
  type: 'int32',
  nullCount: 0,
  values: { segment, offset, length: 8 },
});

function streams(
  ...given: { name: string; schema: ColumnSchema[]; blocks: { rows: number; columns: ColumnRef[] }[]; kind?: 'table' | 'bytes' }[]
) {
  const blocks = new Map<string, BlockRecord[]>();
  const inputs = given.map((stream): InputStream => {
    blocks.set(
      stream.name,
      stream.blocks.map((block, seq) => ({ seq, ...block })),
    );
    return { stream: stream.name, kind: stream.kind ?? 'table', schema: stream.schema, blocks: stream.blocks.length };
  });
  const source = (stream: string, seq: number): BlockRecord => {
    const block = blocks.get(stream)?.[seq];
    if (block === undefined) throw new Error(`no block ${seq} of ${stream}`);
    return block;
  };
  return { inputs, source };
}

const refused = (how: 'zip' | 'concat', given: ReturnType<typeof streams>) => () => {
  const combined = combine(how, given.inputs, 'join');
  for (let index = 0; index < combined.blocks; index++) combined.block(index, given.source);
};

describe('zip', () => {
  it('puts columns side by side; one that both streams share by reference appears once', () => {
    const given = streams(
      {
        name: 'left',
        schema: schema(['id', 'int32'], ['a', 'int32']),
        blocks: [{ rows: 2, columns: [ref('id', 'input.0'), ref('a', 'left.0')] }],
      },
      {
        name: 'right',
        schema: schema(['id', 'int32'], ['b', 'int32']),
        blocks: [{ rows: 2, columns: [ref('id', 'input.0'), ref('b', 'right.0')] }],
      },
    );
    const combined = combine('zip', given.inputs, 'join');
    expect(combined.schema.map(({ name }) => name)).toEqual(['id', 'a', 'b']);
    expect(combined.block(0, given.source).columns.map(({ name }) => name)).toEqual(['id', 'a', 'b']);
  });

  it('refuses two different columns of one name', () => {
    const given = streams(
      { name: 'left', schema: schema(['id', 'int32']), blocks: [{ rows: 2, columns: [ref('id', 'left.0')] }] },
      { name: 'right', schema: schema(['id', 'int32']), blocks: [{ rows: 2, columns: [ref('id', 'right.0')] }] },
    );
    expect(refused('zip', given)).toThrow(
      expect.objectContaining({
        code: 'PDL_STAGE_COLUMNS',
        message: expect.stringContaining('column id is not the same in left and right'),
      }),
    );
  });

  it('refuses blocks of other rows, and streams of other lengths', () => {
    const rows = streams(
      { name: 'a', schema: [], blocks: [{ rows: 2, columns: [] }] },
      { name: 'b', schema: [], blocks: [{ rows: 3, columns: [] }] },
    );
    expect(refused('zip', rows)).toThrow(/block 0 has 2 rows in a and 3 in b/);
    const lengths = streams({ name: 'a', schema: [], blocks: [] }, { name: 'b', schema: [], blocks: [{ rows: 3, columns: [] }] });
    expect(refused('zip', lengths)).toThrow(/a has 0 blocks, b has 1/);
  });

  it('refuses bytes, which have no columns', () => {
    const given = streams(
      { name: 'a', schema: [], blocks: [], kind: 'bytes' },
      { name: 'b', schema: [], blocks: [], kind: 'bytes' },
    );
    expect(refused('zip', given)).toThrow(/Use|no columns to zip/);
  });
});

describe('concat', () => {
  it('puts blocks one after another, columns in the order of the first stream, numbers counting through', () => {
    const given = streams(
      {
        name: 'a',
        schema: schema(['x', 'int32'], ['y', 'int32']),
        blocks: [{ rows: 1, columns: [ref('x', 'a.0'), ref('y', 'a.0', 64)] }],
      },
      {
        name: 'b',
        schema: [...schema(['y', 'int32']), { name: 'x', type: 'int32', nullable: true }],
        blocks: [{ rows: 2, columns: [ref('y', 'b.0'), ref('x', 'b.0', 64)] }],
      },
    );
    const combined = combine('concat', given.inputs, 'all');
    expect(combined.blocks).toBe(2);
    expect(combined.schema).toEqual([
      { name: 'x', type: 'int32', nullable: true },
      { name: 'y', type: 'int32', nullable: false },
    ]);
    expect(combined.block(1, given.source)).toMatchObject({ seq: 1, rows: 2, columns: [{ name: 'x' }, { name: 'y' }] });
  });

  it('refuses other columns or types, and names them', () => {
    const types = streams(
      { name: 'a', schema: schema(['x', 'int32']), blocks: [] },
      { name: 'b', schema: schema(['x', 'utf8']), blocks: [] },
    );
    expect(refused('concat', types)).toThrow(/column x is int32 in a and utf8 in b/);
    const names = streams(
      { name: 'a', schema: schema(['x', 'int32']), blocks: [] },
      { name: 'b', schema: schema(['z', 'int32']), blocks: [] },
    );
    expect(refused('concat', names)).toThrow(/b has no column x/);
  });
});
