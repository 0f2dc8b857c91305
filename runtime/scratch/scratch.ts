/**
 * The scratch of a line: streams of blocks in segments on tmpfs, and an LMDB index of what of them is committed.
 *
 * Owns: `dir` (`index/`, `bells/`, `shards/<shard>/<segment>`) and `spillDir`, both of this scratch alone. Leaves to others: when a stream
 * is read, dropped, spilled or copied. Several processes have it open at once, one of them as `owner`.
 *
 * Invariants, beside those of `contracts/block.ts`
 *  1. Records enter the index before their files are made and leave it before those are removed: a file without a record is
 *     rubbish, which the next owner removes.
 *  2. What the index counts as used is never less than what lies in `dir` under it, in whole pages.
 *  3. An index that cannot be believed (unreadable, another format, before a reboot) is begun anew, empty, with another mark.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  BlockRecord,
  BufferRef,
  RunRecord,
  SegmentRecord,
  ShardRecordInScratch,
  StageProgress,
  StreamRecord,
} from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { forgetSegment, forgetStream, noUsage } from './accounts.js';
import { Bells } from './bells.js';
import { finishFreeing, freeColumns, noteFreed } from './free.js';
import { IndexStore, type IndexTransaction } from './index-store.js';
import { readMark, writeMark } from './mark.js';
import { defaultReads, loadNative } from './native.js';
import { Part, type PartPlace } from './part.js';
import { BlockReader } from './reader.js';
import { retireSegments } from './retire.js';
import { placeSegments, type RestoredStream } from './restore.js';
import { SegmentFiles } from './segment-files.js';
import { SegmentViews, type SegmentPlace } from './segment-views.js';
import { spillSegment } from './spill.js';
import { checkRun, checkStream, getStream, listStreams, putStream } from './streams.js';
import { verifyExtents } from './verify.js';
import { segmentsOf } from './table-block.js';
import type { PartWriter, Scratch, ScratchOptions, ScratchUsage, ShardReader, StreamWriter, WriterRequest } from './types.js';
import { BlockWriter } from './writer.js';

/** Opens, and as owner creates, the scratch in `options.dir`. As `stage`, throws PDL_SCRATCH_CORRUPT where there is none. */
export async function openScratch(options: ScratchOptions): Promise<Scratch> {
  const indexDir = join(options.dir, 'index');
  const files = new SegmentFiles(options.dir, options.spillDir, options.medium);
  const found = readMark(options.dir);
  const fault = 'fault' in found ? found.fault : IndexStore.faultIn(indexDir);
  if (!('fault' in found) && fault === undefined) {
    const index = new IndexStore(indexDir);
    if (options.role === 'owner') {
      await files.sweep(index);
      for (const { key } of index.list('freeing', [])) finishFreeing({ index, files, shardId: key[0] }, key[1]);
    }
    return new LmdbScratch(options, index, found.mark, files);
  }
  if (options.role === 'stage') {
    throw new PodlineError('PDL_SCRATCH_CORRUPT', `the scratch in ${options.dir} cannot be opened: ${fault ?? ''}`, {
      place: options.dir,
    });
  }
  await rm(indexDir, { recursive: true, force: true });
  await files.clear();
  await mkdir(indexDir, { recursive: true });
  const index = new IndexStore(indexDir);
  index.begin();
  return new LmdbScratch(options, index, await writeMark(options.dir), files);
}

class LmdbScratch implements Scratch {
  readonly dir: string;
  readonly reads: 'mmap' | 'pread';
  readonly #bells: Bells;
  readonly #readers = new Set<BlockReader>();
  readonly #writers = new Set<BlockWriter>();
  readonly #parts = new Set<Part>();
  #closing: Promise<void> | undefined;
  #moving: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly options: ScratchOptions,
    private readonly index: IndexStore,
    readonly mark: string,
    private readonly files: SegmentFiles,
  ) {
    this.dir = options.dir;
    this.#bells = new Bells(options.dir);
    this.reads = options.reads === 'mmap' && !loadNative().functions ? 'pread' : (options.reads ?? defaultReads().reads);
  }

  usage(): ScratchUsage {
    const { usedBytes, peakBytes, spilledBytes } = this.index.get('usage') ?? noUsage;
    return { usedBytes, sizeBytesMax: this.options.sizeBytesMax, spilledBytes, peakBytes };
  }

  shards(): ShardRecordInScratch[] {
    return this.index.list('shard', []).map(valueOf);
  }

  shard(shardId: string): ShardRecordInScratch | undefined {
    return this.index.get('shard', shardId);
  }

  streams(shardId: string): StreamRecord[] {
    return listStreams(this.index, shardId);
  }

  stream(shardId: string, stream: string): StreamRecord | undefined {
    return getStream(this.index, shardId, stream);
  }

  blocks(shardId: string, stream: string, from?: number, to?: number): BlockRecord[] {
    return this.index.list('block', [shardId, stream], from, to).map(valueOf);
  }

  block(shardId: string, stream: string, seq: number): BlockRecord | undefined {
    return this.index.get('block', shardId, stream, seq);
  }

  segments(shardId: string): SegmentRecord[] {
    const entries = this.index.list('segment', [shardId]).map(valueOf);
    return entries.filter((entry) => entry.committedBytes > 0).map((entry) => this.files.record(shardId, entry));
  }

  progress(shardId: string, stage: string): StageProgress | undefined {
    return this.index.get('progress', shardId, stage);
  }

  async putShard(record: ShardRecordInScratch): Promise<void> {
    await this.#owned((txn) => {
      const before = txn.get('shard', record.shardId);
      if (before && record.epoch < before.epoch) {
        throw new PodlineError(
          'PDL_RUN_FENCED',
          `shard ${record.shardId} is in epoch ${String(before.epoch)}, not ${String(record.epoch)}`,
          { place: record.shardId },
        );
      }
      txn.put('shard', record, record.shardId);
    });
  }

  async dropShard(shardId: string): Promise<void> {
    await this.#owned((txn) => {
      txn.remove('shard', shardId);
      for (const { value } of txn.list('segment', [shardId])) forgetSegment(txn, shardId, value);
      for (const family of ['stream', 'tally', 'block', 'ref', 'freeing', 'run', 'progress'] as const) {
        for (const { key } of txn.list(family, [shardId])) txn.remove(family, ...key);
      }
    });
    await this.files.removeShard(shardId);
  }

  async beginRun(shardId: string, stage: string, run: RunRecord): Promise<void> {
    await this.#owned((txn) => {
      if (!txn.get('shard', shardId))
        throw new PodlineError('PDL_SHARD_UNKNOWN', `shard ${shardId} is not in the scratch`, { place: shardId });
      txn.put('run', run, shardId, stage);
      checkRun(txn, shardId, stage, run);
    });
  }

  async dropStream(shardId: string, stream: string): Promise<number> {
    const freed = await this.#owned((txn) => forgetStream(txn, shardId, stream));
    this.files.remove(shardId, freed);
    return freed.filter((segment) => segment.place === 'dir').reduce((sum, segment) => sum + segment.reservedBytes, 0);
  }

  freeColumns(shardId: string, stream: string, columns: readonly string[]): Promise<number> {
    return this.#alone(() => {
      this.#checkSealed(shardId, stream, 'lose columns');
      return freeColumns({ index: this.index, files: this.files, shardId }, stream, columns);
    });
  }

  spillStream(shardId: string, stream: string): Promise<number> {
    return this.#alone(async () => {
      this.#checkSealed(shardId, stream, 'be spilled');
      if (this.options.medium === 'ssd') return 0;
      let freedBytes = 0;
      for (const { value } of this.index.list('segment', [shardId])) {
        if (value.stream === stream && value.place === 'dir')
          freedBytes += await spillSegment(this.index, this.files, shardId, value);
      }
      return freedBytes;
    });
  }

  async restoreStream(
    shardId: string,
    restored: RestoredStream,
    place: (segment: SegmentRecord, path: string) => Promise<void>,
  ): Promise<void> {
    this.#checkOwner();
    if (!this.shard(shardId))
      throw new PodlineError('PDL_SHARD_UNKNOWN', `shard ${shardId} is not in the scratch`, { place: shardId });
    const { index, files } = this;
    const placed = await placeSegments({
      index,
      files,
      sizeBytesMax: this.options.sizeBytesMax,
      shardId,
      segments: restored.segments,
      place,
    });
    const { stream } = restored.stream;
    try {
      const freed = await this.#owned((txn) => {
        // What the restored blocks refer to stays; what only the stream that they replace referred to goes.
        for (const block of restored.blocks) {
          for (const segment of segmentsOf(block)) txn.put('ref', 1, shardId, segment, `${stream}\0restored`);
        }
        for (const entry of placed.entries) txn.put('segment', entry, shardId, entry.id);
        const replaced = forgetStream(txn, shardId, stream);
        for (const block of restored.blocks) {
          for (const segment of segmentsOf(block)) {
            if (!txn.get('segment', shardId, segment)) {
              throw new PodlineError(
                'PDL_SCRATCH_CORRUPT',
                `block ${String(block.seq)} of \`${stream}\` refers to segment ${segment}, which was not restored`,
                { place: shardId },
              );
            }
            txn.remove('ref', shardId, segment, `${stream}\0restored`);
            txn.put('ref', 1, shardId, segment, stream);
          }
          txn.put('block', block, shardId, stream, block.seq);
        }
        putStream(txn, shardId, restored.stream);
        noteFreed(txn, shardId, stream, restored.blocks, placed.entries);
        if (restored.progress) txn.put('progress', restored.progress, shardId, stream);
        return replaced;
      });
      files.remove(shardId, freed);
    } catch (error) {
      placed.undo();
      throw error;
    }
    finishFreeing({ index, files, shardId }, stream);
  }

  async verifyStream(shardId: string, stream: string): Promise<void> {
    const extents = this.blocks(shardId, stream).flatMap(({ seq, extent }) => (extent ? [{ seq, ...extent }] : []));
    for (const id of new Set(extents.map(({ segment }) => segment))) {
      const entry = this.index.get('segment', shardId, id);
      if (!entry)
        throw new PodlineError('PDL_SCRATCH_CORRUPT', `segment ${id} is not in the scratch`, { place: `${shardId}/${stream}` });
      await verifyExtents(
        this.files.path(shardId, entry),
        `${shardId}/${stream}`,
        extents.filter(({ segment }) => segment === id),
      );
    }
  }

  async openWriter(request: WriterRequest): Promise<StreamWriter> {
    this.#checkOpen();
    const { shardId, stream } = request;
    const opened = this.index.transact((txn) => {
      checkRun(txn, shardId, stream, request.run);
      const before = getStream(txn, shardId, stream);
      if (before && isSameWork(before, request)) return { record: before, freed: [], goesOn: true };
      const replaced = before ? forgetStream(txn, shardId, stream) : [];
      const { kind, schema, lineage } = request;
      const fresh: StreamRecord = { stream, kind, schema, lineage, sealed: false, blocks: 0, rows: 0, bytes: 0 };
      putStream(txn, shardId, fresh);
      return { record: fresh, freed: replaced, goesOn: false };
    });
    this.files.remove(shardId, opened.freed);
    if (opened.goesOn) retireSegments({ index: this.index, files: this.files, shardId }, stream);
    const place = this.#placeFor(request);
    const writer = new BlockWriter(place, new Part(place, place.done), opened.record, (closed) => this.#writers.delete(closed));
    this.#writers.add(writer);
    return Promise.resolve(writer);
  }

  openPart(request: WriterRequest): PartWriter {
    this.#checkOpen();
    checkRun(this.index, request.shardId, request.stream, request.run);
    checkStream(this.index, request);
    const place = this.#placeFor(request);
    const part = new Part(place, (closed) => {
      this.#parts.delete(closed);
      place.done();
    });
    this.#parts.add(part);
    return part;
  }

  openReader(shardId: string): ShardReader {
    this.#checkOpen();
    const reader = new BlockReader(this.#viewsOf(shardId), (closed) => this.#readers.delete(closed));
    this.#readers.add(reader);
    return reader;
  }

  #viewsOf(shardId: string): SegmentViews {
    const locate = (id: string): SegmentPlace | undefined => {
      const segment = this.index.get('segment', shardId, id);
      return segment && this.files.record(shardId, segment);
    };
    return new SegmentViews(locate, this.reads === 'mmap' ? loadNative().functions : undefined);
  }

  /** What a part works with; its views are opened at the first use. */
  #placeFor(request: WriterRequest): PartPlace & { done: () => void } {
    const { index, files } = this;
    let views: SegmentViews | undefined;
    const bytes = ({ segment, offset, length }: BufferRef): Uint8Array => {
      views ??= this.#viewsOf(request.shardId);
      const { buffer, byteOffset } = views.view(segment, offset, length);
      return new Uint8Array(buffer, byteOffset, length);
    };
    return { index, files, sizeBytesMax: this.options.sizeBytesMax, request, bytes, done: () => views?.close() };
  }

  ring(shardId: string, stream: string): void {
    this.#bells.ring(shardId, stream);
  }

  onRing(shardId: string, streams: readonly string[], listener: () => void): () => void {
    return this.#bells.listen(shardId, streams, listener);
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#bells.close();
      await Promise.all([...this.#writers].map((writer) => writer.close()));
      for (const part of [...this.#parts]) part.close();
      for (const reader of [...this.#readers]) reader.close();
      await this.index.close();
    })();
    return this.#closing;
  }

  #owned<T>(action: (txn: IndexTransaction) => T): Promise<T> {
    // A promise although the transaction is synchronous: callers need not change when it no longer is.
    return Promise.resolve().then(() => {
      this.#checkOwner();
      return this.index.transact(action);
    });
  }

  /** One after another: what moves the bytes of segments, or takes some away. */
  #alone<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#moving.then(action);
    this.#moving = done.catch(() => undefined);
    return done;
  }

  #checkSealed(shardId: string, stream: string, what: string): void {
    this.#checkOwner();
    const record = this.stream(shardId, stream);
    if (!record?.sealed)
      throw new PodlineError(
        'PDL_INTERNAL',
        `stream \`${stream}\` of ${shardId} is ${record ? 'still being written' : 'not there'}: it cannot ${what}`,
      );
  }

  #checkOwner(): void {
    this.#checkOpen();
    if (this.options.role !== 'owner')
      throw new PodlineError('PDL_INTERNAL', 'only the owner of a scratch changes what it holds; this one was opened by a stage');
  }

  #checkOpen(): void {
    if (this.#closing) throw new PodlineError('PDL_SCRATCH_CLOSED', `the scratch in ${this.dir} is closed`);
  }
}

const valueOf = <T>({ value }: { value: T }): T => value;

/** Equal lineage and shape: the stream is the same work, begun before. */
function isSameWork(before: StreamRecord, request: WriterRequest): boolean {
  const shape = (of: { kind: string; schema: StreamRecord['schema'] }): string =>
    JSON.stringify([of.kind, of.schema.map(({ name, type, nullable }) => [name, type, nullable])]);
  return request.fresh !== true && before.lineage.digest === request.lineage.digest && shape(before) === shape(request);
}
