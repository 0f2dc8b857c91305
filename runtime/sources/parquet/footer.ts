/**
 * The footer of a parquet file: what columns there are, of which type each becomes, and where its chunks lie.
 *
 * The footer itself is parsed by hyparquet; this file judges it: truncated, encrypted, nested, out of range.
 */
import { parquetMetadataAsync, parquetSchema } from 'hyparquet';
import type { FileMetaData, SchemaElement, SchemaTree } from 'hyparquet';
import type { ColumnSchema, ColumnType, ItemType, ScalarType } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import { listOf } from '../../scratch/arrow/types.js';
import type { SourceReader } from '../source-reader.js';

/** What the values of a column mean, apart from how they are stored. */
export type Meaning =
  | { kind: 'integer'; signed: boolean; bits: 8 | 16 | 32 | 64 }
  | { kind: 'float' }
  | { kind: 'half' }
  | { kind: 'bool' }
  | { kind: 'text'; declared: boolean }
  | { kind: 'uuid' }
  | { kind: 'timestamp'; unit: 'ms' | 'us' | 'ns' }
  | { kind: 'int96' }
  | { kind: 'date' }
  | { kind: 'decimal'; scale: number };

export interface ParquetColumn {
  name: string;
  element: SchemaElement;
  /** Place among the chunks of a row group. */
  index: number;
  meaning: Meaning;
  /** The level at which a value is there: flat columns have 1 where it may be absent, else 0. */
  maxDefinition: number;
  /** A list of what is described above. */
  list?: { isNullable: boolean } | undefined;
}

export interface ParquetFile {
  source: SourceReader;
  metadata: FileMetaData;
  rows: number;
  /** First row of each row group, and behind the last the number of rows. */
  groupStarts: number[];
}

const hint = 'The file is truncated or no parquet file: write it again, or restore it.';

/** Throws PDL_SOURCE_UNREADABLE with what was expected and what was found. */
export async function readFooter(source: SourceReader): Promise<ParquetFile> {
  const unreadable = (what: string, cause?: unknown): PodlineError =>
    new PodlineError('PDL_SOURCE_UNREADABLE', `${source.name} is not a whole parquet file: ${what}`, {
      place: source.name,
      hint,
      cause,
    });
  if (source.sizeBytes < 12) throw unreadable(`it has ${String(source.sizeBytes)} bytes, and the smallest has 12`);
  const tail = await source.readAt(source.sizeBytes - 8, source.sizeBytes, 'metadata');
  const magic = tail.toString('latin1', 4, 8);
  if (magic === 'PARE') {
    throw new PodlineError('PDL_FORMAT_UNSUPPORTED', `${source.name} has an encrypted footer`, {
      place: source.name,
      hint: 'Write it without encryption.',
    });
  }
  if (magic !== 'PAR1')
    throw unreadable(
      `it was expected to end with the 4 bytes "PAR1" at byte ${String(source.sizeBytes - 4)}, and ends with ${JSON.stringify(magic)}`,
    );
  const footerBytes = tail.readUInt32LE(0);
  if (footerBytes + 12 > source.sizeBytes) {
    throw unreadable(
      `its footer was expected to have ${String(footerBytes)} bytes, and the file has ${String(source.sizeBytes)} in all`,
    );
  }
  let metadata: FileMetaData;
  try {
    const file = {
      byteLength: source.sizeBytes,
      slice: async (from: number, to = source.sizeBytes) => (await source.readAt(from, to, 'metadata')).buffer as ArrayBuffer,
    };
    metadata = await parquetMetadataAsync(file, { initialFetchSize: footerBytes + 8 });
  } catch (thrown) {
    if (thrown instanceof PodlineError && thrown.code !== 'PDL_INTERNAL') throw thrown;
    throw unreadable(
      `its footer at byte ${String(source.sizeBytes - 8 - footerBytes)} cannot be parsed (${thrown instanceof Error ? thrown.message : String(thrown)})`,
      thrown,
    );
  }
  const groupStarts = [0];
  for (const group of metadata.row_groups) groupStarts.push((groupStarts.at(-1) ?? 0) + Number(group.num_rows));
  const rows = groupStarts.at(-1) ?? 0;
  if (Number(metadata.num_rows) !== rows)
    throw unreadable(`its footer says ${String(metadata.num_rows)} rows, and its row groups hold ${String(rows)}`);
  for (const group of metadata.row_groups) {
    for (const chunk of group.columns) {
      const [from, to] = chunkRange(chunk.meta_data);
      if (!(from >= 4 && to <= source.sizeBytes - 8 - footerBytes)) {
        throw unreadable(`its footer places a column at bytes ${String(from)} to ${String(to)}, outside of the data`);
      }
    }
  }
  return { source, metadata, rows, groupStarts };
}

/** Bytes [from, to) of a column chunk, its dictionary included. */
export function chunkRange(meta: FileMetaData['row_groups'][number]['columns'][number]['meta_data']): [number, number] {
  if (meta === undefined) return [0, 0];
  const dictionary = Number(meta.dictionary_page_offset ?? 0n);
  const data = Number(meta.data_page_offset);
  const from = dictionary > 0 && dictionary < data ? dictionary : data;
  return [from, from + Number(meta.total_compressed_size)];
}

/** The columns named, or all, in that order. Throws PDL_FORMAT_UNSUPPORTED (nested), PDL_SOURCE_UNREADABLE (not there). */
export function parquetColumns(file: ParquetFile, wanted: readonly string[] | undefined): ParquetColumn[] {
  const place = file.source.name;
  const trees = new Map<string, { tree: SchemaTree; index: number }>();
  let leaves = 0;
  for (const tree of parquetSchema(file.metadata).children) {
    trees.set(tree.element.name, { tree, index: leaves });
    leaves += countLeaves(tree);
  }
  return (wanted ?? [...trees.keys()]).map((name) => {
    const found = trees.get(name);
    if (found === undefined) {
      throw new PodlineError(
        'PDL_SOURCE_UNREADABLE',
        `${place} has no column "${name}"; it has ${[...trees.keys()].join(', ')}`,
        {
          place,
          hint: 'Check the names under `input.columns`.',
        },
      );
    }
    const list = listIn(found.tree);
    const leaf = list?.item ?? found.tree;
    const { element } = leaf;
    const isNested = leaf.children.length > 0 || (list === undefined && element.repetition_type === 'REPEATED');
    const meaning = isNested ? undefined : meaningOf(element);
    if (meaning === undefined) {
      const what = isNested
        ? 'is nested'
        : `is of type ${element.converted_type ?? element.logical_type?.type ?? String(element.type)}`;
      throw new PodlineError('PDL_FORMAT_UNSUPPORTED', `column "${name}" of ${place} ${what}, which Podline does not read`, {
        place,
        hint: 'Name the other columns under `input.columns`, or write the column flat, or as a list of plain values.',
      });
    }
    const isOptional = element.repetition_type === 'REQUIRED' || element.repetition_type === 'REPEATED' ? 0 : 1;
    if (list === undefined) return { name, element, index: found.index, meaning, maxDefinition: isOptional };
    const maxDefinition = (list.isNullable ? 1 : 0) + 1 + isOptional;
    return { name, element, index: found.index, meaning, maxDefinition, list: { isNullable: list.isNullable } };
  });
}

/**
 * The item of a list: below a repeated group in between as the format wants it, or itself repeated as older writers have it. Undefined: no
 * list. What the item is, is not looked at.
 */
function listIn({ element, children }: SchemaTree): { item: SchemaTree; isNullable: boolean } | undefined {
  if (element.repetition_type === 'REPEATED') return undefined;
  const [repeated] = children;
  if (element.converted_type !== 'LIST' && element.logical_type?.type !== 'LIST') return undefined;
  if (repeated === undefined || children.length !== 1 || repeated.element.repetition_type !== 'REPEATED') return undefined;
  const isNullable = element.repetition_type === 'OPTIONAL';
  if (repeated.children.length === 0) return { item: repeated, isNullable };
  const [item] = repeated.children;
  return item === undefined || repeated.children.length !== 1 || item.element.repetition_type === 'REPEATED'
    ? undefined
    : { item, isNullable };
}

const countLeaves = (tree: SchemaTree): number =>
  tree.children.length === 0 ? 1 : tree.children.reduce((sum, child) => sum + countLeaves(child), 0);

/** The type that a column has where none is declared; text becomes `dictionary` where `asDictionary`. */
export function naturalType(column: ParquetColumn, asDictionary: boolean): ColumnType {
  if (column.list === undefined) return naturalScalar(column, asDictionary);
  return listOf(naturalScalar(column, false) as ItemType);
}

function naturalScalar(column: ParquetColumn, asDictionary: boolean): ScalarType {
  const { meaning } = column;
  switch (meaning.kind) {
    case 'integer':
      return `${meaning.signed ? 'int' : 'uint'}${meaning.bits}`;
    case 'float':
      return column.element.type === 'FLOAT' ? 'float32' : 'float64';
    case 'half':
      return 'float32';
    case 'decimal':
      return 'float64';
    case 'bool':
      return 'bool';
    case 'text':
    case 'uuid':
      return asDictionary ? 'dictionary' : 'utf8';
    case 'timestamp':
      return meaning.unit === 'ms' ? 'timestamp[ms]' : 'timestamp[us]';
    case 'int96':
      return 'timestamp[us]';
    case 'date':
      return 'date32';
  }
}

/** A column is nullable unless it is required, or the statistics of every row group say that it has no nulls. */
export function schemaOf(file: ParquetFile, column: ParquetColumn, type: ColumnType): ColumnSchema {
  if (column.list !== undefined) return { name: column.name, type, nullable: column.list.isNullable };
  const noNulls = file.metadata.row_groups.every(
    (group) => group.columns[column.index]?.meta_data?.statistics?.null_count === 0n,
  );
  return { name: column.name, type, nullable: column.maxDefinition === 1 && !noNulls };
}

function meaningOf(element: SchemaElement): Meaning | undefined {
  const { type, converted_type: converted, logical_type: logical } = element;
  if (logical?.type === 'TIMESTAMP')
    return { kind: 'timestamp', unit: logical.unit === 'MILLIS' ? 'ms' : logical.unit === 'MICROS' ? 'us' : 'ns' };
  if (logical?.type === 'DECIMAL' || converted === 'DECIMAL')
    return { kind: 'decimal', scale: element.scale ?? (logical?.type === 'DECIMAL' ? logical.scale : 0) };
  if (type === 'INT32' || type === 'INT64') {
    if (converted === 'TIMESTAMP_MILLIS') return { kind: 'timestamp', unit: 'ms' };
    if (converted === 'TIMESTAMP_MICROS') return { kind: 'timestamp', unit: 'us' };
    if (converted === 'DATE' || logical?.type === 'DATE') return { kind: 'date' };
    const storage = type === 'INT32' ? 32 : 64;
    if (logical?.type === 'INTEGER')
      return { kind: 'integer', signed: logical.isSigned, bits: asBits(logical.bitWidth) ?? storage };
    const named = /^(U?)INT_(\d+)$/.exec(converted ?? '');
    if (named !== null) return { kind: 'integer', signed: named[1] === '', bits: asBits(Number(named[2])) ?? storage };
    return { kind: 'integer', signed: true, bits: storage };
  }
  if (type === 'INT96') return { kind: 'int96' };
  if (type === 'FLOAT' || type === 'DOUBLE') return { kind: 'float' };
  if (type === 'BOOLEAN') return { kind: 'bool' };
  if (type === 'FIXED_LEN_BYTE_ARRAY') {
    if (logical?.type === 'FLOAT16') return { kind: 'half' };
    return logical?.type === 'UUID' ? { kind: 'uuid' } : undefined;
  }
  if (type === 'BYTE_ARRAY') {
    if (converted === 'UTF8' || converted === 'JSON' || converted === 'ENUM') return { kind: 'text', declared: true };
    if (logical?.type === 'STRING' || logical?.type === 'JSON' || logical?.type === 'ENUM')
      return { kind: 'text', declared: true };
    // Older writers do not say that their byte arrays are text: it is found out value by value.
    if (converted === undefined && logical === undefined) return { kind: 'text', declared: false };
  }
  return undefined;
}

const asBits = (bits: number): 8 | 16 | 32 | 64 | undefined =>
  bits === 8 || bits === 16 || bits === 32 || bits === 64 ? bits : undefined;
