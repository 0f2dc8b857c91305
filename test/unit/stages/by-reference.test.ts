/** Dropping, renaming, reordering and filtering, by what they write. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { column, defineStage } from '../../../runtime/index.js';
import { loadNative } from '../../../runtime/scratch/native.js';
import { isSelectionCheaper } from '../../../runtime/stages/selection.js';
import { Shard } from './shard.js';

let shard: Shard;
beforeEach(async () => {
  shard = await Shard.open();
});
afterEach(() => shard.close());

const count = 5_000;
const numbers = Array.from({ length: count }, (_, row) => row);
/** Two blocks of three columns: 24 bytes in a row, and texts. */
const load = () =>
  shard.load(
    'input',
    ...[numbers, numbers.map((row) => row + count)].map((rows) => ({
      id: column.float64.from(rows),
      even: column.float64.from(rows.map((row) => row * 2)),
      word: column.utf8.from(rows.map((row) => `word ${row}`)),
      maybe: column.float64.from(rows.map((row) => (row % 10 === 0 ? null : row))),
    })),
  );

describe('what a stage passes on is metadata', () => {
  const drop = defineStage({ keep: ['id'], block: () => ({}) });
  const rename = defineStage({ rename: { number: 'id', text: 'word' }, block: () => ({}) });
  const reorder = defineStage({ keep: ['word', 'number', 'even'], rename: { number: 'id' }, row: () => undefined });

  it.each([
    ['drops', drop, ['id float64']],
    ['renames', rename, ['number float64', 'even float64', 'text utf8', 'maybe float64']],
    ['reorders', reorder, ['word utf8', 'number float64', 'even float64']],
  ])('a stage that %s columns writes no bytes', async (_, stage, schema) => {
    await load();
    const end = await shard.run('out', stage);
    expect(end.bytes).toMatchObject({ memory: { written: 0 }, ssd: { written: 0 } });
    expect(shard.schema('out')).toEqual(schema);
    expect(shard.rows('out').length).toBe(2 * count);
  });

  it('gives the values under the new names, and to the stages behind as well', async () => {
    await load();
    await shard.run('renamed', rename);
    await shard.run('swapped', defineStage({ rename: { even: 'number', number: 'even' }, block: () => ({}) }), ['renamed']);
    expect(shard.rows('renamed')[3]).toEqual({ number: 3, even: 6, text: 'word 3', maybe: 3 });
    expect(shard.rows('swapped')[3]).toEqual({ number: 6, even: 3, text: 'word 3', maybe: 3 });
  });

  it('puts a column that it writes where `keep` names it', async () => {
    await load();
    const stage = defineStage({
      output: { half: 'float64' },
      keep: ['half', 'id'],
      block: (batch) => ({ columns: { half: new Float64Array(batch.rows).fill(0.5) } }),
    });
    await shard.run('out', stage);
    expect(shard.schema('out')).toEqual(['half float64', 'id float64']);
  });

  it('writes an added column and no other', async () => {
    await load();
    const stage = defineStage({
      output: { one: 'float64' },
      block: (batch) => ({ columns: { one: new Float64Array(batch.rows) } }),
    });
    const end = await shard.run('out', stage);
    expect(end.bytes.memory.written / (2 * count * 8)).toBeLessThan(1.05);
  });

  it.each([
    ['keep', defineStage({ keep: ['gone'], block: () => ({}) }), /keeps the column gone/],
    ['rename', defineStage({ rename: { a: 'gone' }, block: () => ({}) }), /renames the column gone/],
    [
      'rename',
      defineStage({ rename: { even: 'id' }, block: () => ({}) }),
      /renames a column to even, which its input has already/,
    ],
  ])('refuses what the input has not: %s', async (_, stage, message) => {
    await load();
    await expect(shard.run('out', stage)).rejects.toThrow(message);
  });
});

describe('a filter', () => {
  const keepIf = (isKept: (row: number) => boolean) =>
    defineStage({
      block: (batch) => ({ select: Uint8Array.from({ length: batch.rows }, (_, row) => (isKept(row) ? 1 : 0)) }),
    });
  const selected = (stream: string) =>
    shard.blocks(stream).map((block) => block.columns.map((ref) => ref.selection !== undefined));

  it('that drops few rows writes their numbers once for all columns', async () => {
    await load();
    const end = await shard.run(
      'out',
      keepIf((row) => row % 10 !== 1),
    );
    expect(selected('out')).toEqual([
      [true, true, true, true],
      [true, true, true, true],
    ]);
    const written = 2 * count * 0.9 * 4;
    expect(end.bytes.memory.written).toBeGreaterThanOrEqual(written);
    expect(end.bytes.memory.written).toBeLessThan(written + 4_096);
    expect(shard.rows('out').map((row) => row['word'])).toEqual(
      [...numbers, ...numbers.map((row) => row + count)].filter((row) => (row % count) % 10 !== 1).map((row) => `word ${row}`),
    );
  });

  it('that drops most rows writes the rows, and lets the others go', async () => {
    await load();
    await shard.run(
      'out',
      keepIf((row) => row % 10 === 1),
    );
    expect(selected('out').flat()).not.toContain(true);
    expect(shard.rows('out')[1]).toEqual({ id: 11, even: 22, word: 'word 11', maybe: 11 });
  });

  it('behind a filter selects from what that one selected from', async () => {
    await load();
    await shard.run(
      'one',
      keepIf((row) => row % 10 !== 1),
    );
    await shard.run(
      'two',
      keepIf((row) => row % 10 !== 0),
      ['one'],
    );
    expect(selected('two').flat()).not.toContain(false);
    const kept = numbers.filter((row) => row % 10 !== 1).filter((_, index) => index % 10 !== 0);
    expect(
      shard
        .rows('two')
        .slice(0, kept.length)
        .map((row) => row['id']),
    ).toEqual(kept);
  });

  it('of rows that hold null leaves a column for a stage that takes none', async () => {
    await load();
    const clean = defineStage({
      input: { maybe: { type: 'float64', nullable: true } },
      row: (row) => row.maybe !== null,
    });
    const sum = defineStage({
      input: { maybe: 'float64' },
      output: { maybe: 'float64', copy: 'float64' },
      block: (batch) => ({ columns: { maybe: batch.columns.maybe, copy: batch.columns.maybe.values } }),
    });
    await shard.run('clean', clean);
    expect(selected('clean').flat()).not.toContain(false);
    await shard.run('out', sum, ['clean']);
    expect(shard.rows('out').every((row) => row['maybe'] === row['copy'] && row['maybe'] !== null)).toBe(true);
  });

  it('in one of two branches goes beside the other branch where both come from it', async () => {
    await load();
    await shard.run(
      'clean',
      keepIf((row) => row % 10 !== 1),
    );
    const add = (name: string) =>
      defineStage({ output: { [name]: 'uint8' }, block: (batch) => ({ columns: { [name]: new Uint8Array(batch.rows) } }) });
    await shard.run('left', add('left'), ['clean']);
    await shard.run('right', add('right'), ['clean']);
    await shard.run('both', defineStage({ block: () => ({}) }), ['left', 'right']);
    expect(shard.schema('both').map((column) => column.split(' ')[0])).toEqual(['id', 'even', 'word', 'maybe', 'left', 'right']);
  });
});

describe('a stage that reads behind a filter', () => {
  const filter = defineStage({
    block: (batch) => ({ select: Uint8Array.from({ length: batch.rows }, (_, row) => (row % 8 === 3 ? 0 : 1)) }),
  });

  it('has gathered columns and no selection, unless it asks for it', async () => {
    await load();
    await shard.run('some', filter);
    const sum = (selections: boolean) =>
      defineStage({
        input: { id: 'float64' },
        output: { sum: 'float64', selected: 'uint8', lies: 'int32' },
        selections,
        aggregate: {
          start: () => ({ sum: 0, selected: 0, lies: 0 }),
          add(state, batch) {
            const { values, selection } = batch.columns.id;
            for (let row = 0; row < batch.rows; row++)
              state.sum += values[selection === undefined ? row : (selection[row] ?? 0)] ?? 0;
            state.selected += selection === undefined ? 0 : 1;
            state.lies += values.length;
          },
          merge: (a, b) => ({ sum: a.sum + b.sum, selected: a.selected + b.selected, lies: a.lies + b.lies }),
          finish: ({ sum, selected, lies }) => ({
            sum: Float64Array.of(sum),
            selected: Uint8Array.of(selected),
            lies: Int32Array.of(lies),
          }),
        },
      });
    await shard.run('gathered', sum(false), ['some']);
    await shard.run('placed', sum(true), ['some']);
    const [gathered, placed] = [shard.rows('gathered')[0], shard.rows('placed')[0]];
    expect(gathered).toMatchObject({ selected: 0, lies: 2 * count * (7 / 8) });
    expect(placed).toMatchObject({ selected: 2, lies: 2 * count });
    expect(placed?.['sum']).toBe(gathered?.['sum']);
  });

  it('row by row reads the columns where they lie', async () => {
    await load();
    await shard.run('some', filter);
    const stage = defineStage({
      input: { id: 'float64', word: 'utf8', maybe: { type: 'float64', nullable: true } },
      output: { text: 'utf8' },
      keep: 'none',
      row(row, out) {
        out.text = `${row.id} ${row.word} ${String(row.maybe)}`;
      },
    });
    await shard.run('out', stage, ['some']);
    const expected = numbers.filter((row) => row % 8 !== 3).map((row) => `${row} word ${row} ${row % 10 === 0 ? 'null' : row}`);
    expect(
      shard
        .rows('out')
        .slice(0, expected.length)
        .map((row) => row['text']),
    ).toEqual(expected);
  });
});

describe('the rule of selections', () => {
  it.each([
    ['one row in ten is dropped of rows of 20 bytes', 900, 1000, 20, true],
    ['half of the rows is dropped', 500, 1000, 1000, false],
    ['a row is no longer than its number', 1000, 1000, 4, false],
    ['a row is a little longer than its number, and all stay', 1000, 1000, 5, true],
    ['what lies below was filtered before', 900, 10_000, 20, false],
    ['nothing stays', 0, 1000, 20, false],
  ])('%s', (_, rowsKept, rowsBelow, bytesPerRow, expected) => {
    expect(isSelectionCheaper({ rowsKept, rowsBelow, bytesPerRow })).toBe(expected);
  });
});

describe('a column that was given back', () => {
  const canFree = loadNative().functions !== undefined;
  const keepsFew = defineStage({
    input: { id: 'float64' },
    block: ({ columns: { id } }) => ({ select: Uint8Array.from(id.values, (value) => (value % 50 === 0 ? 1 : 0)) }),
  });

  it.runIf(canFree)('is passed on by a filter that copies the others', async () => {
    await load();
    await shard.run('between', defineStage({ block: () => ({}) }));
    expect(await shard.free('input', ['even', 'word'])).toBeGreaterThan(0);
    await shard.run('out', keepsFew, ['between']);
    const [first] = shard.blocks('out');
    expect(first?.columns.filter(({ freed }) => freed === true).map(({ name }) => name)).toEqual(['even', 'word']);
    expect(shard.rows('out', ['id']).map(({ id }) => id)).toEqual(Array.from({ length: 200 }, (_, row) => row * 50));
  });

  it('is refused to whoever did not say that it reads it, as is every other one then', async () => {
    await load();
    const sly = defineStage({
      input: { id: 'float64' },
      block(batch) {
        batch.column('even');
        return {};
      },
    });
    await expect(shard.run('out', sly)).rejects.toThrow(/reads the column even, and declares only id/);
  });
});
