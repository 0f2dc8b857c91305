/**
 * Puts streams of one checkpoint into a scratch.
 *
 * A segment that the scratch holds already is not placed again, so that one that several streams stand on is placed once.
 * Every byte is held against its checksum on the way.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { noBytes, type BytesByMedium, type SegmentRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Scratch } from '../scratch/types.js';
import { load } from './load.js';
import { readProgress, type CheckpointManifest, type StoredStream } from './manifest.js';
import { isErrno, placeWords, type ShardFolder } from './shard-folder.js';
import { renameSegments } from './snapshot.js';

export interface RestoreTarget {
  scratch: Scratch;
  shardId: string;
  folder: ShardFolder;
  manifest: CheckpointManifest;
  manifestName: string;
  /** Told of each segment that is in its place now. */
  placed: (segment: string, file: string, path: string) => void;
}

export class Restorer {
  readonly bytes: BytesByMedium = noBytes();
  /** Segment of the scratch by file of the checkpoint. */
  readonly #segments = new Map<string, string>();

  constructor(private readonly target: RestoreTarget) {}

  /** Throws PDL_CHECKPOINT_CORRUPT, PDL_SCRATCH_FULL; the scratch then has nothing of the stream. */
  async restore(stream: string): Promise<void> {
    const { manifest, manifestName, scratch, shardId } = this.target;
    const stored = manifest.streams.find(({ record }) => record.stream === stream);
    if (stored === undefined) throw new PodlineError('PDL_CHECKPOINT_CORRUPT', `${manifestName} holds no stream ${stream}`);
    const fresh: { record: SegmentRecord; file: string }[] = [];
    const there = new Map(scratch.segments(shardId).map(({ id, committedBytes }) => [id, committedBytes]));
    for (const file of new Set(Object.values(stored.files))) {
      const { segment, stream: owner, bytes, ended } = this.#file(file);
      const name = this.#segments.get(file) ?? segment;
      const heldBytes = there.get(name);
      // A name never means other bytes; what is too short of it is an older copy, which others stand on.
      const id = heldBytes === undefined || heldBytes >= bytes ? name : `${owner}.0-${randomBytes(4).toString('hex')}`;
      this.#segments.set(file, id);
      if (there.has(id)) continue;
      there.set(id, bytes);
      fresh.push({ file, record: { id, stream: owner, path: '', medium: 'memory', committedBytes: bytes, ended } });
    }
    await this.#put(stored, fresh);
  }

  async #put(stored: StoredStream, fresh: readonly { record: SegmentRecord; file: string }[]): Promise<void> {
    const { scratch, shardId, placed } = this.target;
    const files = new Map(fresh.map(({ record, file }) => [record.id, file]));
    const paths = new Map<string, string>();
    const rename = (segment: string): string => this.#segments.get(stored.files[segment] ?? '') ?? segment;
    await scratch.restoreStream(
      shardId,
      {
        stream: stored.record,
        segments: fresh.map(({ record }) => record),
        blocks: stored.blocks.map((block) => renameSegments(block, rename)),
        ...(stored.progress === undefined ? {} : { progress: readProgress(stored.progress) }),
      },
      async (segment, path) => {
        const file = files.get(segment.id);
        if (file === undefined) throw new PodlineError('PDL_INTERNAL', `segment ${segment.id} is not one that is restored`);
        await this.#copy(file, segment, path);
        paths.set(segment.id, path);
      },
    );
    for (const [segment, path] of paths) placed(segment, files.get(segment) ?? '', path);
  }

  async #copy(file: string, segment: SegmentRecord, path: string): Promise<void> {
    const { folder, manifest } = this.target;
    const { pieces, bytes, segment: stored } = this.#file(file);
    makeFile(path, bytes);
    const sparse = manifest.streams.some(({ record, files }) => files[stored] === file && record.freed !== undefined);
    try {
      await load({ source: folder.file(file), target: path, pieces, sparse });
    } catch (error) {
      const { message } = PodlineError.from(error);
      if (isErrno(error, 'ENOSPC'))
        throw new PodlineError('PDL_SCRATCH_FULL', `no room for segment ${segment.id} of a checkpoint: ${message}`);
      // A file that cannot be read is worth no more than one that is wrong.
      throw new PodlineError('PDL_CHECKPOINT_CORRUPT', `${placeWords[folder.place]}: ${message}`, {
        place: folder.file(file),
        cause: error,
      });
    }
    this.bytes[folder.place].read += bytes;
    this.bytes[segment.medium].written += bytes;
  }

  #file(name: string): CheckpointManifest['files'][string] {
    const file = this.target.manifest.files[name];
    if (file === undefined) throw new PodlineError('PDL_CHECKPOINT_CORRUPT', `${this.target.manifestName} names no file ${name}`);
    return file;
  }
}

/** A file of so many bytes, none of them written: it is filled up to its holes. */
function makeFile(path: string, bytes: number): void {
  const fd = openSync(path, 'w');
  try {
    ftruncateSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
}
