/** A scratch of its own for a test, on tmpfs where there is one, and columns to put into it. */
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ColumnSchema, ColumnType, Lineage, RunRecord } from '../../../runtime/contracts/block.js';
import { physicalTypes } from '../../../runtime/scratch/arrow/types.js';
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

export type Value = number | bigint | boolean | string | null;

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
  return Array.from({ length: data.rows }, (_, row): Value => {
    if (isNull(row)) return null;
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
