/**
 * The folder that a place has for one shard: its manifests, its segment files, its fence.
 *
 * Owns names, order, fencing and removal; what is in the files belongs to writer and restorer. Invariants
 *  1. The place itself is never made: when it is missing, that is said (PDL_CHECKPOINT_MISSING).
 *  2. Manifests sort by epoch, then by number: a lower epoch never comes before a higher one.
 *  3. Nothing is written or removed once a fence of a higher epoch is seen; and nothing is removed that a manifest names, or
 *     that a higher epoch wrote.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PodlineError } from '../contracts/errors.js';
import type { CheckpointPlace } from '../line/checkpoint-policy.js';
import { fileSafe, syncFolder, writeFileAtomically } from '../platform/files.js';
import { decodeManifest, encodeManifest, type CheckpointManifest } from './manifest.js';

export interface ManifestName {
  file: string;
  epoch: number;
  number: number;
}

const manifestPattern = /^manifest-(\d+)\.(\d+)\.json$/;
const segmentPattern = /\.(\d+)-[0-9a-f]{12}\.seg$/;
const fencePattern = /^fence-(\d+)$/;
/** What `writeFileAtomically` leaves of a manifest when its process ends in the middle. */
const leftoverPattern = /^\.manifest-(\d+)\.\d+\.json\.[0-9a-f]+\.tmp$/;

export class ShardFolder {
  readonly path: string;
  /** Files that a manifest names, of those written here: they are not read again to see what may be removed. */
  readonly #named = new Map<string, string[]>();

  constructor(
    readonly place: CheckpointPlace,
    readonly root: string,
    pipeline: string,
    readonly shardId: string,
  ) {
    this.path = join(root, fileSafe(pipeline), fileSafe(shardId));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  nameSegment(segment: string, epoch: number): string {
    return `${fileSafe(segment)}.${String(epoch)}-${randomBytes(6).toString('hex')}.seg`;
  }

  /** Manifests, the newest first; none when the folder is not there. */
  async manifests(): Promise<ManifestName[]> {
    return newestFirst(await this.#list());
  }

  /** Reads a manifest and checks that its files are there and long enough. Throws PDL_CHECKPOINT_CORRUPT. */
  async read(name: string): Promise<CheckpointManifest> {
    const manifest = decodeManifest(await readFile(this.file(name), 'utf8'), `${placeWords[this.place]}: ${name}`);
    for (const [file, { bytes, segment }] of Object.entries(manifest.files)) {
      const what = await this.faultOf(file, bytes);
      if (what === undefined) continue;
      throw new PodlineError(
        'PDL_CHECKPOINT_CORRUPT',
        `${placeWords[this.place]}: ${name} is not used: its copy of segment ${segment}, ${file}, ${what}`,
      );
    }
    return manifest;
  }

  /** Why a file cannot be one of so many bytes; undefined when it can. */
  async faultOf(file: string, bytes: number): Promise<string | undefined> {
    const there = await sizeOf(this.file(file));
    if (there === undefined) return 'is missing';
    return there < bytes ? `has ${String(there)} bytes instead of ${String(bytes)}` : undefined;
  }

  /** The newest manifest that is whole and not `excluded`, and why newer ones are not used. */
  async newest(
    excluded: ReadonlySet<string>,
  ): Promise<{ found?: { name: string; manifest: CheckpointManifest }; refused: string[] }> {
    const refused: string[] = [];
    for (const { file } of await this.manifests()) {
      if (excluded.has(file)) {
        refused.push(`${placeWords[this.place]}: ${file} did not match its checksums`);
        continue;
      }
      try {
        return { found: { name: file, manifest: await this.read(file) }, refused };
      } catch (error) {
        refused.push(PodlineError.from(error, 'PDL_CHECKPOINT_CORRUPT').message);
      }
    }
    return { refused };
  }

  /** Makes the shard's folder and its fence. Throws PDL_CHECKPOINT_MISSING, PDL_LEASE_LOST. */
  async enter(epoch: number): Promise<void> {
    await this.#makeBelowRoot();
    await this.#refuseBelowFence(epoch);
    const fence = await open(this.file(`fence-${String(epoch)}`), 'a');
    await fence.close();
  }

  /** One folder after the other: all at once would make the place itself, too, where it went a moment ago. */
  async #makeBelowRoot(): Promise<void> {
    if ((await sizeOf(this.root)) === undefined) throw missing(this.place, this.root);
    for (const folder of [dirname(this.path), this.path]) {
      try {
        await mkdir(folder);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT') throw missing(this.place, this.root);
        if (code !== 'EEXIST') throw error;
      }
    }
  }

  /** Writes a manifest behind all that are there. What it names is synced already. Returns its name. */
  async add(manifest: CheckpointManifest): Promise<string> {
    await syncFolder(this.path);
    await this.#refuseBelowFence(manifest.epoch);
    const last = (await this.manifests()).find(({ epoch }) => epoch === manifest.epoch);
    const name = `manifest-${String(manifest.epoch)}.${String((last?.number ?? 0) + 1)}.json`;
    await writeFileAtomically(this.file(name), encodeManifest(manifest));
    this.#named.set(name, Object.keys(manifest.files));
    return name;
  }

  /** Removes manifests beyond the newest `retain`, then every file that none of the remaining ones names. */
  async retain(retain: number, epoch: number): Promise<void> {
    await this.#refuseBelowFence(epoch);
    const names = await this.#list();
    const kept: ManifestName[] = [];
    const named = new Set<string>();
    let unreadable = false;
    for (const manifest of newestFirst(names)) {
      if (kept.length >= retain) {
        if (manifest.epoch <= epoch) await unlink(this.file(manifest.file));
        this.#named.delete(manifest.file);
        continue;
      }
      try {
        for (const file of await this.#filesOf(manifest.file)) named.add(file);
        kept.push(manifest);
      } catch (error) {
        // A torn one is of no use to anyone; one that only cannot be read just now may name any file.
        if (error instanceof PodlineError && manifest.epoch <= epoch) await unlink(this.file(manifest.file));
        else unreadable = true;
      }
    }
    // The manifests are gone for good before the files that only they named.
    await syncFolder(this.path);
    for (const name of names) {
      const owner = segmentPattern.exec(name)?.[1] ?? leftoverPattern.exec(name)?.[1] ?? fencePattern.exec(name)?.[1];
      if (owner === undefined || named.has(name) || Number(owner) > epoch) continue;
      if (name === `fence-${String(epoch)}` || (unreadable && segmentPattern.test(name))) continue;
      await rm(this.file(name), { force: true });
    }
  }

  /** The shard is finished: nothing of it stays. */
  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  async #filesOf(manifest: string): Promise<string[]> {
    return this.#named.get(manifest) ?? Object.keys(decodeManifest(await readFile(this.file(manifest), 'utf8'), manifest).files);
  }

  async #refuseBelowFence(epoch: number): Promise<void> {
    for (const name of await this.#list()) {
      const other = Number(fencePattern.exec(name)?.[1] ?? manifestPattern.exec(name)?.[1] ?? 0);
      if (other > epoch) {
        throw new PodlineError(
          'PDL_LEASE_LOST',
          `shard ${this.shardId} is worked on under epoch ${String(other)}: epoch ${String(epoch)} writes no more checkpoints of it`,
          { place: this.path },
        );
      }
    }
  }

  async #list(): Promise<string[]> {
    try {
      return await readdir(this.path);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    }
  }
}

export const placeWords = { ssd: 'SSD', volume: 'volume' } as const;

export const missing = (place: CheckpointPlace, root: string, why = 'there is no such folder'): PodlineError =>
  new PodlineError('PDL_CHECKPOINT_MISSING', `the ${placeWords[place]} for checkpoints, ${root}, cannot be used: ${why}`, {
    place: root,
  });

/** What went wrong while a checkpoint was written, as the line reports it. */
export function asCheckpointError(error: unknown, place: CheckpointPlace, root: string): PodlineError {
  if (error instanceof PodlineError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (isErrno(error, 'ENOSPC') || isErrno(error, 'EDQUOT') || isErrno(error, 'EFBIG')) {
    return new PodlineError('PDL_CHECKPOINT_FULL', `the ${placeWords[place]} for checkpoints, ${root}, is full: ${message}`, {
      place: root,
      cause: error,
    });
  }
  const unusable = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'ESTALE', 'ENOTCONN', 'ENODEV', 'ENXIO'];
  if (unusable.some((code) => isErrno(error, code))) return missing(place, root, message);
  return PodlineError.from(error);
}

export const isErrno = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

const newestFirst = (names: readonly string[]): ManifestName[] =>
  names
    .flatMap((file) => {
      const match = manifestPattern.exec(file);
      return match === null ? [] : [{ file, epoch: Number(match[1]), number: Number(match[2]) }];
    })
    .sort((a, b) => b.epoch - a.epoch || b.number - a.number);

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}
