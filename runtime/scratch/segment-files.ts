/** Files of segments: where they lie, made, emptied, removed. The index says which there are; see `accounts.ts`. */
import { closeSync, fstatSync, mkdirSync, openSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { SegmentRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { fileSafe } from '../platform/files.js';
import { wholePages } from './accounts.js';
import type { IndexReads, SegmentEntry } from './index-store.js';
import { loadNative } from './native.js';

export class SegmentFiles {
  readonly shardsDir: string;

  constructor(
    dir: string,
    readonly spillDir: string,
    private readonly medium: 'memory' | 'ssd',
  ) {
    this.shardsDir = join(dir, 'shards');
  }

  path(shardId: string, segment: Pick<SegmentEntry, 'id' | 'place'>): string {
    return join(segment.place === 'spill' ? this.spillDir : this.shardsDir, fileSafe(shardId), fileSafe(segment.id));
  }

  mediumOf(segment: Pick<SegmentEntry, 'place'>): 'memory' | 'ssd' {
    return segment.place === 'spill' ? 'ssd' : this.medium;
  }

  record(shardId: string, segment: SegmentEntry): SegmentRecord {
    const { id, stream, committedBytes } = segment;
    const ended = segment.endedAt === committedBytes;
    return { id, stream, path: this.path(shardId, segment), medium: this.mediumOf(segment), committedBytes, ended };
  }

  /** A new empty file, open for reading and writing; its folder is made. The segment must be in the index already (see `sweep`). */
  create(shardId: string, segment: SegmentEntry): number {
    const path = this.path(shardId, segment);
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, 'wx+', 0o640);
  }

  remove(shardId: string, segments: readonly SegmentEntry[]): void {
    for (const segment of segments) rmSync(this.path(shardId, segment), { force: true });
  }

  /** Gives back what a writer left behind the committed bytes, where the system can; the file keeps its size (mapped readers). */
  releaseTail(fd: number, committedBytes: number): void {
    const from = wholePages(committedBytes);
    const { size } = fstatSync(fd);
    if (size <= from) return;
    try {
      // To the end of the last page: a hole that ends within it would leave it.
      loadNative().functions?.punchHole(fd, from, wholePages(size) - from);
    } catch {
      // A file system without holes keeps the pages until the segment goes.
    }
  }

  async removeShard(shardId: string): Promise<void> {
    for (const root of [this.shardsDir, this.spillDir]) await rm(join(root, fileSafe(shardId)), { recursive: true, force: true });
  }

  /** Removes all files of all shards. */
  async clear(): Promise<void> {
    for (const root of [this.shardsDir, this.spillDir]) {
      for (const shard of await namesIn(root)) await rm(join(root, shard), { recursive: true, force: true });
    }
  }

  /**
   * Removes files that no segment of the index claims: left by an owner that died between forgetting and removing. Segments enter
   * the index before their file is made, so that a file seen here without an entry has none coming.
   */
  async sweep(index: IndexReads): Promise<void> {
    for (const root of [this.shardsDir, this.spillDir]) {
      for (const shard of await namesIn(root)) {
        const found = (await namesIn(join(root, shard))).map((name) => join(root, shard, name));
        const shards = index.list('shard', []).map(({ key }) => key[0]);
        const shardId = shards.find((id) => fileSafe(id) === shard);
        const claimed = new Set(
          shardId === undefined ? [] : index.list('segment', [shardId]).map(({ value }) => this.path(shardId, value)),
        );
        for (const path of found) if (!claimed.has(path)) await rm(path, { recursive: true, force: true });
        if (shardId === undefined) await rm(join(root, shard), { recursive: true, force: true });
      }
    }
  }
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

/** Size of a file, or undefined. */
export const sizeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size;

/** Opens for reading, hands the descriptor to `use`, closes. */
export async function withFile<T>(path: string, use: (fd: number) => T | Promise<T>): Promise<T> {
  const fd = openSync(path, 'r');
  try {
    return await use(fd);
  } finally {
    closeSync(fd);
  }
}

export const removeFile = (path: string): void => {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
};

/** The system's "no space" as PDL_SCRATCH_FULL; anything else as it is. */
export function asFull(error: unknown, place: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new PodlineError('PDL_SCRATCH_FULL', `the file system of ${place} is full (${code})`, { place, cause: error });
}
