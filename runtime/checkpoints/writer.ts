/**
 * Writes the checkpoints of one shard to one place.
 *
 * `take` notes what is committed, at once; `write` then copies what the place does not hold yet and adds a manifest.
 * Owns what is known of the place's files: which segment each is a copy of, up to where, with which checksums.
 *
 * Invariants
 *  1. What a manifest names was synced before the manifest was written.
 *  2. Bytes that the place holds are not copied again: a file grows with its segment, and only the process that made it lets it grow.
 *  3. A file stands for a segment only while it is surely its copy: same inode as when it was copied, or the same checksums.
 *  4. What a copy holds is of one moment: if columns were given back meanwhile, it is not used.
 *  5. A manifest is complete in itself: what it takes over from the one before has the wanted lineage and is still needed.
 */
import { closeSync, fstatSync, openSync, statSync, type Stats } from 'node:fs';
import { noBytes, type BlockExtent, type SegmentRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { StreamWritten } from '../line/checkpoint-policy.js';
import { neededStreams } from '../line/resume.js';
import type { Saver } from './saver.js';
import { pageAbove } from './direct.js';
import {
  checkpointFormat,
  storeProgress,
  type CheckpointManifest,
  type Piece,
  type StoredFile,
  type StoredStream,
} from './manifest.js';
import { asCheckpointError, type ShardFolder } from './shard-folder.js';
import { snapshotStream, stretches, tile, wholeExtents, type StreamSnapshot } from './snapshot.js';
import type { WriteRequest, Written } from './types.js';

/** What `Stats.blocks` counts. */
const statBlockBytes = 512;

/** A segment as it is to be stored: open, so that it may be dropped or moved meanwhile. */
interface OpenSegment {
  record: SegmentRecord;
  fd: number;
  identity: string;
  /** Up to where it is needed. */
  to: number;
  /** Parts of it were given back (`Scratch.freeColumns`). */
  sparse: boolean;
  /** Bytes that its file took then. */
  allocatedBytes: number;
  /** Columns of its stream that were given back by then. */
  freed: readonly string[];
  extents: BlockExtent[];
}

export interface Taken {
  request: WriteRequest;
  snapshots: StreamSnapshot[];
  segments: Map<string, OpenSegment>;
}

interface KnownFile extends StoredFile {
  name: string;
  /** Made by this process: it may grow. */
  mine: boolean;
  /** Of the segment that it was copied from or to, in this process. */
  identity?: string | undefined;
}

/** What is committed now, with its segments open. Throws when a stream is not there. `release` it in the end. */
export function take(request: WriteRequest): Taken {
  const { scratch, shardId } = request;
  const taken: Taken = { request, snapshots: [], segments: new Map() };
  try {
    for (const stream of new Set(request.streams)) {
      const snapshot = snapshotStream(scratch, shardId, stream);
      if (snapshot === undefined)
        throw new PodlineError('PDL_INTERNAL', `shard ${shardId} has no stream ${stream} to checkpoint`);
      taken.snapshots.push(snapshot);
    }
    const records = new Map(scratch.segments(shardId).map((record) => [record.id, record]));
    for (const { blocks } of taken.snapshots) {
      for (const [id, to] of stretches(blocks)) {
        const open = taken.segments.get(id);
        if (open !== undefined) open.to = Math.max(open.to, to);
        else taken.segments.set(id, openSegment(id, to, records));
      }
    }
    for (const segment of taken.segments.values()) {
      segment.extents = extentsOf(taken, segment.record);
      segment.to = wholeExtents(segment.to, segment.extents);
      segment.freed = freedOf(request, segment.record);
    }
    return taken;
  } catch (error) {
    release(taken);
    throw error;
  }
}

export function release(taken: Taken): void {
  for (const { fd } of taken.segments.values()) closeSync(fd);
  taken.segments.clear();
}

function openSegment(id: string, to: number, records: ReadonlyMap<string, SegmentRecord>): OpenSegment {
  const record = records.get(id);
  if (record === undefined)
    throw new PodlineError('PDL_SCRATCH_CORRUPT', `a block refers to segment ${id}, and there is no such segment`);
  const fd = openSync(record.path, 'r');
  const stat = fstatSync(fd);
  const allocatedBytes = stat.blocks * statBlockBytes;
  const sparse = allocatedBytes < pageAbove(record.committedBytes);
  return { record, fd, identity: identityOf(stat), to, sparse, allocatedBytes, freed: [], extents: [] };
}

/** The checksums that are known of a segment: those of its stream's blocks, if the stream is still there. */
function extentsOf({ request, snapshots }: Taken, segment: SegmentRecord): BlockExtent[] {
  const own = snapshots.find(({ record }) => record.stream === segment.stream);
  const blocks = own?.blocks ?? request.scratch.blocks(request.shardId, segment.stream);
  return blocks.flatMap(({ extent }) => (extent?.segment === segment.id ? [extent] : []));
}

const freedOf = ({ scratch, shardId }: WriteRequest, { stream }: SegmentRecord): readonly string[] =>
  scratch.stream(shardId, stream)?.freed ?? [];

/** Columns were given back since it was taken: a copy that was made meanwhile may hold some of their bytes, and zeros for others. */
function hasChanged(segment: OpenSegment, request: WriteRequest): boolean {
  const allocatedBytes = fstatSync(segment.fd).blocks * statBlockBytes;
  const wasFreed = freedOf(request, segment.record).length > segment.freed.length;
  return wasFreed || (allocatedBytes < segment.allocatedBytes && allocatedBytes < pageAbove(segment.record.committedBytes));
}

/** What was taken must be taken anew. */
export class SegmentChanged extends PodlineError {
  constructor(segment: string) {
    super('PDL_INTERNAL', `columns of segment ${segment} were given back while it was copied`, { retry: 'later' });
  }
}

const identityOf = ({ dev, ino, birthtimeMs }: Stats): string => `${String(dev)}:${String(ino)}:${String(birthtimeMs)}`;

/**
 * A stream as a manifest has it. Where a column was given back after its segment was copied, the copy still holds it and its pieces say
 * so, while the blocks say what the scratch holds: whoever takes the stream in gives the column back again.
 */
function describe(
  { record, blocks, progress }: StreamSnapshot,
  files: ReadonlyMap<string, string>,
  request: WriteRequest,
): StoredStream {
  return {
    record,
    blocks,
    files: Object.fromEntries([...stretches(blocks).keys()].map((id) => [id, files.get(id) ?? ''])),
    ...(progress === undefined ? {} : { progress: storeProgress(progress) }),
    workMs: request.workMs?.[record.stream] ?? 0,
  };
}

export class ShardWriter {
  readonly written = new Map<string, StreamWritten>();
  /** By segment of the scratch. */
  readonly #known = new Map<string, KnownFile>();
  #last: { name: string; manifest: CheckpointManifest } | undefined;
  #enteredEpoch = -1;

  constructor(
    readonly folder: ShardFolder,
    private readonly saver: Saver,
  ) {}

  /** Notes that the scratch's `segment` is a copy of the place's `file`, as a restore made it. */
  restored(segment: string, file: string, stored: StoredFile, path: string): void {
    this.#known.set(segment, { ...stored, name: file, mine: false, identity: identityOf(statSync(path)) });
  }

  async enter(epoch: number): Promise<void> {
    if (this.#enteredEpoch === epoch) return;
    await this.folder.enter(epoch);
    this.#enteredEpoch = epoch;
  }

  /** The manifest that a restore found corrupt is no longer one to build on. */
  distrust(manifest: string): void {
    if (this.#last?.name !== manifest) return;
    for (const file of Object.keys(this.#last.manifest.files)) this.#forgetFile(file);
    this.#last = undefined;
  }

  /** Copies and adds a manifest. Throws PDL_CHECKPOINT_FULL, PDL_CHECKPOINT_MISSING, PDL_LEASE_LOST. Does not release `taken`. */
  async write(taken: Taken, excluded: ReadonlySet<string>): Promise<Omit<Written, 'ms'>> {
    const { place, epoch, retain } = taken.request;
    try {
      // Looked at each time: the place may have gone since.
      await this.folder.enter(epoch);
      this.#enteredEpoch = epoch;
      await this.#lookAgain();
      this.#last ??= (await this.folder.newest(excluded)).found;
      const bytes = noBytes();
      const carried = this.#carriedOver(taken);
      const needed = taken.snapshots.filter(({ record }) => isNeeded(taken, record.stream, carried));
      const files = await this.#storeSegments(needed, taken, bytes);
      const manifest = this.#manifest(taken, [...carried, ...needed.map((snapshot) => describe(snapshot, files, taken.request))]);
      if (this.#last === undefined || !saysTheSame(this.#last.manifest, manifest)) {
        this.#last = { name: await this.folder.add(manifest), manifest };
        await this.folder.retain(retain, epoch);
      }
      this.#settle(manifest);
      return { place, manifest: this.#last.name, streams: [...this.written.keys()], bytes, writtenBytes: bytes[place].written };
    } catch (error) {
      const failure = asCheckpointError(error, place, this.folder.root);
      if (failure.code === 'PDL_CHECKPOINT_FULL') await this.#makeRoom(epoch);
      throw failure;
    }
  }

  /** Forgets files that somebody has taken away since the last write, and the manifest with them. */
  async #lookAgain(): Promise<void> {
    const files = new Map([...this.#known.values()].map(({ name, bytes }) => [name, bytes]));
    for (const [name, { bytes }] of Object.entries(this.#last?.manifest.files ?? {})) files.set(name, files.get(name) ?? bytes);
    for (const [name, bytes] of files) {
      if ((await this.folder.faultOf(name, bytes)) === undefined) continue;
      this.#forgetFile(name);
      if (this.#last?.manifest.files[name] !== undefined) this.#last = undefined;
    }
  }

  /** Streams of the last manifest that are neither written anew, nor of another lineage, nor needless. */
  #carriedOver(taken: Taken): StoredStream[] {
    const anew = new Set(taken.snapshots.map(({ record }) => record.stream));
    const candidates = (this.#last?.manifest.streams ?? []).filter(
      ({ record }) => !anew.has(record.stream) && taken.request.lineages.get(record.stream)?.digest === record.lineage.digest,
    );
    return candidates.filter(({ record }) => isNeeded(taken, record.stream, candidates));
  }

  /** Makes the place hold the segments that the streams stand on, several at once; returns their files, by segment. */
  async #storeSegments(
    snapshots: readonly StreamSnapshot[],
    taken: Taken,
    bytes: Written['bytes'],
  ): Promise<Map<string, string>> {
    const ids = [...new Set(snapshots.flatMap(({ blocks }) => [...stretches(blocks).keys()]))];
    const files = new Map<string, string>();
    const storing = ids.map(async (id) => {
      const segment = taken.segments.get(id);
      if (segment === undefined) throw new PodlineError('PDL_INTERNAL', `segment ${id} was not opened`);
      files.set(id, await this.#storeSegment(segment, taken.request, bytes));
    });
    // All of them are waited for: they read files that are closed when this is over.
    const failed = (await Promise.allSettled(storing)).find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return files;
  }

  /** Makes the place hold the segment up to where it is needed; returns the file. */
  async #storeSegment(segment: OpenSegment, request: WriteRequest, bytes: Written['bytes']): Promise<string> {
    const { id, stream, medium } = segment.record;
    const known = this.#knownCopy(segment);
    if (known !== undefined && known.bytes >= segment.to) {
      known.ended = isEnded(segment.record, known.bytes);
      return known.name;
    }
    const grown = known?.mine === true ? known : undefined;
    const from = grown?.bytes ?? 0;
    const name = grown?.name ?? this.folder.nameSegment(id, request.epoch);
    const pieces = tile(from, segment.to, segment.extents);
    const unknown = pieces.filter(([, , , mark]) => mark === 0);
    const answer = await this.saver.run({
      sourceFd: segment.fd,
      target: this.folder.file(name),
      from,
      to: segment.to,
      sparse: segment.sparse,
      sums: unknown.map(([offset, length]) => [offset, length]),
    });
    if (!answer.ok) throw Object.assign(new Error(answer.message), { code: answer.code });
    if (hasChanged(segment, request)) throw new SegmentChanged(id);
    unknown.forEach((piece, index) => {
      piece[2] = answer.sums[index] ?? 0;
    });
    bytes[medium].read += segment.to - from;
    bytes[request.place].written += segment.to - from;
    const all: Piece[] = [...(grown?.pieces ?? []), ...pieces];
    this.#known.set(id, {
      name,
      segment: id,
      stream,
      bytes: segment.to,
      ended: isEnded(segment.record, segment.to),
      pieces: all,
      mine: true,
      identity: segment.identity,
    });
    return name;
  }

  #knownCopy(segment: OpenSegment): KnownFile | undefined {
    const here = this.#known.get(segment.record.id);
    if (here !== undefined && (here.identity === segment.identity || sumsAgree(here.pieces, segment.extents))) return here;
    // After a restart of the agent only the manifest knows.
    const [name, stored] =
      Object.entries(this.#last?.manifest.files ?? {}).find(
        ([, file]) => file.segment === segment.record.id && sumsAgree(file.pieces, segment.extents),
      ) ?? [];
    if (name === undefined || stored === undefined) return undefined;
    const known = { ...stored, name, mine: false, identity: segment.identity };
    this.#known.set(segment.record.id, known);
    return known;
  }

  #manifest({ request }: Taken, streams: StoredStream[]): CheckpointManifest {
    const files: CheckpointManifest['files'] = {};
    for (const name of new Set(streams.flatMap((stream) => Object.values(stream.files)))) {
      const known = [...this.#known.values()].find((file) => file.name === name);
      const stored = known ?? this.#last?.manifest.files[name];
      if (stored === undefined) throw new PodlineError('PDL_INTERNAL', `checkpoint file ${name} is not known`);
      const { segment, stream, bytes, ended, pieces } = stored;
      files[name] = { segment, stream, bytes, ended, pieces };
    }
    const { pipeline, shardId, epoch } = request;
    return { format: checkpointFormat, pipeline: pipeline.name, shardId, epoch, revision: pipeline.revision, streams, files };
  }

  /** What retention may have removed is known no longer. */
  #settle(manifest: CheckpointManifest): void {
    for (const file of [...this.#known.values()]) {
      if (manifest.files[file.name] === undefined) this.#forgetFile(file.name);
    }
    this.written.clear();
    for (const { record, workMs } of manifest.streams) {
      this.written.set(record.stream, { sealed: record.sealed, blocks: record.blocks, bytes: record.bytes, workMs });
    }
  }

  /** A full place gives up what is not needed to resume: older manifests, and what this write has left. */
  async #makeRoom(epoch: number): Promise<void> {
    const named = this.#last?.manifest.files ?? {};
    for (const file of [...this.#known.values()]) if (named[file.name] === undefined) this.#forgetFile(file.name);
    try {
      await this.folder.retain(1, epoch);
    } catch {
      // The place is full or gone, which is being reported already.
    }
  }

  #forgetFile(name: string): void {
    for (const [segment, file] of this.#known) if (file.name === name) this.#known.delete(segment);
  }
}

/** Whether a copy of so many bytes is the whole of a segment to which nothing will be added. */
const isEnded = (segment: SegmentRecord, bytes: number): boolean => segment.ended && bytes === segment.committedBytes;

/** Whether a resume from what is taken and `others` would want the stream. */
function isNeeded(taken: Taken, stream: string, others: readonly StoredStream[]): boolean {
  const { pipeline, results } = taken.request;
  const sealed = new Set(
    [...taken.snapshots, ...others].filter(({ record }) => record.sealed).map(({ record }) => record.stream),
  );
  return neededStreams(pipeline.stages, results, (name) => sealed.has(name)).has(stream);
}

/** Whether every block's checksum of a stored file is that of the segment; a file without any proves nothing. */
function sumsAgree(pieces: readonly Piece[], extents: readonly BlockExtent[]): boolean {
  const sums = new Map(extents.map(({ offset, length, crc32 }) => [offset, `${String(length)}:${String(crc32)}`]));
  const blocks = pieces.filter(([, , , mark]) => mark === 1);
  return (
    blocks.length > 0 && blocks.every(([offset, length, crc32]) => sums.get(offset) === `${String(length)}:${String(crc32)}`)
  );
}

function saysTheSame(a: CheckpointManifest, b: CheckpointManifest): boolean {
  const gist = ({ streams }: CheckpointManifest): string =>
    streams
      .map(({ record, progress, files }) =>
        JSON.stringify([record.stream, record.lineage.digest, record.sealed, record.blocks, progress?.consumed, files]),
      )
      .sort()
      .join();
  return gist(a) === gist(b);
}
