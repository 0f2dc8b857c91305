import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ColumnType } from '../../../runtime/contracts/block.js';
import type { Batch } from '../../../runtime/sources/columns.js';
import { isRow, type JsonRow } from '../../../runtime/sources/json-rows.js';
import { openNdjson } from '../../../runtime/sources/ndjson.js';
import { FileSource } from '../../../runtime/sources/source-reader.js';
import { ColumnWishes } from '../../../runtime/sources/table-reader.js';
import { cellOf, tempDir } from './helpers.js';

const columns = {
  text: 'utf8',
  number: 'float64',
  flag: 'bool',
  whole: 'int64',
  'odd "key"\\é': 'utf8',
  list: 'list<float64>',
  words: 'list<utf8>',
} satisfies Record<string, ColumnType>;
type Name = keyof typeof columns;
const names = Object.keys(columns) as Name[];

/** JSON of a string: plain, or with escapes that nobody needs. */
const textLiteral = fc
  .tuple(fc.string({ unit: 'binary', maxLength: 12 }), fc.boolean())
  .map(([text, escaped]) =>
    escaped
      ? `"${Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}\\/\\b"`
      : JSON.stringify(text),
  );
const digits = (minLength: number, maxLength: number) => fc.stringMatching(new RegExp(`^[0-9]{${minLength},${maxLength}}$`));
const numberLiteral = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? '-0' : JSON.stringify(value))),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.oneof(
        fc.constant('0'),
        digits(1, 25).map((text) => text.replace(/^0+(?=.)/, '')),
      ),
    )
    .map((parts) => parts.join('')),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.nat(1e9).map(String),
      fc.oneof(
        fc.constant(''),
        digits(1, 24).map((text) => `.${text}`),
      ),
      fc.oneof(
        fc.constant(''),
        fc.constantFrom('e', 'E').chain((e) => fc.integer({ min: -330, max: 300 }).map((n) => e + String(n))),
      ),
    )
    .map((parts) => parts.join('')),
);
const list = (item: fc.Arbitrary<string>) =>
  fc.array(fc.oneof(item, fc.constant('null')), { maxLength: 4 }).map((items) => `[${items.join(' , ')}]`);
const literals: Record<Name, fc.Arbitrary<string>> = {
  text: textLiteral,
  number: numberLiteral,
  flag: fc.constantFrom('true', 'false', '1', '0'),
  whole: fc.maxSafeInteger().map(String),
  'odd "key"\\é': fc.oneof(textLiteral, numberLiteral, fc.constantFrom('true', '{"a":[1,"}"]}', '[[],"\\""]')),
  list: list(numberLiteral),
  words: list(textLiteral),
};
const space = fc.constantFrom('', '', ' ', '\t', ' \r ');
/** A line: some keys, in the order of the columns mostly, some twice, with others between, and white space anywhere. */
const line = fc
  .tuple(
    fc.oneof(
      { weight: 4, arbitrary: fc.subarray(names) },
      { weight: 1, arbitrary: fc.shuffledSubarray(names) },
      { weight: 1, arbitrary: fc.array(fc.constantFrom(...names), { maxLength: 5 }) },
    ),
    fc.option(fc.tuple(fc.nat(5), fc.constantFrom('"x":1', '"y\\n":{"text":"\\\\"}', '"z":"\\u0041"')), { freq: 3 }),
    space,
  )
  .chain(([keys, other, blank]) =>
    fc
      .tuple(
        ...keys.map((key) => fc.oneof({ weight: 8, arbitrary: literals[key] }, { weight: 1, arbitrary: fc.constant('null') })),
      )
      .map((values) => {
        const fields = keys.map((key, i) => `${JSON.stringify(key)}${blank}:${blank}${values[i] ?? ''}`);
        if (other !== null) fields.splice(other[0], 0, other[1]);
        return `${blank}{${blank}${fields.join(`${blank},${blank}`)}${blank}}${blank}`;
      }),
  );

async function read(text: string, wishes: ColumnWishes, blockRows = 65_536): Promise<{ names: string[]; batches: Batch[] }> {
  const path = join(tempDir(), 'data.ndjson');
  writeFileSync(path, text);
  const source = await FileSource.open(path);
  try {
    const table = await openNdjson(source, wishes, {}, blockRows);
    const batches: Batch[] = [];
    for await (const batch of table.batches(0)) batches.push(batch);
    return { names: table.schema.map(({ name }) => name), batches };
  } finally {
    await source.close();
  }
}

/** What a column holds of a value that JSON.parse gave. */
function expected(name: Name, row: JsonRow): unknown {
  const value = Object.hasOwn(row, name) ? row[name] : null;
  if (value === null) return null;
  if (name === 'whole') return BigInt(value as number);
  if (name === 'flag') return Boolean(value);
  if (columns[name] === 'utf8') return wellFormed(typeof value === 'string' ? value : JSON.stringify(value));
  return Array.isArray(value) ? value.map((item: unknown) => (typeof item === 'string' ? wellFormed(item) : item)) : value;
}
/** Half a surrogate pair is no text: what is stored is the replacement character. */
const wellFormed = (text: string): string => Buffer.from(text).toString();

describe('lines of JSON', () => {
  it('are read as JSON.parse reads them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 30 }),
        fc.constantFrom('', '\n', '\n\n'),
        fc.integer({ min: 1, max: 9 }),
        async (lines, end, blockRows) => {
          const { batches } = await read(lines.join('\n') + end, new ColumnWishes(columns), blockRows);
          const rows = lines.map((text) => JSON.parse(text) as JsonRow);
          const cells = names.map((_, index) =>
            batches.flatMap(({ rows: count, columns: all }) =>
              Array.from({ length: count }, (_, row) => cellOf(all[index]!, row)),
            ),
          );
          for (const [index, name] of names.entries()) expect(cells[index]).toEqual(rows.map((row) => expected(name, row)));
          expect(batches.every((batch) => batch.rows <= blockRows)).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are refused where JSON.parse refuses them, whichever byte was changed', async () => {
    const good = '{"text":"a\\n","number":-1.5e3,"flag":true,"whole":12,"list":[1,{"b":null}],"words":"x"}';
    await fc.assert(
      fc.asyncProperty(
        fc.nat(good.length - 1),
        fc.constantFrom('"', ',', ':', '{', '}', '[', ']', '0', '-', '.', 'e', 'E', 't', 'n', '\\', ' ', '\u0001', 'x'),
        fc.boolean(),
        async (at, byte, isInsert) => {
          const bad = good.slice(0, at) + byte + good.slice(isInsert ? at : at + 1);
          let row: unknown;
          try {
            row = JSON.parse(bad);
          } catch {
            row = undefined;
          }
          // Every column is text, so that nothing but the syntax can be wrong; the columns are those that are written first.
          const wishes = new ColumnWishes(
            Object.fromEntries(Object.keys(JSON.parse(good) as JsonRow).map((name) => [name, 'utf8' as const])),
          );
          const reading = read(`${good}\n${bad}\n`, wishes);
          if (isRow(row)) expect((await reading).batches[0]?.rows).toBe(2);
          else
            await expect(reading).rejects.toMatchObject({
              code: 'PDL_SOURCE_UNREADABLE',
              message: expect.stringContaining('record 2'),
            });
        },
      ),
      { numRuns: 400 },
    );
  });

  it('hold a key twice: the last one counts', async () => {
    const { batches } = await read('{"a":1,"a":2}\n{"a":3,"a":null}\n', new ColumnWishes({ a: 'int32' }));
    expect([0, 1].map((row) => cellOf(batches[0]!.columns[0]!, row))).toEqual([2, null]);
  });

  it('tell the first record that does not fit, whichever column it is in', async () => {
    const text = '{"a":1,"b":1}\n{"a":2,"b":"x"}\n{"a":"y","b":3}\n';
    await expect(read(text, new ColumnWishes({ a: 'int32', b: 'int32' }))).rejects.toMatchObject({
      message: expect.stringContaining('record 2 of column "b" is "x", which does not fit int32'),
    });
  });

  it('become lists where arrays hold values of one type, and text where they do not', async () => {
    const source =
      '{"n":[1,2.5],"e":[],"m":[1,"a"],"o":[{"a":1}],"s":["x",null],"nn":[[1]],"later":[]}\n{"n":null,"later":[true]}\n';
    const path = join(tempDir(), 'lists.ndjson');
    writeFileSync(path, source);
    const reader = await FileSource.open(path);
    const table = await openNdjson(reader, new ColumnWishes(undefined), {}, 10);
    await reader.close();
    expect(Object.fromEntries(table.schema.map(({ name, type }) => [name, type]))).toEqual({
      n: 'list<float64>',
      e: 'list<utf8>',
      m: 'utf8',
      o: 'utf8',
      s: 'list<utf8>',
      nn: 'utf8',
      later: 'list<bool>',
    });
  });

  it('refuse what is no list, or whose items do not fit, in a column of lists', async () => {
    for (const value of ['1', '"[1]"', '{"0":1}', '[1,"x"]', '[[1]]'])
      await expect(read(`{"a":[1]}\n{"a":${value}}\n`, new ColumnWishes({ a: 'list<int32>' }))).rejects.toMatchObject({
        code: 'PDL_COLUMN_TYPE',
        message: expect.stringContaining('record 2'),
      });
  });
});
