import { describe, expect, it } from 'vitest';
import type { BlockRecord, ColumnRef } from '../../../runtime/contracts/block.js';
import type { StageDeclaration } from '../../../runtime/contracts/manifest.js';
import {
  freedColumns,
  neededColumns,
  needs,
  planFreeing,
  type HeldColumns,
  type ReadingStage,
} from '../../../runtime/line/live-columns.js';
import { outputsAtOnce } from '../../../runtime/line/outputs-at-once.js';

const types = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, { type: 'int32' as const }]));

const reading = (
  name: string,
  after: string[],
  input: string[] | undefined,
  output: string[],
  keep: StageDeclaration['keep'] = 'none',
  more: Partial<StageDeclaration> = {},
): ReadingStage => ({
  name,
  after,
  declares: { form: 'block', ...(input === undefined ? {} : { input: types(input) }), output: types(output), keep, ...more },
});
const command = (name: string, after: string[]): ReadingStage => ({ name, after });

/** Columns of `among` that are needed of a stream. */
function neededOf(stages: ReadingStage[], results: string[], stream: string, among: string, done: string[] = []): string {
  const need = neededColumns(stages, results, (stage) => done.includes(stage)).get(stream);
  return Array.from(among)
    .filter((column) => needs(need, column))
    .join('');
}

describe('what is needed of a stream', () => {
  it('is what its readers declare, and of a result everything', () => {
    const stages = [reading('one', ['input'], ['a'], ['x']), reading('two', ['one', 'input'], ['x', 'b'], ['y'])];
    expect(neededOf(stages, ['two'], 'input', 'abcx')).toBe('abx');
    expect(neededOf(stages, ['two'], 'one', 'ax')).toBe('x');
    expect(neededOf(stages, ['two'], 'two', 'yz')).toBe('yz');
  });

  it('is everything for a command, and for a stage that takes what comes', () => {
    expect(neededOf([command('any', ['input'])], ['any'], 'input', 'abc')).toBe('abc');
    expect(neededOf([reading('open', ['input'], undefined, ['x'])], ['open'], 'input', 'abc')).toBe('abc');
    expect(neededOf([reading('files', ['input'], ['a'], [], 'none', { form: 'files' })], ['files'], 'input', 'abc')).toBe('abc');
  });

  it('reaches through stages that keep columns, as far as somebody behind them needs these', () => {
    const stages = [reading('add', ['input'], ['a'], ['x'], 'all'), reading('sum', ['add'], ['x', 'c'], ['total'])];
    expect(neededOf(stages, ['sum'], 'input', 'abc')).toBe('ac');
    expect(neededOf(stages, ['add', 'sum'], 'input', 'abc')).toBe('abc');
    const some = [reading('add', ['input'], [], ['x'], ['b', 'x']), reading('sum', ['add'], ['x'], ['total'])];
    expect(neededOf(some, ['sum'], 'input', 'abc')).toBe('');
    expect(neededOf(some, ['add'], 'input', 'abc')).toBe('b');
  });

  it('does not reach behind a column that a stage writes anew, and follows one under its new name', () => {
    const stages = [reading('over', ['input'], ['b'], ['a'], 'all'), command('end', ['over'])];
    expect(neededOf(stages, ['end'], 'input', 'abc')).toBe('bc');
    const renaming = [reading('call', ['input'], [], [], 'all', { rename: { z: 'a' } }), reading('end', ['call'], ['z'], ['t'])];
    expect(neededOf(renaming, ['end'], 'input', 'abz')).toBe('a');
    const listed = [reading('call', ['input'], [], [], ['z'], { rename: { z: 'a' } }), reading('end', ['call'], ['z'], ['t'])];
    expect(neededOf(listed, ['end'], 'input', 'abz')).toBe('a');
  });

  it('ends with the stage that reads it', () => {
    const stages = [reading('one', ['input'], ['a'], ['x'], 'all'), reading('two', ['one'], ['x', 'b'], ['y'])];
    expect(neededOf(stages, ['two'], 'input', 'abc', ['one'])).toBe('');
    expect(neededOf(stages, ['two'], 'one', 'abcx', ['one'])).toBe('bx');
  });
});

const ref = (name: string, stream: string, at: number): ColumnRef => ({
  name,
  type: 'int32',
  nullCount: 0,
  values: { segment: `${stream}.0`, offset: at * 64, length: 64 },
});
/** A stream of one block: its own columns lie in its segment in their order, the others where they are said to be. */
function held(stream: string, own: string, others: ColumnRef[] = [], more: Partial<HeldColumns> = {}): HeldColumns {
  const columns = [...Array.from(own).map((name, at) => ref(name, stream, at)), ...others];
  const block: BlockRecord = { seq: 0, rows: 16, columns };
  return { stream, sealed: true, released: false, columns: columns.map(({ name }) => name), freed: [], blocks: [block], ...more };
}

describe('what may be given back', () => {
  const stages = [
    reading('one', ['input'], ['a'], ['x'], 'all'),
    reading('two', ['one'], ['x', 'b'], ['y'], 'all'),
    reading('sum', ['two'], ['y'], ['total']),
  ];
  const planned = (streams: HeldColumns[], done: string[], results = ['sum']) => {
    const plan = planFreeing(
      streams,
      neededColumns(stages, results, (stage) => done.includes(stage)),
    );
    return { columns: Object.fromEntries(plan.columns), streams: plan.streams };
  };
  const passedOn = ['a', 'b', 'c'].map((name, at) => ref(name, 'input', at));

  it('is what no stage to come reads, be it in the stream of another', () => {
    expect(planned([held('input', 'abc')], [])).toEqual({ columns: { input: ['c'] }, streams: [] });
    const streams = [held('input', 'abc'), held('one', 'x', passedOn)];
    expect(planned(streams, ['one'])).toEqual({ columns: { input: ['a', 'c'] }, streams: [] });
    expect(planned([...streams, held('two', 'y', [...passedOn, ref('x', 'one', 0)])], ['one', 'two'])).toEqual({
      columns: { input: ['a', 'b', 'c'], one: ['x'] },
      streams: [],
    });
  });

  it('is never what a column under another name refers to', () => {
    const renamed = held('one', 'x', [ref('b', 'input', 2)]);
    expect(planned([held('input', 'abc'), renamed], ['one']).columns).toEqual({ input: ['a', 'b'] });
  });

  it('is nothing of a stream that still grows, nor what is gone already', () => {
    expect(planned([held('input', 'abc', [], { sealed: false })], []).columns).toEqual({});
    expect(planned([held('input', 'abc', [], { freed: ['c'] })], []).columns).toEqual({});
  });

  it('is a released stream when nothing alive lies in it, and what of it is dead before', () => {
    const input = held('input', 'abc', [], { released: true });
    const one = held('one', 'x', passedOn);
    expect(planned([input, one], ['one'])).toEqual({ columns: { input: ['a', 'c'] }, streams: [] });
    const two = held('two', 'y', [...passedOn, ref('x', 'one', 0)]);
    expect(planned([input, one, two], ['one', 'two'])).toMatchObject({ streams: ['input'] });
    expect(planned([input, one, two], ['one', 'two']).columns).toMatchObject({ input: ['a', 'b', 'c'] });
    expect(planned([input], ['one', 'two', 'sum'])).toEqual({ columns: {}, streams: ['input'] });
  });

  it('is nothing that a result refers to', () => {
    const streams = [held('input', 'abc'), held('one', 'x', passedOn)];
    expect(planned(streams, ['one'], ['one', 'sum']).columns).toEqual({});
  });

  it('is told by the blocks afterwards', () => {
    const block: BlockRecord = { seq: 0, rows: 1, columns: [{ ...ref('a', 'input', 0), freed: true }, ref('b', 'input', 1)] };
    expect(freedColumns([block, { ...block, seq: 1 }])).toEqual(['a']);
  });
});

describe('outputs that are there at once', () => {
  it('are two in a chain whose stages read the one before, however long it is', () => {
    const chain = Array.from({ length: 9 }, (_, at) =>
      reading(
        `s${String(at)}`,
        [at === 0 ? 'input' : `s${String(at - 1)}`],
        [at === 0 ? 'a' : `c${String(at - 1)}`],
        [`c${String(at)}`],
        'all',
      ),
    );
    const sum = reading('sum', ['s8'], ['c8'], ['total']);
    expect(outputsAtOnce([...chain, sum], ['sum'])).toBe(2);
    expect(outputsAtOnce(chain, ['s8'])).toBe(9);
  });

  it('are all where a stage takes what comes in the end', () => {
    const chain = ['x', 'y', 'z'].map((name, at) => reading(name, [['input', 'x', 'y'][at] ?? ''], [], [name], 'all'));
    expect(outputsAtOnce([...chain, command('end', ['z'])], ['end'])).toBe(4);
  });
});
