/**
 * The interfaces of the scratch: what loader, stages, checkpoints and agent see of it.
 * Storage is described in `contracts/block.ts`; the words are those of `contracts/README.md`.
 */
import type {
  BlockRecord,
  BufferRef,
  ColumnRef,
  ColumnSchema,
  ColumnType,
  Lineage,
  RunRecord,
  SegmentRecord,
  ShardRecordInScratch,
  StageProgress,
  StreamKind,
  StreamRecord,
} from '../contracts/block.js';

/** Values of a utf8 array: `offsets` has length + 1 entries into `values`. */
export interface Utf8Data {
  length: number;
  offsets: Int32Array;
  values: Uint8Array;
}

/** One column of one block, in Arrow's layout, in memory. What writers take and readers give. */
export interface ColumnData {
  type: ColumnType;
  rows: number;
  nullCount: number;
  /** Bits, least significant first; absent when nullCount is 0. */
  validity?: Uint8Array | undefined;
  /** Int8Array … Float64Array, BigInt64Array (int64, timestamps), Int32Array (date32, dictionary codes), Uint8Array (bool bits, utf8 bytes). */
  values: ArrayBufferView;
  offsets?: Int32Array | undefined;
  /** The same object (or equal bytes) in consecutive blocks is written once. */
  dictionary?: Utf8Data | undefined;
  /** Lists: `offsets` point into it; `values` is empty. */
  items?: ColumnData | undefined;
  /** Only from `column(ref, rows, 'selected')`: row i of the block is row `selection[i]` of the arrays. */
  selection?: Uint32Array | undefined;
}

/**
 * A column to commit: data to write; or a reference to a column that is committed already, under another name perhaps, and of all its
 * rows or of those named in `select` (row numbers of the block that the reference was read from). Columns of a block that share a
 * `select` array, and had the same selection before, share what is written for it.
 */
export type ColumnToWrite =
  { name: string; data: ColumnData } | { name: string; ref: ColumnRef; select?: Uint32Array | undefined };

export interface ScratchOptions {
  /** Folder of the line: `index/` (LMDB), `bells/`, `shards/<id>/<segment>`. */
  dir: string;
  /** Where segments go that do not fit: `<spillDir>/<shard>/<segment>`. Of this scratch alone: what it does not know there is removed. */
  spillDir: string;
  /** Bound of the committed and reserved bytes in `dir`. */
  sizeBytesMax: number;
  /** The medium of `dir`. */
  medium: 'memory' | 'ssd';
  /** `owner`: the agent, creates and frees. `stage`: a shim; reads, and writes under a run. */
  role: 'owner' | 'stage';
  /** Default: mmap where the native part loads and PODLINE_MMAP is not `off`. */
  reads?: 'mmap' | 'pread' | undefined;
}

export interface ScratchUsage {
  /** Bytes of segments in `dir`, in whole pages, reservations included; the index itself (a few MiB) is not counted. */
  usedBytes: number;
  sizeBytesMax: number;
  spilledBytes: number;
  peakBytes: number;
}

export interface Scratch {
  readonly dir: string;
  /** Random, made with the index: under another mark, what was known of an earlier scratch in the same folder is gone. */
  readonly mark: string;
  readonly reads: 'mmap' | 'pread';
  usage(): ScratchUsage;

  shards(): ShardRecordInScratch[];
  shard(shardId: string): ShardRecordInScratch | undefined;
  /** owner: takes a shard in, or raises its epoch. */
  putShard(record: ShardRecordInScratch): Promise<void>;
  /** owner: forgets a shard and removes its files. */
  dropShard(shardId: string): Promise<void>;

  streams(shardId: string): StreamRecord[];
  stream(shardId: string, stream: string): StreamRecord | undefined;
  /** Blocks [from, to) of a stream. */
  blocks(shardId: string, stream: string, from?: number, to?: number): BlockRecord[];
  block(shardId: string, stream: string, seq: number): BlockRecord | undefined;
  segments(shardId: string): SegmentRecord[];
  progress(shardId: string, stage: string): StageProgress | undefined;

  /** owner: makes `run` the only one that may commit to the stream, and drops nothing of it. */
  beginRun(shardId: string, stage: string, run: RunRecord): Promise<void>;
  /**
   * owner: forgets a stream with its progress. Its segments' bytes are freed as soon as no block of another stream
   * refers to them. Returns the bytes freed.
   */
  dropStream(shardId: string, stream: string): Promise<number>;
  /**
   * owner: gives back the bytes of columns that a sealed stream wrote itself and that nothing to come reads, in whole pages; extents and
   * checksums stay true to what the file holds then (zeros). Without the native part nothing is freed. Returns the bytes freed.
   */
  freeColumns(shardId: string, stream: string, columns: readonly string[]): Promise<number>;
  /** owner: moves the segments of a sealed stream to `spillDir`; returns the bytes freed in `dir`. Open readers keep what they mapped. */
  spillStream(shardId: string, stream: string): Promise<number>;
  /**
   * owner: takes in a stream that a checkpoint held: `place` puts each segment's committed stretch at the path that it is given;
   * then records, blocks and progress appear in one transaction.
   */
  restoreStream(
    shardId: string,
    restored: { stream: StreamRecord; segments: SegmentRecord[]; blocks: BlockRecord[]; progress?: StageProgress | undefined },
    place: (segment: SegmentRecord, path: string) => Promise<void>,
  ): Promise<void>;
  /** Recomputes the checksums of all blocks of a stream. Throws PDL_SCRATCH_CORRUPT with the block. */
  verifyStream(shardId: string, stream: string): Promise<void>;

  /**
   * Opens a stream for appending under the current run of its stage (see `beginRun`). An existing unsealed stream with the same lineage goes on behind its last block, in a
   * segment of its own; a sealed one stays sealed (`seal` returns it, appending throws); with another lineage, kind or schema it is
   * replaced. Throws PDL_RUN_FENCED.
   */
  openWriter(request: WriterRequest): Promise<StreamWriter>;
  /** Another thread's share in a stream that `openWriter` was called for with the same request. Throws PDL_RUN_FENCED. */
  openPart(request: WriterRequest): PartWriter;
  /** A reader over the streams of one shard. */
  openReader(shardId: string): ShardReader;
  /** Tells all who listen, in whatever process, that a stream is there, will be whole in a moment, or is. */
  ring(shardId: string, stream: string): void;
  /**
   * Calls `listener` when somebody has rung for one of the streams: what is new is in the index. It may be called for another stream, too, and
   * where the system cannot tell (no inotify) never. Returns what ends that.
   */
  onRing(shardId: string, streams: readonly string[], listener: () => void): () => void;
  /** Idempotent. Buffers of readers that are still open become unusable. */
  close(): Promise<void>;
}

export interface WriterRequest {
  shardId: string;
  stream: string;
  kind: StreamKind;
  schema: ColumnSchema[];
  lineage: Lineage;
  run: RunRecord;
  /** Replaces what an earlier run left unsealed, although its lineage is the same: for writers that cannot go on in the middle. */
  fresh?: boolean | undefined;
}

/** A block whose bytes are written and that is not committed: plain data, which may cross threads. */
export type WrittenBlock = Omit<BlockRecord, 'seq'> & {
  /** The segment that its extent lies in, as it is with the block; absent when the block wrote nothing. */
  segment?: { id: string; committedBytes: number; reservedBytes: number; place: 'dir' | 'spill' } | undefined;
};

/**
 * Writes blocks of a stream into segments of its own and commits none: one for each thread of a run. Lays out, reserves, writes and
 * computes checksums where the data is; `StreamWriter.commitWritten` makes the blocks visible, in the order of the stream. Blocks of one
 * part are committed in the order in which they were written. Synchronous; throws PDL_SCRATCH_FULL with nothing changed.
 */
export interface PartWriter {
  useMedium(medium: 'memory' | 'ssd'): void;
  writeTable(rows: number, columns: readonly ColumnToWrite[]): WrittenBlock;
  /** A payload that came from `allocate` is not copied. */
  writeBytes(payload: Uint8Array): WrittenBlock;
  /**
   * Room for the next payload, `bytes` long, in the scratch itself where the native part is there (else in ordinary memory): what is
   * written into it is seen by nobody before its block is committed. Valid until that block was written, or the part is closed.
   */
  allocate(bytes: number): Uint8Array;
  /** Gives back what was reserved and not committed. Idempotent. */
  close(): void;
}

/** One appender of one stream. Calls must not overlap: the writer serialises them and commits in call order. */
export interface StreamWriter {
  readonly stream: StreamRecord;
  /** Bytes written to its own segments so far, by medium. */
  readonly written: { memory: number; ssd: number };
  /** Where the next segment goes; after PDL_SCRATCH_FULL the shim may be told to go on on SSD. */
  useMedium(medium: 'memory' | 'ssd'): void;
  /**
   * Writes the columns that are data, refers to those that are references, and commits block and progress in one transaction.
   * Throws PDL_SCRATCH_FULL before anything is changed; the same call may then be made again.
   */
  appendTable(rows: number, columns: ColumnToWrite[], progress?: StageProgress): Promise<BlockRecord>;
  appendBytes(payload: Uint8Array, progress?: StageProgress): Promise<BlockRecord>;
  /** A payload that is committed already in another stream of the shard: by reference, nothing is written. */
  appendPayloadRef(payload: BufferRef, progress?: StageProgress): Promise<BlockRecord>;
  /** Blocks that parts of this stream have written, in one transaction with the progress after the last of them. */
  commitWritten(blocks: readonly WrittenBlock[], progress?: StageProgress): Promise<BlockRecord[]>;
  /** kind files: a piece of a named file; pieces of one name follow each other. */
  appendFile(name: string, piece: Uint8Array, progress?: StageProgress): Promise<BlockRecord>;
  /**
   * Takes a whole Arrow IPC file or stream that lies in the same file system (a command's output) over as a segment, by rename, without
   * copying; one block per record batch, none (and the file stays) when it has none. The columns must be those of the stream, in any
   * order: see `arrowSchemaInPlace`. Throws PDL_FORMAT_UNSUPPORTED (compressed bodies, types that Podline has not).
   */
  adoptArrow(path: string, progress?: StageProgress): Promise<BlockRecord[]>;
  /** Progress without output, e.g. a block that a filter emptied. */
  commitProgress(progress: StageProgress): Promise<void>;
  /** No more blocks: the stream may be read by the stages after it. */
  seal(): Promise<StreamRecord>;
  close(): Promise<void>;
}

/**
 * Reads committed blocks. With `mmap` the arrays are views of a private mapping of the file: no copy, valid until `settle()` or `close()` of the reader;
 * writing to them changes nobody else's data. With `pread` they are copies.
 */
export interface ShardReader {
  /** All columns, or those named, in the order of the block. */
  table(block: BlockRecord, columns?: readonly string[]): Map<string, ColumnData>;
  /**
   * `gathered` (default): the rows of the block, one after another; a copy where the column has a selection. `selected`: the arrays as
   * they lie, without a copy, and the selection beside them; `rows` and `nullCount` are then those of the arrays, and a column without a
   * selection comes without one. Throws PDL_SCRATCH_CORRUPT where the column was freed.
   */
  column(ref: ColumnRef, rows: number, how?: 'gathered' | 'selected'): ColumnData;
  payload(block: BlockRecord): Uint8Array;
  /** Makes ready what `payload` or `column` will look into, as far as that is possible. */
  touch(block: BlockRecord): void;
  /** Bytes given out so far, by medium. */
  readonly read: { memory: number; ssd: number };
  /** What was given out before is of no use any more: memory that is mapped for it may be unmapped. Dictionaries stay. */
  settle(): void;
  close(): void;
}
