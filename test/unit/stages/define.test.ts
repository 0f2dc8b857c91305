import { describe, expect, it } from 'vitest';
import { defineStage } from '../../../runtime/index.js';
import { outputSchema } from '../../../runtime/stages/schema.js';

describe('defineStage', () => {
  it('makes a declaration that is plain data', () => {
    const stage = defineStage({
      input: { delay: 'int16', origin: { type: 'dictionary', nullable: true } },
      output: { late: 'uint8' },
      keep: ['delay'],
      block: (batch) => ({ columns: { late: new Uint8Array(batch.rows) } }),
    });
    expect(stage.podlineStage).toBe(1);
    expect(JSON.parse(JSON.stringify(stage.declaration))).toEqual({
      form: 'block',
      input: { delay: { type: 'int16' }, origin: { type: 'dictionary', nullable: true } },
      output: { late: { type: 'uint8' } },
      keep: ['delay'],
    });
  });

  const nothing = (): void => undefined;
  it.each<[string, object, RegExp]>([
    ['no form', {}, /has none/],
    ['two forms', { bytes: nothing, row: nothing }, /has row and bytes/],
    ['columns of bytes', { bytes: nothing, input: { a: 'int8' } }, /has no columns/],
    ['an aggregation without output', { aggregate: {} }, /must declare/],
    [
      'a name that is written and renamed to',
      { row: nothing, output: { a: 'int8' }, rename: { a: 'b' } },
      /both writes a column a/,
    ],
    ['a new name of what is not kept', { row: nothing, keep: 'none', rename: { a: 'b' } }, /keeps none/],
    ['a new name that `keep` leaves out', { row: nothing, keep: ['b'], rename: { a: 'b' } }, /does not keep it/],
    ['a column that is kept twice', { row: nothing, keep: ['a', 'a'] }, /keeps the column a twice/],
  ])('refuses %s', (_, definition, message) => {
    expect(() => defineStage(definition as never)).toThrow(
      expect.objectContaining({ code: 'PDL_STAGE_LOAD', message: expect.stringMatching(message) }),
    );
  });
});

describe('the schema of an output', () => {
  const input = [
    { name: 'a', type: 'int8', nullable: false },
    { name: 'b', type: 'utf8', nullable: true },
  ] as const;

  it('replaces a kept column in its place and puts new ones behind', () => {
    const { declaration } = defineStage({
      output: { c: 'bool', a: 'int32' },
      block: () => ({ columns: { c: [], a: new Int32Array() } }),
    });
    expect(outputSchema('s', declaration, input).map(({ name, type }) => `${name} ${type}`)).toEqual([
      'a int32',
      'b utf8',
      'c bool',
    ]);
  });

  const orderOf = (definition: Parameters<typeof defineStage>[0]): string[] =>
    outputSchema('s', defineStage(definition).declaration, input).map(({ name, type }) => `${name} ${type}`);

  it('has renamed columns in the place of those that they were, or where `keep` puts them', () => {
    expect(orderOf({ rename: { z: 'a' }, row: () => undefined })).toEqual(['z int8', 'b utf8']);
    expect(orderOf({ rename: { z: 'a' }, keep: ['b', 'z'], row: () => undefined })).toEqual(['b utf8', 'z int8']);
    expect(orderOf({ rename: { a: 'b', b: 'a' }, row: () => undefined })).toEqual(['b int8', 'a utf8']);
  });

  it('may have one column under two names', () => {
    expect(orderOf({ rename: { y: 'a', z: 'a' }, row: () => undefined })).toEqual(['y int8', 'z int8', 'b utf8']);
    expect(orderOf({ rename: { z: 'a' }, keep: ['a', 'z'], row: () => undefined })).toEqual(['a int8', 'z int8']);
  });

  it('refuses to keep what is not there', () => {
    const { declaration } = defineStage({ keep: ['z'], block: () => ({}) });
    expect(() => outputSchema('s', declaration, input)).toThrow(/keeps the column z/);
  });
});
