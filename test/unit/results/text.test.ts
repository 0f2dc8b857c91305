import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ColumnType, ItemType } from '../../../runtime/contracts/block.js';
import type { Cell } from '../../../runtime/results/cells.js';
import { csvField, writeCsvBlock } from '../../../runtime/results/csv.js';
import { writeNdjsonBlock } from '../../../runtime/results/ndjson.js';
import { TextBuffer } from '../../../runtime/results/text-buffer.js';
import type { ColumnData } from '../../../runtime/scratch/types.js';
import { columnOf, type Value } from '../scratch/helpers.js';

function written(write: (out: TextBuffer) => void): string {
  const pieces: Buffer[] = [];
  const out = new TextBuffer((bytes) => pieces.push(Buffer.from(bytes)), 8);
  write(out);
  out.drain();
  return Buffer.concat(pieces).toString();
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }).map((value) => Buffer.from(value).toString()),
  fc.constantFrom('', ' a', 'a ', '"', ',', 'x\ny', '\u00a0x', 'x\u2003', '\u0000\u001f\u007f\u0080', 'plain'),
);
const number = fc.oneof(
  fc.double(),
  fc.integer({ min: -(2 ** 31), max: 2 ** 32 }),
  fc.maxSafeInteger(),
  // Few decimals, as prices and readings have, and what lies right beside such numbers.
  fc.tuple(fc.integer(), fc.nat(9)).map(([digits, places]) => digits / 10 ** places),
  fc.tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.nat(6)).map(([digits, places]) => nextUp(digits / 10 ** places)),
  fc.constantFrom(
    0,
    -0,
    1e21,
    1e-6,
    1e-7,
    123456789.123456,
    0.1 + 0.2,
    5e-324,
    1.7976931348623157e308,
    NaN,
    Infinity,
    -Infinity,
    999999999999999.9,
    2 ** 53,
    2 ** 53 + 2,
    1e15,
    0.000001,
    4294967296.5,
  ),
);
function nextUp(value: number): number {
  const bits = new BigInt64Array(1);
  const doubles = new Float64Array(bits.buffer);
  doubles[0] = value;
  bits[0] = (bits[0] ?? 0n) + 1n;
  return doubles[0] ?? 0;
}
const values: Partial<Record<ColumnType, fc.Arbitrary<Value>>> = {
  int8: fc.integer({ min: -128, max: 127 }),
  uint32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  float32: fc.float(),
  float64: number,
  int64: fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.maxSafeInteger().map(BigInt)),
  uint64: fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat().map(BigInt)),
  bool: fc.boolean(),
  utf8: text,
  dictionary: text,
  'timestamp[ms]': fc.oneof(
    fc.integer({ min: -62_200_000_000_000, max: 253_500_000_000_000 }).map(BigInt),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  ),
  'timestamp[us]': fc.oneof(fc.maxSafeInteger().map(BigInt), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  date32: fc.oneof(fc.integer({ min: -800_000, max: 3_000_000 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
};
const plainColumn = fc
  .constantFrom(...(Object.keys(values) as ColumnType[]))
  .chain((type) => fc.tuple(fc.constant(type), fc.array(fc.option(values[type]!, { freq: 4 }), { minLength: 8, maxLength: 8 })));

/** Eight rows of lists of the items, some of them null. */
function listOf(
  type: ItemType,
  items: readonly Value[],
  cuts: readonly number[],
): { data: ColumnData; lists: (Value[] | null)[] } {
  const offsets = Int32Array.from([0, ...[...cuts].sort((a, b) => a - b), items.length]);
  const lists = Array.from({ length: 8 }, (_, row) => (row === 3 ? null : items.slice(offsets[row], offsets[row + 1])));
  const data: ColumnData = {
    type: `list<${type}>`,
    rows: 8,
    nullCount: 1,
    validity: Uint8Array.of(0xf7),
    values: new Uint8Array(0),
    offsets,
    items: columnOf(type, items),
  };
  return { data, lists };
}

/** What JSON.stringify says of a value that is stored; times as Date says them. */
function asJson(type: ColumnType, value: Value): string {
  if (value === null) return 'null';
  if (type === 'float32') return JSON.stringify(Math.fround(value as number));
  if (typeof value === 'bigint' && !type.startsWith('timestamp')) return value.toString();
  return JSON.stringify(asCell(type, value));
}
function asCell(type: ColumnType, value: Value): Value {
  if (value === null) return null;
  if (type === 'float32') return Math.fround(value as number);
  if (type !== 'date32' && !type.startsWith('timestamp')) return value;
  const perMs = type === 'timestamp[us]' ? 1000n : 1n;
  const units = type === 'date32' ? BigInt(value as number) * 86_400_000n : (value as bigint);
  const below = ((units % perMs) + perMs) % perMs;
  const ms = Number((units - below) / perMs);
  if (Math.abs(ms) > 8.64e15) return String(value);
  const iso = new Date(ms).toISOString();
  if (type === 'date32') return iso.slice(0, iso.indexOf('T'));
  return perMs === 1n ? iso : `${iso.slice(0, -1)}${String(below).padStart(3, '0')}Z`;
}

describe('text straight from columns', () => {
  it('writes JSON as JSON.stringify does', () => {
    fc.assert(
      fc.property(
        fc.array(plainColumn, { minLength: 1, maxLength: 4 }),
        fc.array(text, { minLength: 4, maxLength: 4 }),
        (columns, names) => {
          const keys = names.map((name, index) => `${String(index)}${name}`);
          const table = new Map(columns.map(([type, cells], index) => [keys[index]!, columnOf(type, cells)]));
          const expected = Array.from({ length: 8 }, (_, row) => {
            const fields = columns.map(([type, cells], index) => `${JSON.stringify(keys[index])}:${asJson(type, cells[row]!)}`);
            return `{${fields.join(',')}}\n`;
          });
          expect(written((out) => writeNdjsonBlock(out, 8, table))).toBe(expected.join(''));
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('writes CSV as a plain writer of strings does', () => {
    fc.assert(
      fc.property(fc.array(plainColumn, { minLength: 1, maxLength: 4 }), (columns) => {
        const data = columns.map(([type, cells]) => columnOf(type, cells));
        const expected = Array.from({ length: 8 }, (_, row) =>
          columns.map(([type, cells]) => csvField(asCell(type, cells[row]!) as Cell)).join(','),
        );
        expect(written((out) => writeCsvBlock(out, 8, data))).toBe(`${expected.join('\n')}\n`);
      }),
      { numRuns: 1500 },
    );
  });

  it('writes lists as arrays', () => {
    const lists = fc
      .constantFrom(...(Object.keys(values) as ColumnType[]).filter((type): type is ItemType => type !== 'dictionary'))
      .chain((type) => fc.tuple(fc.constant(type), fc.array(fc.option(values[type]!, { freq: 4 }), { maxLength: 12 })))
      .chain(([type, items]) =>
        fc.tuple(fc.constant(type), fc.constant(items), fc.array(fc.nat(items.length), { minLength: 7, maxLength: 7 })),
      );
    fc.assert(
      fc.property(lists, ([type, items, cuts]) => {
        const { data, lists: rows } = listOf(type, items, cuts);
        const json = rows.map((row) => (row === null ? 'null' : `[${row.map((item) => asJson(type, item)).join(',')}]`));
        expect(written((out) => writeNdjsonBlock(out, 8, new Map([['a', data]])))).toBe(
          json.map((row) => `{"a":${row}}\n`).join(''),
        );
        expect(written((out) => writeCsvBlock(out, 8, [data]))).toBe(
          rows.map((row, index) => `${row === null ? '' : csvField(json[index]!)}\n`).join(''),
        );
      }),
      { numRuns: 800 },
    );
  });

  it('replaces bytes that are not UTF-8, so that the file can be read', () => {
    const bad: ColumnData = {
      type: 'utf8',
      rows: 2,
      nullCount: 0,
      offsets: Int32Array.of(0, 2, 3),
      values: Uint8Array.of(0x61, 0xff, 0x62),
    };
    expect(written((out) => writeNdjsonBlock(out, 2, new Map([['a', bad]])))).toBe('{"a":"a\ufffd"}\n{"a":"b"}\n');
  });

  it('hands on pieces as it goes, and all of a text that is longer than a piece', () => {
    const long = '"x"'.repeat(1_000_000);
    const data = columnOf('utf8', [long, 'end']);
    expect(written((out) => writeNdjsonBlock(out, 2, new Map([['a', data]])))).toBe(
      `{"a":${JSON.stringify(long)}}\n{"a":"end"}\n`,
    );
  });
});
