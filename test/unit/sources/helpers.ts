/** Loading into a real scratch and reading back as plain rows; DuckDB as the judge of formats. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { onTestFinished } from 'vitest';
import type { ColumnSchema } from '../../../runtime/contracts/block.js';
import { pipelineSpecSchema, type PipelineSpec } from '../../../runtime/contracts/manifest.js';
import type { ShardSource } from '../../../runtime/contracts/shard.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import type { ColumnData, Scratch } from '../../../runtime/scratch/types.js';
import { loadSource, type LoadOptions, type LoadResult } from '../../../runtime/sources/load.js';
import { splitInput, type SplitShard } from '../../../runtime/sources/split.js';
import { makeScratch, run, shardId, lineageOf } from '../scratch/helpers.js';

export type Cell = number | bigint | string | boolean | null | Cell[];
export type Row = Record<string, Cell>;
export type Input = PipelineSpec['input'];

export const vega = (file: string): string => join(packageRoot, 'node_modules', 'vega-datasets', 'data', file);

export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'podline-sources-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** An input as the manifest's schema makes it, defaults filled in. */
export const inputOf = (input: Record<string, unknown>): Input => pipelineSpecSchema.shape.input.parse(input);

export interface Loaded {
  result: LoadResult;
  scratch: Scratch;
  schema: ColumnSchema[];
  /** Read when they are asked for. */
  readonly rows: Row[];
}

/** Loads into a scratch of its own, or into one that is given, and reads all rows back. */
export async function load(
  source: ShardSource,
  input: Record<string, unknown> = {},
  more: Partial<LoadOptions> = {},
  given?: Scratch,
): Promise<Loaded> {
  const scratch = given ?? (await makeScratch());
  const format = 'format' in source ? source.format : 'bytes';
  await scratch.beginRun(shardId, 'input', run);
  const result = await loadSource(source, {
    input: inputOf({ format, ...input }),
    openWriter: (kind, schema) =>
      scratch.openWriter({ shardId, stream: 'input', kind, schema, lineage: lineageOf('input'), run }),
    ...more,
  });
  return {
    result,
    scratch,
    schema: result.schema,
    get rows() {
      return readRows(scratch);
    },
  };
}

export function readRows(scratch: Scratch): Row[] {
  const reader = scratch.openReader(shardId);
  const rows: Row[] = [];
  for (const block of scratch.blocks(shardId, 'input')) {
    const table = [...reader.table(block)];
    for (let i = 0; i < block.rows; i++) rows.push(Object.fromEntries(table.map(([name, column]) => [name, cellOf(column, i)])));
  }
  reader.close();
  return rows;
}

export function readBytes(scratch: Scratch): Buffer {
  const reader = scratch.openReader(shardId);
  const whole = Buffer.concat(scratch.blocks(shardId, 'input').map((block) => reader.payload(block)));
  reader.close();
  return whole;
}

export function cellOf(column: ColumnData, row: number): Cell {
  if (column.nullCount > 0 && column.validity !== undefined && ((column.validity[row >> 3]! >> (row & 7)) & 1) === 0) return null;
  const text = (values: Uint8Array, offsets: Int32Array, at: number): string =>
    Buffer.from(values.subarray(offsets[at], offsets[at + 1])).toString();
  if (column.type === 'utf8') return text(column.values as Uint8Array, column.offsets!, row);
  if (column.type === 'bool') return ((column.values as Uint8Array)[row >> 3]! & (1 << (row & 7))) !== 0;
  if (column.items !== undefined)
    return Array.from({ length: column.offsets![row + 1]! - column.offsets![row]! }, (_, i) =>
      cellOf(column.items!, column.offsets![row]! + i),
    );
  const value = (column.values as Float64Array)[row]!;
  return column.dictionary === undefined ? value : text(column.dictionary.values, column.dictionary.offsets, value);
}

/** Numbers as numbers, so that readers of different widths can be compared. */
export const plain = (rows: readonly Row[]): Row[] =>
  rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, typeof cell === 'bigint' ? Number(cell) : cell])),
  );

/** Rows of a query; BIGINTs as numbers, timestamps as the query casts them. */
export async function duck(sql: string): Promise<Row[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(sql);
    return plain(reader.getRowObjects() as Row[]);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

export async function split(input: Record<string, unknown>, baseDir = packageRoot): Promise<SplitShard[]> {
  const shards: SplitShard[] = [];
  for await (const shard of splitInput(inputOf(input), { baseDir })) shards.push(shard);
  return shards;
}

export const fileOf = (path: string, format: ShardSource['format']): ShardSource => ({ uri: path, format });
