/**
 * Appends blocks to one stream.
 *
 * Owns: the order of its appends and their commits. Leaves to others: the bytes (`part.ts`, its own and those of other threads), the
 * rules of the index (`accounts.ts`), foreign files (`adopt.ts`).
 *
 * Invariants
 *  1. Nothing is visible before the commit, and a commit is one transaction: blocks, stream, segments, references, progress.
 *  2. Every transaction checks the fence first; a fenced writer neither reserves nor commits.
 *  3. A failed append changes nothing; the same call may be made again.
 *  4. Blocks of a segment are committed in the order in which they lie there.
 */
import type { BlockRecord, BufferRef, StageProgress, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { forgetSegment, reserve, wholePages } from './accounts.js';
import { adoptArrowFile } from './adopt.js';
import { markFreed } from './free.js';
import type { IndexTransaction, SegmentEntry } from './index-store.js';
import { nowhere, type Part, type PartPlace } from './part.js';
import { checkRun, checkStream } from './streams.js';
import { segmentsOf } from './table-block.js';
import type { ColumnToWrite, StreamWriter, WrittenBlock } from './types.js';

export class BlockWriter implements StreamWriter {
  #stream: StreamRecord;
  #queue: Promise<unknown> = Promise.resolve();
  #failures = 0;
  #failure: unknown;
  #closing: Promise<void> | undefined;
  /** Segments that this stream refers to already. */
  readonly #referred = new Set<string>();
  readonly written = { memory: 0, ssd: 0 };

  constructor(
    private readonly place: PartPlace,
    private readonly part: Part,
    stream: StreamRecord,
    private readonly onClose: (writer: BlockWriter) => void,
  ) {
    this.#stream = stream;
  }

  get stream(): StreamRecord {
    return this.#stream;
  }

  useMedium(medium: 'memory' | 'ssd'): void {
    this.part.useMedium(medium);
  }

  appendTable(rows: number, columns: ColumnToWrite[], progress?: StageProgress): Promise<BlockRecord> {
    return this.#append('table', () => this.part.writeTableAside(rows, columns), progress);
  }

  appendBytes(payload: Uint8Array, progress?: StageProgress): Promise<BlockRecord> {
    return this.#append('bytes', () => this.part.writeBytesAside(payload), progress);
  }

  appendFile(name: string, piece: Uint8Array, progress?: StageProgress): Promise<BlockRecord> {
    return this.#append('files', () => this.part.writeFileAside(name, piece), progress);
  }

  appendPayloadRef(payload: BufferRef, progress?: StageProgress): Promise<BlockRecord> {
    const block = { rows: 0, columns: [], payload: payload.length === 0 ? nowhere : payload };
    return this.#append('bytes', () => Promise.resolve(block), progress);
  }

  commitWritten(blocks: readonly WrittenBlock[], progress?: StageProgress): Promise<BlockRecord[]> {
    return this.#inOrder(() => {
      this.#checkKind(this.#stream.kind);
      return this.#commit(blocks, progress);
    });
  }

  adoptArrow(path: string, progress?: StageProgress): Promise<BlockRecord[]> {
    return this.#inOrder(() => {
      this.#checkKind('table');
      this.part.leave();
      const { index, files, sizeBytesMax, request } = this.place;
      const { shardId, stream, run } = request;
      return adoptArrowFile(path, {
        schema: this.#stream.schema,
        shardId,
        files,
        newSegment: () => this.part.newEntry(),
        reserve: (segment, bytes) =>
          index.transact((txn) => {
            checkRun(txn, shardId, stream, run);
            checkStream(txn, request, this.#stream.blocks);
            return reserve(txn, shardId, segment, wholePages(bytes), sizeBytesMax);
          }),
        forget: (segment) => {
          index.transact((txn) => {
            forgetSegment(txn, shardId, segment);
          });
        },
        commit: (blocks, endedAt) => this.#commit(blocks, progress, endedAt),
      });
    });
  }

  commitProgress(progress: StageProgress): Promise<void> {
    return this.#inOrder(() => {
      this.#commit([], progress);
    });
  }

  seal(): Promise<StreamRecord> {
    return this.#inOrder(() => {
      if (this.#stream.sealed) return this.#stream;
      const { request } = this.place;
      this.part.leave((txn) => {
        checkRun(txn, request.shardId, request.stream, request.run);
        const tally = checkStream(txn, request, this.#stream.blocks);
        txn.put('tally', { ...tally, sealed: true }, request.shardId, request.stream);
      });
      this.#stream = { ...this.#stream, sealed: true };
      return this.#stream;
    });
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#queue;
      this.part.close();
      this.onClose(this);
    })();
    return this.#closing;
  }

  #append(
    kind: StreamRecord['kind'],
    write: () => Promise<WrittenBlock>,
    progress: StageProgress | undefined,
  ): Promise<BlockRecord> {
    return this.#inOrder(async () => {
      this.#checkKind(kind);
      const written = await write();
      try {
        return firstOf(this.#commit([written], progress));
      } catch (error) {
        this.part.undo(written);
        throw error;
      }
    });
  }

  /** After a failure the calls that were made before it was known fail too: a later block must not take the place of an earlier one. */
  #inOrder<T>(action: () => T | Promise<T>): Promise<T> {
    const failures = this.#failures;
    const done = this.#queue.then(async () => {
      if (failures !== this.#failures) throw this.#failure;
      if (this.#closing) throw new PodlineError('PDL_SCRATCH_CLOSED', `the writer of \`${this.place.request.stream}\` is closed`);
      try {
        return await action();
      } catch (error) {
        this.#failures += 1;
        this.#failure = error;
        throw error;
      }
    });
    this.#queue = done.catch(() => undefined);
    return done;
  }

  #checkKind(kind: StreamRecord['kind']): void {
    const { sealed, stream } = this.#stream;
    if (this.#stream.kind !== kind)
      throw new PodlineError('PDL_STAGE_OUTPUT', `stream \`${stream}\` holds ${this.#stream.kind}, not ${kind}`);
    if (sealed)
      throw new PodlineError('PDL_RUN_FENCED', `stream \`${stream}\` is sealed`, {
        place: `${this.place.request.shardId}/${stream}`,
      });
  }

  /** Invariants 1, 2 and 4. `endedAt`: the segment of an adopted file ends there by itself. */
  #commit(blocks: readonly WrittenBlock[], progress: StageProgress | undefined, endedAt?: number): BlockRecord[] {
    const { shardId, stream: name, run } = this.place.request;
    const bytes = { memory: 0, ssd: 0 };
    const referred = new Set<string>();
    const [records, after] = this.place.index.transact((txn) => {
      checkRun(txn, shardId, name, run);
      const before = checkStream(txn, this.place.request, this.#stream.blocks);
      const own = new Map<string, SegmentEntry>();
      const appended = blocks.map(({ segment: _, ...block }, number): BlockRecord => {
        if (block.extent) {
          const grown = this.#grown(txn, own, block.extent);
          own.set(grown.id, endedAt === undefined ? grown : { ...grown, endedAt });
          bytes[this.place.files.mediumOf(grown)] += block.extent.length;
        }
        for (const id of segmentsOf(block)) referred.add(id);
        return { seq: before.blocks + number, ...block };
      });
      for (const entry of own.values()) txn.put('segment', entry, shardId, entry.id);
      const hasFreed = [...referred].filter((id) => this.#refer(txn, id, own)).length > 0;
      for (const record of appended) {
        if (hasFreed) record.columns = record.columns.map((column) => markFreed(txn, shardId, column));
        txn.put('block', record, shardId, name, record.seq);
      }
      const tally = {
        ...before,
        blocks: before.blocks + blocks.length,
        rows: before.rows + blocks.reduce((sum, block) => sum + block.rows, 0),
        bytes: before.bytes + bytes.memory + bytes.ssd,
      };
      if (blocks.length > 0) txn.put('tally', tally, shardId, name);
      if (progress) txn.put('progress', progress, shardId, name);
      return [appended, tally] as const;
    });
    this.#stream = { ...this.#stream, blocks: after.blocks, rows: after.rows, bytes: after.bytes };
    for (const id of referred) this.#referred.add(id);
    this.written.memory += bytes.memory;
    this.written.ssd += bytes.ssd;
    return records;
  }

  /** A segment with another extent behind what is committed of it. */
  #grown(txn: IndexTransaction, own: ReadonlyMap<string, SegmentEntry>, extent: BufferRef): SegmentEntry {
    const { shardId, stream } = this.place.request;
    const entry = own.get(extent.segment) ?? txn.get('segment', shardId, extent.segment);
    if (entry?.stream !== stream || entry.committedBytes !== extent.offset) {
      throw new PodlineError(
        'PDL_RUN_FENCED',
        `a block of \`${stream}\` lies at byte ${String(extent.offset)} of segment ${extent.segment}, which ${entry ? `is committed up to ${String(entry.committedBytes)}` : 'was taken from its writer'}`,
        { place: `${shardId}/${stream}` },
      );
    }
    return { ...entry, committedBytes: extent.offset + extent.length };
  }

  /** Keeps a segment that a block refers to; returns whether columns in it were freed. */
  #refer(txn: IndexTransaction, id: string, own: ReadonlyMap<string, SegmentEntry>): boolean {
    const { shardId, stream } = this.place.request;
    const entry = own.get(id) ?? txn.get('segment', shardId, id);
    if (!entry) {
      throw new PodlineError('PDL_INTERNAL', `a block of \`${stream}\` refers to segment ${id}, which was freed`, {
        place: `${shardId}/${stream}`,
      });
    }
    if (!this.#referred.has(id)) txn.put('ref', 1, shardId, id, stream);
    return entry.hasFreed === true;
  }
}

function firstOf(blocks: readonly BlockRecord[]): BlockRecord {
  const [block] = blocks;
  if (!block) throw new PodlineError('PDL_INTERNAL', 'a commit of a block returned none');
  return block;
}
