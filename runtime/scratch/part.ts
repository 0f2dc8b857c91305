/**
 * Writes blocks of one stream into segments of its own, in one thread, and commits none: see `PartWriter`.
 *
 * Owns: the open segment, and when to begin another. Leaves to others: commits (`writer.ts`), the rules of the index (`accounts.ts`),
 * the layout of a block (`table-block.ts`), the file (`open-segment.ts`).
 *
 * Invariants
 *  1. What is written is seen by nobody before it is committed; who reserves is checked against the fence.
 *  2. A failed write changes nothing; the same call may be made again.
 *  3. The extents of a segment's blocks follow each other without gaps from byte 0 (the Arrow schema belongs to the first), so
 *     that copying them copies the segment.
 *  4. A segment holds one set of columns, or one file: another set, file or medium begins another segment.
 *  5. A segment that was left is never written to again.
 */
import { randomBytes } from 'node:crypto';
import type { BufferRef, ColumnSchema, StreamKind } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import { forgetSegment, reserve, wholePages } from './accounts.js';
import { endOfStream } from './arrow/encode.js';
import type { IndexStore, IndexTransaction, SegmentEntry } from './index-store.js';
import { OpenSegment } from './open-segment.js';
import type { SegmentFiles } from './segment-files.js';
import { Selections } from './selection.js';
import { checkRun, checkStream } from './streams.js';
import { isData, layTable, orderColumns, renamed } from './table-block.js';
import type { ColumnToWrite, PartWriter, WriterRequest, WrittenBlock } from './types.js';

/** What a part works with; `bytes` reads committed buffers, for selections that are put upon others. */
export interface PartPlace {
  index: IndexStore;
  files: SegmentFiles;
  sizeBytesMax: number;
  request: WriterRequest;
  bytes: (ref: BufferRef) => Uint8Array;
}

/** A block that is ready to be written behind the segment's position, or needs not be. */
type Laid =
  | { written: WrittenBlock }
  | { segment: OpenSegment; pieces: readonly Uint8Array[]; bytes: number; done: (crc32: number) => WrittenBlock };

/** Asked for ahead of need, at most, so that small blocks do not pay a transaction each for their room. */
const reserveAheadBytes = 4 * 1024 * 1024;
/** Room for an end-of-stream mark. */
const endBytes = 64;

export class Part implements PartWriter {
  #segment: OpenSegment | undefined;
  #place: 'dir' | 'spill' = 'dir';
  #closed = false;
  #segments = 0;
  /** Buffers of `allocate`, to tell one that was taken back from one that is empty. */
  readonly #given = new WeakSet<ArrayBufferLike>();
  /** The name of the part in those of its segments: never that of other bytes, not even in a checkpoint of an earlier try. */
  readonly #name = randomBytes(4).toString('hex');

  constructor(
    private readonly place: PartPlace,
    private readonly onClose: (part: Part) => void,
  ) {}

  useMedium(medium: 'memory' | 'ssd'): void {
    this.#place = medium === 'ssd' && this.place.files.mediumOf({ place: 'dir' }) !== 'ssd' ? 'spill' : 'dir';
  }

  writeTable(rows: number, columns: readonly ColumnToWrite[]): WrittenBlock {
    return this.#write(this.#layTable(rows, columns));
  }

  writeBytes(payload: Uint8Array): WrittenBlock {
    return this.#write(this.#layPayload('bytes', payload, undefined));
  }

  /** The same as `writeTable`, without holding up the thread where the bytes are many; one at a time. */
  async writeTableAside(rows: number, columns: readonly ColumnToWrite[]): Promise<WrittenBlock> {
    return this.#writeAside(this.#layTable(rows, columns));
  }

  async writeBytesAside(payload: Uint8Array): Promise<WrittenBlock> {
    return this.#writeAside(this.#layPayload('bytes', payload, undefined));
  }

  async writeFileAside(name: string, piece: Uint8Array): Promise<WrittenBlock> {
    return this.#writeAside(this.#layPayload('files', piece, name));
  }

  allocate(bytes: number): Uint8Array {
    this.#check('bytes');
    this.#checkSize(bytes);
    if (bytes === 0) return new Uint8Array(0);
    const segment = this.#segmentFor([], undefined);
    this.#reserve(segment, segment.endOfAllocation(bytes));
    const room = this.#undoing(segment, () => segment.allocate(bytes));
    if (room) this.#given.add(room.buffer);
    return room ?? new Uint8Array(bytes);
  }

  /** Forgets a block that it wrote last and that could not be committed. */
  undo({ extent }: WrittenBlock): void {
    const segment = this.#segment;
    if (extent && segment?.fresh.id === extent.segment && segment.position === extent.offset + extent.length)
      segment.goBack(extent.offset);
  }

  /** The entry of a segment that is to be made. */
  newEntry(): SegmentEntry {
    const { stream } = this.place.request;
    const id = `${stream}.${this.#name}.${String(this.#segments++)}`;
    return { id, stream, place: this.#place, committedBytes: 0, reservedBytes: 0 };
  }

  /**
   * Leaves the open segment: ends it, and gives back what was reserved beyond its blocks. The next block begins another. `also` joins
   * the transaction, and is called without a segment as well.
   */
  leave(also?: (txn: IndexTransaction) => void): void {
    const { index, files, request } = this.place;
    const segment = this.#segment;
    const left = segment?.isKnown ? segment : undefined;
    if (!left && !also) return segment?.close();
    left?.discard();
    const endedAt = request.kind === 'table' && left?.end() ? left.position : undefined;
    const kept = index.transact((txn) => {
      also?.(txn);
      return left && this.#giveBack(txn, left, endedAt);
    });
    this.#segment = undefined;
    if (kept !== undefined) segment?.releaseTail(kept + endOfStream.length);
    segment?.close();
    if (kept === 0 && left) files.remove(request.shardId, [left.fresh]);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.leave();
    } catch {
      // The scratch is closed, or full to the last byte of its index: the next writer of the stream settles what was reserved.
      this.#segment?.close();
    }
    this.onClose(this);
  }

  /** Returns how far the segment is kept; undefined when the index has it no more: its stream was dropped, or settled by who took over. */
  #giveBack(txn: IndexTransaction, { fresh, position }: OpenSegment, endedAt: number | undefined): number | undefined {
    const { request, sizeBytesMax } = this.place;
    const entry = txn.get('segment', request.shardId, fresh.id);
    if (!entry) return undefined;
    // A fenced run commits no more: what it wrote beyond is given back as well.
    const end = isCurrent(txn, request) ? position : entry.committedBytes;
    if (end === 0) {
      forgetSegment(txn, request.shardId, entry);
      return 0;
    }
    const isEnded = endedAt === end;
    const bytes = wholePages(end + (isEnded ? endOfStream.length : 0));
    const left = isEnded ? { ...entry, endedAt } : entry;
    reserve(txn, request.shardId, left, Math.min(bytes, entry.reservedBytes), sizeBytesMax);
    return end;
  }

  #layTable(rows: number, columns: readonly ColumnToWrite[]): Laid {
    this.#check('table');
    const { shardId, stream, schema } = this.place.request;
    const selections = new Selections(this.place.bytes);
    const ordered = orderColumns({ stream, schema }, `${shardId}/${stream}`, rows, columns, selections);
    const data = ordered.filter(isData);
    if (data.length === 0 && selections.indices.length === 0)
      return { written: { rows, columns: ordered.map((column) => renamed(column, () => nowhere)) } };

    const segment = this.#segmentFor(
      data.map((column) => column.schema),
      undefined,
    );
    const { position: offset, dictionaries, fresh } = segment;
    const laid = layTable(fresh.id, offset, dictionaries, rows, ordered, selections.indices);
    const done = (crc32: number): WrittenBlock => {
      for (const [name, dictionary] of laid.dictionaries) dictionaries.set(name, dictionary);
      const extent = { segment: fresh.id, offset, length: laid.bytes, crc32 };
      return { rows, columns: laid.columns, extent, segment: stateOf(segment) };
    };
    return { segment, pieces: laid.pieces, bytes: laid.bytes, done };
  }

  #layPayload(kind: StreamKind, payload: Uint8Array, file: string | undefined): Laid {
    this.#check(kind);
    const named = file === undefined ? {} : { file };
    const held = this.#segment?.holds(payload) === true ? this.#segment : undefined;
    if (!held && this.#given.has(payload.buffer))
      throw new PodlineError('PDL_STAGE_OUTPUT', 'the payload lies in room of `allocate` that was taken back since', {
        place: `${this.place.request.shardId}/${this.place.request.stream}`,
        hint: 'Room is valid until the next block is written or other room is asked for: write each once.',
      });
    if (payload.length === 0) return { written: { rows: 0, columns: [], payload: nowhere, ...named } };
    const segment = held ?? this.#segmentFor([], file);
    const { position: offset, fresh } = segment;
    // Looked at now: a payload that lies in the file itself is taken from its writer below.
    const { length } = payload;
    const done = (crc32: number, at = offset): WrittenBlock => ({
      rows: 0,
      columns: [],
      payload: { segment: fresh.id, offset: at, length },
      ...named,
      extent: { segment: fresh.id, offset, length: segment.position - offset, crc32 },
      segment: stateOf(segment),
    });
    const kept = this.#undoing(segment, () => segment.keep(payload));
    if (kept) return { written: done(kept.crc32, kept.offset) };
    return { segment, pieces: [payload], bytes: length, done };
  }

  #check(kind: StreamKind): void {
    const { stream, kind: held } = this.place.request;
    if (this.#closed) throw new PodlineError('PDL_SCRATCH_CLOSED', `the writer of \`${stream}\` is closed`);
    if (held !== kind) throw new PodlineError('PDL_STAGE_OUTPUT', `stream \`${stream}\` holds ${held}, not ${kind}`);
  }

  #checkSize(bytes: number): void {
    if (bytes <= limits.blockBytesMax) return;
    throw new PodlineError(
      'PDL_STAGE_OUTPUT',
      `a block of ${String(bytes)} bytes is over the limit of ${String(limits.blockBytesMax)}`,
      { place: `${this.place.request.shardId}/${this.place.request.stream}`, hint: 'Return smaller blocks.' },
    );
  }

  /** The open segment if it can take such a block, else another (invariant 4). */
  #segmentFor(schema: readonly ColumnSchema[], file: string | undefined): OpenSegment {
    const open = this.#segment;
    if (open?.fresh.place === this.#place && open.file === file && sameNames(open.schema, schema)) return open;
    this.leave();
    this.#segment = new OpenSegment(this.place.files, this.place.request.shardId, this.newEntry(), schema, file);
    return this.#segment;
  }

  #write(laid: Laid): WrittenBlock {
    if ('written' in laid) return laid.written;
    const { segment, pieces, bytes, done } = laid;
    this.#makeRoom(segment, bytes);
    return done(this.#undoing(segment, () => segment.write(pieces, bytes)));
  }

  async #writeAside(laid: Laid): Promise<WrittenBlock> {
    if ('written' in laid) return laid.written;
    const { segment, pieces, bytes, done } = laid;
    this.#makeRoom(segment, bytes);
    try {
      return done(await segment.writeAside(pieces, bytes));
    } catch (error) {
      throw this.#undone(segment, error);
    }
  }

  #makeRoom(segment: OpenSegment, bytes: number): void {
    this.#checkSize(bytes);
    this.#reserve(segment, segment.position + bytes);
  }

  /** On failure the room is given back and the error thrown (invariant 2). */
  #undoing<T>(segment: OpenSegment, action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw this.#undone(segment, error);
    }
  }

  #undone(segment: OpenSegment, error: unknown): unknown {
    const { index, request, sizeBytesMax } = this.place;
    const bytes = wholePages(segment.position);
    index.transact((txn) => {
      const entry = txn.get('segment', request.shardId, segment.fresh.id);
      if (entry && entry.reservedBytes > bytes) reserve(txn, request.shardId, entry, bytes, sizeBytesMax);
    });
    segment.reservedBytes = bytes;
    return error;
  }

  /** Sees that a segment has room up to byte `end`, and some ahead if that fits. */
  #reserve(segment: OpenSegment, end: number): void {
    const need = end + endBytes;
    if (need <= segment.reservedBytes) return;
    const { index, request, sizeBytesMax } = this.place;
    const { shardId, stream, run } = request;
    const ahead = Math.min(reserveAheadBytes, Math.floor(sizeBytesMax / 64));
    segment.reservedBytes = index.transact((txn) => {
      checkRun(txn, shardId, stream, run);
      checkStream(txn, request);
      const found = txn.get('segment', shardId, segment.fresh.id);
      if (!found && segment.position > 0)
        throw new PodlineError('PDL_RUN_FENCED', `segment ${segment.fresh.id} was taken from its writer`, {
          place: `${shardId}/${stream}`,
        });
      const entry = found ?? segment.fresh;
      try {
        return reserve(txn, shardId, entry, wholePages(Math.max(need, segment.position + ahead)), sizeBytesMax).reservedBytes;
      } catch {
        return reserve(txn, shardId, entry, wholePages(need), sizeBytesMax).reservedBytes;
      }
    });
    segment.isKnown = true;
  }
}

function isCurrent(txn: Pick<IndexTransaction, 'get'>, { shardId, stream, run }: WriterRequest): boolean {
  try {
    checkRun(txn, shardId, stream, run);
    return true;
  } catch {
    return false;
  }
}

/** The place of no bytes. */
export const nowhere: BufferRef = { segment: '', offset: 0, length: 0 };

const sameNames = (one: readonly ColumnSchema[], other: readonly ColumnSchema[]): boolean =>
  one.length === other.length && one.every(({ name }, index) => name === other[index]?.name);

const stateOf = ({ fresh, position, reservedBytes }: OpenSegment): NonNullable<WrittenBlock['segment']> => ({
  id: fresh.id,
  committedBytes: position,
  reservedBytes,
  place: fresh.place,
});
