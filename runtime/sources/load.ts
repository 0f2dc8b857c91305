/**
 * Loads the source of one shard into its stream `input`: once, as columns or bytes, a block at a time.
 *
 * Owns: the source while it is read. Leaves to others: the writer's run and lineage (the caller hands in how a writer is
 * opened), and room in the scratch (`onFull`).
 *
 * Invariants
 *  1. A stream that holds blocks already is gone on with behind its last row; nothing of it is written again.
 *  2. A source that is not what it was when it was split is not read: its ranges may cut through records.
 *  3. At most two blocks, and what the format needs at once (a row group, a piece of text), are held in memory; of these, with `decoders`, one
 *     more than there are threads.
 */
import { addBytes, noBytes, type BytesByMedium, type ColumnSchema, type StreamKind } from '../contracts/block.js';
import type { Allowed } from '../contracts/access.js';
import { isPodlineError, PodlineError } from '../contracts/errors.js';
import type { PipelineSpec } from '../contracts/manifest.js';
import type { ShardSource } from '../contracts/shard.js';
import { parseBytes } from '../config/units.js';
import { nodeClockMs } from '../platform/clock.js';
import type { StreamWriter } from '../scratch/types.js';
import { reblock, toWrite } from './columns.js';
import { inlineContent } from './inline.js';
import { openSource } from './open-source.js';
import { openTable } from './open-table.js';
import type { Range } from './chunks.js';
import type { Decoders } from './parallel/decoders.js';
import type { CopyTarget } from './parallel/messages.js';
import { gatherBlocks, ReadCounts, type SourceReader } from './source-reader.js';

/** Times in a row that one block may be refused for want of room although room was promised. */
const roomTriesMax = 64;

export interface LoadProgress {
  rows: number;
  blocks: number;
  bytesRead: number;
  /** Of the source, or of the shard's range of it; absent for rows of a larger source. */
  bytesTotal?: number | undefined;
}

export interface LoadResult {
  /** Of the whole stream. */
  rows: number;
  blocks: number;
  /** Read from the source and written to the scratch by this load. */
  bytes: BytesByMedium;
  /** How often this load read the content from its beginning: 1; 0 if nothing was left to read. */
  sourceReads: number;
  schema: ColumnSchema[];
  /** When the stream was whole, by `nodeClockMs`. */
  wholeAtMs: number;
}

export interface LoadOptions {
  input: PipelineSpec['input'];
  /** Called once, when kind and schema are known. The load closes the writer. */
  openWriter(kind: StreamKind, schema: ColumnSchema[]): Promise<StreamWriter>;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** The scratch has no room for about so many bytes: where to go on. Default: `none`. */
  onFull?: ((bytes: number) => Promise<'memory' | 'ssd' | 'none'>) | undefined;
  signal?: AbortSignal | undefined;
  /** Where the source may lie; everywhere without it. */
  allowed?: Allowed['sources'] | undefined;
  /** Called just before the stream is made whole, and when it is. */
  onWhole?: (() => void) | undefined;
  /** Threads that help with large files; without them, this thread alone reads. */
  decoders?: Decoders | undefined;
  /** For kind bytes: the stream of `openWriter`, as another thread opens a part of it. */
  copyTarget?: (() => CopyTarget) | undefined;
}

/**
 * Throws PDL_PLACE_FORBIDDEN, PDL_SOURCE_MISSING, _UNREADABLE, _UNREACHABLE, PDL_COLUMN_TYPE, PDL_FORMAT_UNSUPPORTED, PDL_SCRATCH_FULL, PDL_RUN_FENCED, or the
 * signal's reason. What was committed before stays and is gone on from.
 */
export async function loadSource(source: ShardSource, options: LoadOptions): Promise<LoadResult> {
  options.signal?.throwIfAborted();
  if (!('uri' in source)) {
    const content = inlineContent(source.inline);
    return 'rows' in content ? loadTable(source, { rows: content.rows }, options) : loadContent(source, content.source, options);
  }
  const reader = await openSource(source.uri, options.signal, options.allowed);
  try {
    if (source.identity !== undefined && source.identity !== reader.identity) {
      throw new PodlineError(
        'PDL_SOURCE_UNREADABLE',
        `${reader.name} has changed since it was submitted: it was (${source.identity}) and is (${reader.identity})`,
        {
          place: reader.name,
          hint: 'Submit it again, under another key.',
        },
      );
    }
    return await loadContent(source, reader, options);
  } finally {
    await reader.close();
  }
}

const loadContent = (source: ShardSource, reader: SourceReader, options: LoadOptions): Promise<LoadResult> =>
  source.format === 'bytes' ? loadBytes(source, reader, options) : loadTable(source, { reader }, options);

async function loadTable(
  source: ShardSource,
  content: { reader: SourceReader } | { rows: Record<string, unknown>[] },
  options: LoadOptions,
): Promise<LoadResult> {
  const { input } = options;
  const counts = 'reader' in content ? content.reader.counts : new ReadCounts();
  const table = await openTable(source, content, input);
  let writer: StreamWriter | undefined;
  try {
    writer = await options.openWriter('table', table.schema);
    if (!writer.stream.sealed) {
      const skipRows = writer.stream.rows;
      const inParallel = 'reader' in content ? options.decoders?.batches(content.reader, table.plan, skipRows) : undefined;
      for await (const block of reblock(inParallel ?? table.batches(skipRows), input.blockRows)) {
        options.signal?.throwIfAborted();
        const columns = toWrite(table.schema, block);
        const needBytes = block.columns.reduce(
          (sum, column) => sum + column.values.byteLength + (column.offsets?.byteLength ?? 0),
          0,
        );
        await whereThereIsRoom(writer, options, needBytes, (open) => open.appendTable(block.rows, columns));
        tell(writer, counts, source, 'reader' in content ? content.reader.sizeBytes : undefined, options);
      }
    }
    return await finish(writer, table.schema, counts, options);
  } finally {
    await writer?.close();
    await table.close();
  }
}

async function loadBytes(source: ShardSource, reader: SourceReader, options: LoadOptions): Promise<LoadResult> {
  const blockBytes = parseBytes(options.input.blockBytes);
  const [from, to] = ('uri' in source ? source.bytes : undefined) ?? [0, reader.sizeBytes];
  const writer = await options.openWriter('bytes', []);
  try {
    if (!writer.stream.sealed) {
      // Blocks are of one size, the last aside: the next one begins behind those that are there.
      let at = Math.min(from + writer.stream.blocks * blockBytes, to);
      if (await copyBlocks(writer, source, reader, [at, to], blockBytes, options)) at = to;
      else at = Math.min(from + writer.stream.blocks * blockBytes, to);
      const bytes = Math.min(blockBytes, Math.max(to - at, 1));
      for await (const block of reader.blocks?.(at, to, bytes) ?? gatherBlocks(reader.stream(at, to), bytes)) {
        await appendBytes(writer, block, options);
        tell(writer, reader.counts, source, reader.sizeBytes, options);
      }
    }
    return await finish(writer, [], reader.counts, options);
  } finally {
    await writer.close();
  }
}

/** With several threads, as far as there is room. True: to the end. */
async function copyBlocks(
  writer: StreamWriter,
  source: ShardSource,
  reader: SourceReader,
  range: Range,
  blockBytes: number,
  options: LoadOptions,
): Promise<boolean> {
  const target = options.copyTarget?.();
  const copies = target && options.decoders?.copies(reader, target, range, blockBytes);
  if (copies === undefined) return false;
  try {
    for await (const block of copies) {
      options.signal?.throwIfAborted();
      await writer.commitWritten([block]);
      tell(writer, reader.counts, source, reader.sizeBytes, options);
    }
    return true;
  } catch (thrown) {
    if (isPodlineError(thrown, 'PDL_SCRATCH_FULL')) return false;
    throw thrown;
  }
}

async function appendBytes(writer: StreamWriter, payload: Uint8Array, options: LoadOptions): Promise<void> {
  options.signal?.throwIfAborted();
  await whereThereIsRoom(writer, options, payload.length, (open) => open.appendBytes(payload));
}

async function whereThereIsRoom(
  writer: StreamWriter,
  options: LoadOptions,
  needBytes: number,
  append: (writer: StreamWriter) => Promise<unknown>,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await append(writer);
      return;
    } catch (thrown) {
      if (!isPodlineError(thrown, 'PDL_SCRATCH_FULL') || tries > roomTriesMax) throw thrown;
      const answer = (await options.onFull?.(needBytes)) ?? 'none';
      options.signal?.throwIfAborted();
      if (answer === 'none') throw thrown;
      writer.useMedium(answer);
    }
  }
}

function tell(
  writer: StreamWriter,
  counts: ReadCounts,
  source: ShardSource,
  sizeBytes: number | undefined,
  options: LoadOptions,
): void {
  const { rows, blocks } = writer.stream;
  const range = 'uri' in source ? source.bytes : undefined;
  const isPart = 'uri' in source && source.rows !== undefined;
  options.onProgress?.({
    rows,
    blocks,
    bytesRead: counts.bytes.memory.read + counts.bytes.ssd.read + counts.bytes.network.read,
    bytesTotal: isPart ? undefined : range === undefined ? sizeBytes : range[1] - range[0],
  });
}

async function finish(
  writer: StreamWriter,
  schema: ColumnSchema[],
  counts: ReadCounts,
  options: LoadOptions,
): Promise<LoadResult> {
  options.signal?.throwIfAborted();
  options.onWhole?.();
  const { rows, blocks } = await writer.seal();
  options.onWhole?.();
  const wholeAtMs = nodeClockMs();
  const bytes = addBytes(noBytes(), counts.bytes);
  bytes.memory.written += writer.written.memory;
  bytes.ssd.written += writer.written.ssd;
  return { rows, blocks, bytes, sourceReads: counts.passes, schema, wholeAtMs };
}
