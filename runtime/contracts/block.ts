/**
 * What the index of a scratch holds: shards, streams, segments, blocks, runs and progress.
 *
 * A *stream* is the output of one stage for one shard (the loader's is called `input`). It is a list of
 * *blocks*, each committed once and never changed. The bytes of the blocks lie in *segments*: append-only
 * files that are, each for itself, a valid Arrow IPC stream (kind `table`) or plain bytes (`bytes`, `files`).
 * A block names each of its buffers by segment and offset, so that a block may take a column from a segment
 * of an earlier stream instead of writing it again.
 *
 * Invariants
 *  1. A byte range that a committed block refers to never changes; segments are appended to and never truncated.
 *  2. A block, the progress of its stage and the bytes it occupies change in one LMDB transaction.
 *  3. A segment has one writer, the run that made it; a later run of the same stage opens a segment of its own.
 *  4. A commit is refused unless its run id is the current one of its stage.
 *  5. Offsets and lengths are bytes; every buffer of a table that Podline writes starts at a multiple of 64 within its segment. In
 *     an adopted file buffers lie where its writer put them (`SegmentRecord.ended`, Arrow: multiples of 8).
 *  6. The extents of a segment's blocks follow each other from byte 0 without gaps up to `committedBytes`.
 */

/** Types of single values, each Arrow's layout of the same name. `dictionary` is int32 codes into utf8 values. */
export const scalarTypes = [
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
  'float32',
  'float64',
  'bool',
  'utf8',
  'dictionary',
  'timestamp[ms]',
  'timestamp[us]',
  'date32',
] as const;
export type ScalarType = (typeof scalarTypes)[number];
/** What a list may hold: every scalar but dictionaries; lists of lists there are none. */
export type ItemType = Exclude<ScalarType, 'dictionary'>;
export type ListType = `list<${ItemType}>`;
export type ColumnType = ScalarType | ListType;

export const itemTypes = scalarTypes.filter((type): type is ItemType => type !== 'dictionary');
export const listTypes = itemTypes.map((type): ListType => `list<${type}>`);
export const columnTypes: readonly ColumnType[] = [...scalarTypes, ...listTypes];

export interface ColumnSchema {
  name: string;
  type: ColumnType;
  nullable: boolean;
}

export type StreamKind = 'table' | 'bytes' | 'files';
export type Medium = 'memory' | 'ssd' | 'volume' | 'network';

/** The stream that the loader writes; reserved as a stage name. */
export const inputStream = 'input';

export interface BufferRef {
  segment: string;
  offset: number;
  length: number;
}

/** Where the values of a column, or the items of its lists, lie. */
export interface ArrayRef {
  nullCount: number;
  /** Bit i set: row i holds a value. Absent: no nulls. */
  validity?: BufferRef | undefined;
  /** int32 offsets, rows + 1 of them: utf8 and lists only. */
  offsets?: BufferRef | undefined;
  /** Values; for utf8 the bytes, for bool bits, for dictionary the int32 codes; for a list nothing (length 0): its items are an array of their own. */
  values: BufferRef;
}

export interface ColumnRef extends ArrayRef {
  name: string;
  type: ColumnType;
  /** The values that the codes of a dictionary column point into: a utf8 array without nulls. */
  dictionary?: { length: number; offsets: BufferRef; values: BufferRef } | undefined;
  /** Lists: the items of all rows, one after another; `rows` counts them. */
  items?: (ArrayRef & { rows: number }) | undefined;
  /**
   * The block has only some rows of what is described above: `indices` are their numbers (uint32, as many as the block has rows) in
   * the order of the block, `rows` is how many there are above. `nullCount` counts those above. Absent: all of them.
   */
  selection?: { rows: number; indices: BufferRef } | undefined;
  /** Nothing that is still to come reads it, and its bytes were given back. Reading it is an error. */
  freed?: true | undefined;
}

/** The stretch of a segment that a block's writer wrote for it; what checkpoints copy and checksums cover. */
export interface BlockExtent extends BufferRef {
  crc32: number;
}

export interface BlockRecord {
  seq: number;
  /** Rows of a table; 0 for bytes and files. */
  rows: number;
  /** Table only. */
  columns: ColumnRef[];
  /** bytes and files: the payload; an empty one lies in segment `''` (none) and has no extent. */
  payload?: BufferRef | undefined;
  /** files: the name of the file that the payload continues. */
  file?: string | undefined;
  /** Absent when the block wrote nothing of its own (all columns by reference). */
  extent?: BlockExtent | undefined;
}

export interface SegmentRecord {
  /** Unique within the shard: `<stream>.<n>`. */
  id: string;
  stream: string;
  path: string;
  medium: 'memory' | 'ssd';
  /** Bytes up to the end of the last committed block. */
  committedBytes: number;
  /** An Arrow end-of-stream mark was written behind the last block: the file is whole as it stands. */
  ended: boolean;
}

/** What a stream was made from; equal lineage digests mean equal streams. Resume compares the parts, to say why not. */
export interface Lineage {
  /** sha256 over all below, hex. */
  digest: string;
  stage: string;
  /** Digest of the stage's code or image. */
  version: string;
  /** Digest of the parameters that the stage can see; on `input`, of the options with which the source is read. */
  parameters: string;
  /** What `parameters` is the digest of, readable: canonical JSON by name (its sha256 where it is long), options of ours as `@name`. */
  values?: Record<string, string> | undefined;
  /** Identity of the source: only on `input`. */
  source?: string | undefined;
  /** Lineage digests of the streams that it reads, by stream. */
  inputs: Record<string, string>;
}

export interface StreamRecord {
  stream: string;
  kind: StreamKind;
  schema: ColumnSchema[];
  lineage: Lineage;
  sealed: boolean;
  blocks: number;
  rows: number;
  /** Bytes that the stream itself wrote, references not counted. */
  bytes: number;
  /** Columns of its own whose bytes were given back (`Scratch.freeColumns`). */
  freed?: string[] | undefined;
}

/** How far a stage has come in its input; written in the transaction of its output. */
export interface StageProgress {
  /** Input blocks whose result is committed. */
  consumed: number;
  /** State of an aggregation after `consumed` blocks, encoded by the stage. */
  state?: Uint8Array | undefined;
}

export interface ShardRecordInScratch {
  shardId: string;
  epoch: number;
  /** Pipeline revision under which the shard was taken in. */
  revision: number;
}

/** The fence of invariant 4. */
export interface RunRecord {
  runId: string;
  epoch: number;
}

/** The start of a buffer within its segment is a multiple of this: Arrow's recommended alignment. */
export const bufferAlignment = 64;
export const alignUp = (bytes: number, to = bufferAlignment): number => Math.ceil(bytes / to) * to;

export type BytesByMedium = Record<Medium, { read: number; written: number }>;
export const noBytes = (): BytesByMedium => ({
  memory: { read: 0, written: 0 },
  ssd: { read: 0, written: 0 },
  volume: { read: 0, written: 0 },
  network: { read: 0, written: 0 },
});
export function addBytes(into: BytesByMedium, more: BytesByMedium): BytesByMedium {
  for (const medium of Object.keys(into) as Medium[]) {
    into[medium].read += more[medium].read;
    into[medium].written += more[medium].written;
  }
  return into;
}
