/**
 * Appends blocks to one stream under one run.
 *
 * Owns: the order of things: check, lay out, reserve, write, commit. Leaves to others: the rules of the index
 * (`accounts.ts`), the layout of a block (`table-block.ts`), the file (`open-segment.ts`).
 *
 * Invariants
 *  1. Nothing is visible before the commit, and a commit is one transaction: block, stream, segment, references, progress.
 *  2. Every transaction checks the fence first; a fenced writer neither reserves nor commits.
 *  3. A failed append changes nothing; the same call may be made again.
 *  4. The extents of a segment's blocks follow each other without gaps from byte 0 (the Arrow schema belongs to the first), so
 *     that copying them copies the segment.
 *  5. A segment holds one set of columns, or one file: another set, file or medium begins another segment.
 */
import { randomBytes } from 'node:crypto';
import type { BlockRecord, BufferRef, ColumnSchema, StageProgress, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import { checkRun, checkStream, forgetSegment, reserve, wholePages } from './accounts.js';
import { adoptArrowFile } from './adopt.js';
import type { IndexStore, IndexTransaction, SegmentEntry } from './index-store.js';
import { OpenSegment } from './open-segment.js';
import type { SegmentFiles } from './segment-files.js';
import { isData, layTable, orderColumns, renamed, segmentsOf } from './table-block.js';
import type { ColumnToWrite, StreamWriter, WriterRequest } from './types.js';

/** What a commit adds; several blocks only when a file is adopted. */
interface Commit {
  blocks: Omit<BlockRecord, 'seq'>[];
  /** The segment as it is after the commit, if bytes were written. */
  segment?: SegmentEntry | undefined;
  progress?: StageProgress | undefined;
}

/** Asked for ahead of need, at most, so that small blocks do not pay a transaction each for their room. */
const reserveAheadBytes = 4 * 1024 * 1024;
/** Room for an end-of-stream mark. */
const endBytes = 64;

export class BlockWriter implements StreamWriter {
  #stream: StreamRecord;
  #segment: OpenSegment | undefined;
  #place: 'dir' | 'spill' = 'dir';
  #queue: Promise<unknown> = Promise.resolve();
  #failures = 0;
  #failure: unknown;
  #closing: Promise<void> | undefined;
  /** Segments made so far, by this writer and those before it. */
  #segments: number | undefined;
  /** Segments that this stream refers to already. */
  readonly #referred = new Set<string>();
  readonly written = { memory: 0, ssd: 0 };

  constructor(
    private readonly index: IndexStore,
    private readonly files: SegmentFiles,
    private readonly sizeBytesMax: number,
    private readonly request: WriterRequest,
    stream: StreamRecord,
    private readonly onClose: (writer: BlockWriter) => void,
  ) {
    this.#stream = stream;
  }

  get stream(): StreamRecord {
    return this.#stream;
  }

  useMedium(medium: 'memory' | 'ssd'): void {
    this.#place = medium === 'ssd' && this.files.mediumOf({ place: 'dir' }) !== 'ssd' ? 'spill' : 'dir';
  }

  appendTable(rows: number, columns: ColumnToWrite[], progress?: StageProgress): Promise<BlockRecord> {
    return this.#inOrder(() => this.#appendTable(rows, columns, progress));
  }

  appendBytes(payload: Uint8Array, progress?: StageProgress): Promise<BlockRecord> {
    return this.#inOrder(() => this.#appendPayload(payload, undefined, progress));
  }

  appendFile(name: string, piece: Uint8Array, progress?: StageProgress): Promise<BlockRecord> {
    return this.#inOrder(() => this.#appendPayload(piece, name, progress));
  }

  adoptArrow(path: string, progress?: StageProgress): Promise<BlockRecord[]> {
    return this.#inOrder(async () => {
      this.#checkKind('table');
      await this.#endSegment();
      return adoptArrowFile(path, {
        schema: this.#stream.schema,
        shardId: this.request.shardId,
        files: this.files,
        newSegment: () => this.#newEntry(),
        reserve: (segment, bytes) => this.#reserve(segment, bytes),
        forget: (segment) => {
          this.index.transact((txn) => {
            forgetSegment(txn, this.request.shardId, segment);
          });
        },
        commit: (blocks, segment) => this.#commit({ blocks, segment, progress }),
      });
    });
  }

  commitProgress(progress: StageProgress): Promise<void> {
    return this.#inOrder(() => {
      this.#commit({ blocks: [], progress });
      return Promise.resolve();
    });
  }

  seal(): Promise<StreamRecord> {
    return this.#inOrder(async () => {
      if (this.#stream.sealed) return this.#stream;
      await this.#endSegment((txn) => {
        const sealed = { ...checkStream(txn, this.request.shardId, this.#stream), sealed: true };
        txn.put('stream', sealed, this.request.shardId, this.request.stream);
        this.#stream = sealed;
      });
      return this.#stream;
    });
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#queue;
      try {
        await this.#endSegment();
      } catch {
        // Fenced, or the scratch is gone: who took over has settled, or will settle, what was reserved.
      }
      this.#segment?.close();
      this.#segment = undefined;
      this.onClose(this);
    })();
    return this.#closing;
  }

  /** After a failure the calls that were made before it was known fail too: a later block must not take the place of an earlier one. */
  #inOrder<T>(action: () => Promise<T>): Promise<T> {
    const failures = this.#failures;
    const done = this.#queue.then(() => {
      if (failures !== this.#failures) throw this.#failure;
      if (this.#closing) throw new PodlineError('PDL_SCRATCH_CLOSED', `the writer of \`${this.request.stream}\` is closed`);
      return action().catch((error: unknown) => {
        this.#failures += 1;
        this.#failure = error;
        throw error;
      });
    });
    this.#queue = done.catch(() => undefined);
    return done;
  }

  #checkKind(kind: StreamRecord['kind']): void {
    const { sealed, stream } = this.#stream;
    if (this.#stream.kind !== kind)
      throw new PodlineError('PDL_STAGE_OUTPUT', `stream \`${stream}\` holds ${this.#stream.kind}, not ${kind}`);
    if (sealed)
      throw new PodlineError('PDL_RUN_FENCED', `stream \`${stream}\` is sealed`, { place: `${this.request.shardId}/${stream}` });
  }

  async #appendTable(rows: number, columns: ColumnToWrite[], progress: StageProgress | undefined): Promise<BlockRecord> {
    this.#checkKind('table');
    const ordered = orderColumns(this.#stream, `${this.request.shardId}/${this.#stream.stream}`, rows, columns);
    const data = ordered.filter(isData);
    if (data.length === 0)
      return firstOf(
        this.#commit({ blocks: [{ rows, columns: ordered.map(({ schema, ref }) => renamed(schema, ref)) }], progress }),
      );

    const schema = data.map((column) => column.schema);
    const segment = await this.#segmentFor(schema, undefined);
    const laid = layTable(segment.entry, segment.dictionaries, rows, data);
    const { id, committedBytes: offset } = segment.entry;
    const crc32 = await this.#writeBlock(segment, laid.pieces, laid.bytes);
    const block = {
      rows,
      columns: ordered.map(({ schema: column, ref }) => laid.columns.get(column.name) ?? renamed(column, ref)),
      extent: { segment: id, offset, length: laid.bytes, crc32 },
    };
    const record = firstOf(this.#commitTo(segment, block, offset + laid.bytes, progress));
    for (const [name, dictionary] of laid.dictionaries) segment.dictionaries.set(name, dictionary);
    return record;
  }

  async #appendPayload(payload: Uint8Array, file: string | undefined, progress: StageProgress | undefined): Promise<BlockRecord> {
    this.#checkKind(file === undefined ? 'bytes' : 'files');
    const named = file === undefined ? {} : { file };
    if (payload.length === 0)
      return firstOf(this.#commit({ blocks: [{ rows: 0, columns: [], payload: nowhere, ...named }], progress }));
    const segment = await this.#segmentFor([], file);
    const offset = segment.entry.committedBytes;
    const crc32 = await this.#writeBlock(segment, [payload], payload.length);
    const place = { segment: segment.entry.id, offset, length: payload.length };
    const block = { rows: 0, columns: [], payload: place, ...named, extent: { ...place, crc32 } };
    return firstOf(this.#commitTo(segment, block, offset + payload.length, progress));
  }

  /** The open segment if it can take such a block, else another (invariant 5). */
  async #segmentFor(schema: readonly ColumnSchema[], file: string | undefined): Promise<OpenSegment> {
    const open = this.#segment;
    if (
      open?.entry.place === this.#place &&
      open.file === file &&
      open.schema.map(nameOf).join('\0') === schema.map(nameOf).join('\0')
    )
      return open;
    await this.#endSegment();
    this.#segment = new OpenSegment(this.files, this.request.shardId, this.#newEntry(), schema, file);
    return this.#segment;
  }

  #newEntry(): SegmentEntry {
    const { shardId, stream } = this.request;
    this.#segments ??= this.index.list('segment', [shardId]).filter(({ value }) => value.stream === stream).length;
    const number = this.#segments++;
    // The random part keeps the name of a segment from meaning other bytes in a checkpoint of an earlier try.
    const id = `${stream}.${String(number)}-${randomBytes(4).toString('hex')}`;
    return { id, stream, place: this.#place, committedBytes: 0, reservedBytes: 0, ended: false };
  }

  /** Makes room and writes; on failure the room is given back and the error thrown (invariant 3). */
  async #writeBlock(segment: OpenSegment, pieces: readonly Uint8Array[], bytes: number): Promise<number> {
    if (bytes > limits.blockBytesMax) {
      throw new PodlineError(
        'PDL_STAGE_OUTPUT',
        `a block of ${String(bytes)} bytes is over the limit of ${String(limits.blockBytesMax)}`,
        {
          place: `${this.request.shardId}/${this.request.stream}`,
          hint: 'Return smaller blocks.',
        },
      );
    }
    const need = segment.entry.committedBytes + bytes + endBytes;
    if (need > segment.entry.reservedBytes) segment.entry = this.#reserve(segment.entry, need);
    try {
      return await segment.write(pieces);
    } catch (error) {
      segment.entry = this.index.transact((txn) =>
        reserve(txn, this.request.shardId, segment.entry, wholePages(segment.entry.committedBytes), this.sizeBytesMax),
      );
      throw error;
    }
  }

  /** Reserves at least `bytes` for a segment in all, and some ahead if that fits. */
  #reserve(segment: SegmentEntry, bytes: number): SegmentEntry {
    const { shardId, stream, run } = this.request;
    const ahead = Math.min(reserveAheadBytes, Math.floor(this.sizeBytesMax / 64));
    return this.index.transact((txn) => {
      checkRun(txn, shardId, stream, run);
      checkStream(txn, shardId, this.#stream);
      try {
        return reserve(txn, shardId, segment, wholePages(Math.max(bytes, segment.committedBytes + ahead)), this.sizeBytesMax);
      } catch {
        return reserve(txn, shardId, segment, wholePages(bytes), this.sizeBytesMax);
      }
    });
  }

  #commitTo(
    segment: OpenSegment,
    block: Omit<BlockRecord, 'seq'>,
    committedBytes: number,
    progress: StageProgress | undefined,
  ): BlockRecord[] {
    const entry = { ...segment.entry, committedBytes };
    const blocks = this.#commit({ blocks: [block], segment: entry, progress });
    segment.entry = entry;
    return blocks;
  }

  /** Invariants 1 and 2. */
  #commit({ blocks, segment, progress }: Commit): BlockRecord[] {
    const { shardId, stream: name, run } = this.request;
    const bytes = blocks.reduce((sum, block) => sum + (block.extent?.length ?? 0), 0);
    const referred = new Set(blocks.flatMap((block) => [...segmentsOf(block)]).filter((id) => !this.#referred.has(id)));
    const [records, stream] = this.index.transact((txn) => {
      checkRun(txn, shardId, name, run);
      const before = checkStream(txn, shardId, this.#stream);
      const appended = blocks.map((block, number): BlockRecord => ({ seq: before.blocks + number, ...block }));
      for (const record of appended) txn.put('block', record, shardId, name, record.seq);
      const after = {
        ...before,
        blocks: before.blocks + blocks.length,
        rows: before.rows + blocks.reduce((sum, block) => sum + block.rows, 0),
        bytes: before.bytes + bytes,
      };
      if (blocks.length > 0) txn.put('stream', after, shardId, name);
      if (segment) txn.put('segment', segment, shardId, segment.id);
      for (const id of referred) {
        if (!txn.get('segment', shardId, id)) {
          throw new PodlineError('PDL_INTERNAL', `a block of \`${name}\` refers to segment ${id}, which was freed`, {
            place: `${shardId}/${name}`,
          });
        }
        txn.put('ref', 1, shardId, id, name);
      }
      if (progress) txn.put('progress', progress, shardId, name);
      return [appended, after] as const;
    });
    this.#stream = stream;
    for (const id of referred) this.#referred.add(id);
    if (segment) this.written[this.files.mediumOf(segment)] += bytes;
    return records;
  }

  /** Ends the open segment, if any, and gives back what it reserved beyond its bytes; `also` joins the transaction. */
  async #endSegment(also?: (txn: IndexTransaction) => void): Promise<void> {
    const segment = this.#segment;
    const { shardId, stream, run } = this.request;
    if (!segment && !also) return;
    const ended = segment !== undefined && this.#stream.kind === 'table' && (await segment.end());
    const unused = segment?.entry.committedBytes === 0;
    this.index.transact((txn) => {
      checkRun(txn, shardId, stream, run);
      if (segment && unused) forgetSegment(txn, shardId, segment.entry);
      else if (segment) {
        const { entry } = segment;
        reserve(txn, shardId, { ...entry, ended }, wholePages(entry.committedBytes + (ended ? 8 : 0)), this.sizeBytesMax);
      }
      also?.(txn);
    });
    segment?.close();
    if (segment && unused) this.files.remove(shardId, [segment.entry]);
    this.#segment = undefined;
  }
}

/** The place of no bytes. */
const nowhere: BufferRef = { segment: '', offset: 0, length: 0 };
const nameOf = (column: ColumnSchema): string => column.name;

function firstOf(blocks: readonly BlockRecord[]): BlockRecord {
  const [block] = blocks;
  if (!block) throw new PodlineError('PDL_INTERNAL', 'a commit of a block returned none');
  return block;
}
