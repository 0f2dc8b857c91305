/** A scratch of its own for a test, on tmpfs where there is one, and columns to put into it. */
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import {
  itemTypes,
  type ColumnSchema,
  type ColumnType,
  type Lineage,
  type ListType,
  type RunRecord,
  type ScalarType,
} from '../../../runtime/contracts/block.js';
import { itemTypeOf, physicalTypes } from '../../../runtime/scratch/arrow/types.js';
import { openScratch } from '../../../runtime/scratch/scratch.js';
import type {
  ColumnData,
  Scratch,
  ScratchOptions,
  StreamWriter,
  Utf8Data,
  WriterRequest,
} from '../../../runtime/scratch/types.js';

export const shardId = 'shard-1';
export const run: RunRecord = { runId: 'run-1', epoch: 1 };
export const rejection = async (action: Promise<unknown>): Promise<unknown> =>
  action.then(
    () => 'it did not fail',
    (error: unknown) => error,
  );

export function memoryDir(): string {
  let base = tmpdir();
  try {
    accessSync('/dev/shm', constants.W_OK);
    base = '/dev/shm';
  } catch {
    // A plain folder does as well, only slower.
  }
  const dir = mkdtempSync(join(base, 'podline-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function optionsIn(dir: string, more: Partial<ScratchOptions> = {}): ScratchOptions {
  return {
    dir: join(dir, 'scratch'),
    spillDir: join(dir, 'spill'),
    sizeBytesMax: 256 * 1024 * 1024,
    medium: 'memory',
    role: 'owner',
    ...more,
  };
}

/** An owner's scratch that holds `shardId`; closed when the test ends. */
export async function makeScratch(more: Partial<ScratchOptions> = {}, dir = memoryDir()): Promise<Scratch> {
  const scratch = await openScratch(optionsIn(dir, more));
  onTestFinished(() => scratch.close());
  await scratch.putShard({ shardId, epoch: 1, revision: 1 });
  return scratch;
}

export const lineageOf = (stage: string, version = 'v1'): Lineage => ({
  digest: `${stage}@${version}`,
  stage,
  version,
  parameters: 'p',
  inputs: {},
});

/** Begins a run of `stream` and opens its writer. */
export async function writerOf(
  scratch: Scratch,
  stream: string,
  schema: ColumnSchema[],
  more: Partial<WriterRequest> = {},
): Promise<StreamWriter> {
  const request: WriterRequest = { shardId, stream, kind: 'table', schema, lineage: lineageOf(stream), run, ...more };
  await scratch.beginRun(shardId, stream, request.run);
  const writer = await scratch.openWriter(request);
  onTestFinished(() => writer.close());
  return writer;
}

/** Of a column of lists: arrays of plain values. */
export type Value = number | bigint | boolean | string | null | readonly Value[];

const scalarSamples: Record<ScalarType, Value[]> = {
  int8: [-128, 0, null, 127],
  int16: [-32768, null, 32767],
  int32: [-(2 ** 31), null, 2 ** 31 - 1],
  int64: [-(2n ** 63n), null, 2n ** 63n - 1n],
  uint8: [0, null, 255],
  uint16: [0, null, 65535],
  uint32: [0, null, 2 ** 32 - 1],
  uint64: [0n, null, 2n ** 64n - 1n],
  float32: [1.5, null, -0.25, Infinity],
  float64: [Math.PI, null, Number.NaN, -0],
  bool: [true, null, false, true, true, false, null, true, true],
  utf8: ['', 'ä', null, 'line\nbreak', '🛫'],
  dictionary: ['b', 'a', null, 'b', ''],
  'timestamp[ms]': [-1n, null, 1_700_000_000_000n],
  'timestamp[us]': [0n, null, 1_700_000_000_000_000n],
  date32: [-719162, null, 19_000],
};
const listSamples = Object.fromEntries(
  itemTypes.map((type) => [`list<${type}>`, [scalarSamples[type], null, [], scalarSamples[type].slice(1), [null]]]),
) as Record<ListType, Value[]>;
/** Values of every type, extremes and nulls among them. */
export const samples: Record<ColumnType, Value[]> = { ...scalarSamples, ...listSamples };

/** A column of plain values; null where there is none. */
export function columnOf(type: ColumnType, values: readonly Value[]): ColumnData {
  const rows = values.length;
  const nullCount = values.filter((value) => value === null).length;
  const data: ColumnData = { type, rows, nullCount, values: new Uint8Array(0) };
  if (nullCount > 0) data.validity = bits(values.map((value) => value !== null));
  if (type === 'bool') return { ...data, values: bits(values.map((value) => value === true)) };
  if (type === 'utf8') {
    const texts = utf8Of(values.map((value) => (value === null ? '' : String(value))));
    return { ...data, offsets: texts.offsets, values: texts.values };
  }
  if (type === 'dictionary') {
    const words = [...new Set(values.filter((value) => value !== null))].map(String);
    const codes = Int32Array.from(values, (value) => (value === null ? 0 : words.indexOf(String(value))));
    return { ...data, values: codes, dictionary: utf8Of(words) };
  }
  const itemType = itemTypeOf(type);
  if (itemType) {
    const lists = values.map((value) => (Array.isArray(value) ? (value as Value[]) : []));
    const offsets = new Int32Array(rows + 1);
    for (const [row, list] of lists.entries()) offsets[row + 1] = (offsets[row] ?? 0) + list.length;
    return { ...data, offsets, items: columnOf(itemType, lists.flat()) };
  }
  const { array } = physicalTypes[type];
  const target = new array(rows);
  for (const [row, value] of values.entries()) target[row] = (value ?? (typeof target[0] === 'bigint' ? 0n : 0)) as never;
  return { ...data, values: target };
}

/** The values of a column as `columnOf` takes them. */
export function valuesOf(data: ColumnData): Value[] {
  const isNull = (row: number): boolean => data.nullCount > 0 && !bitAt(data.validity ?? new Uint8Array(0), row);
  const text = (of: Utf8Data, index: number): string =>
    new TextDecoder().decode(of.values.slice(of.offsets[index], of.offsets[index + 1]));
  const items = data.items && valuesOf(data.items);
  return Array.from({ length: data.rows }, (_, row): Value => {
    if (isNull(row)) return null;
    if (items) return items.slice(data.offsets?.[row], data.offsets?.[row + 1]);
    if (data.type === 'bool') return bitAt(data.values as Uint8Array, row);
    if (data.type === 'utf8')
      return text({ length: data.rows, offsets: data.offsets ?? new Int32Array(0), values: data.values as Uint8Array }, row);
    const value = (data.values as unknown as ArrayLike<number | bigint>)[row] ?? null;
    return data.type === 'dictionary' && data.dictionary ? text(data.dictionary, Number(value)) : value;
  });
}

export function utf8Of(texts: readonly string[]): Utf8Data {
  const encoded = texts.map((text) => Buffer.from(text));
  const offsets = new Int32Array(texts.length + 1);
  for (const [index, text] of encoded.entries()) offsets[index + 1] = (offsets[index] ?? 0) + text.length;
  return { length: texts.length, offsets, values: new Uint8Array(Buffer.concat(encoded)) };
}

const bitAt = (bytes: Uint8Array, index: number): boolean => (((bytes[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;

function bits(values: readonly boolean[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(values.length / 8));
  for (const [index, value] of values.entries()) if (value) bytes[index >> 3] = (bytes[index >> 3] ?? 0) | (1 << (index & 7));
  return bytes;
}

export const int32s = (name = 'n', nullable = false): ColumnSchema[] => [{ name, type: 'int32', nullable }];
export const numbers = (...values: number[]): ColumnData => columnOf('int32', values);
/** A block of one int32 column of this many bytes or a little more. */
export const blockOf = (bytes: number, fill = 1): ColumnData => ({
  type: 'int32',
  rows: bytes / 4,
  nullCount: 0,
  values: new Int32Array(bytes / 4).fill(fill),
});

/** All values of one column of a stream, over all blocks. */
export function readColumn(scratch: Scratch, stream: string, column: string): Value[] {
  const reader = scratch.openReader(shardId);
  try {
    return scratch.blocks(shardId, stream).flatMap((block) => {
      const data = reader.table(block, [column]).get(column);
      return data ? valuesOf(data) : [];
    });
  } finally {
    reader.close();
  }
}
