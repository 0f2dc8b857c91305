/**
 * The checkpoints of a line: composes savers, folders, writers and restorers into what the agent uses.
 *
 * Owns one writer per shard and place, and the order of their writes. Invariants
 *  1. Writes of one shard to one place never overlap; those of different ones may.
 *  2. At most `writesQueuedMax` wait per shard and place: each holds its segments open.
 *  3. A manifest that proved corrupt is not used again by this process.
 */
import { addBytes, noBytes } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { checkpointPlaces, observeWrite, type CheckpointPlace } from '../line/checkpoint-policy.js';
import type { HeldStream, Holding } from '../line/resume.js';
import { heldStream } from './held.js';
import type { CheckpointManifest } from './manifest.js';
import { Restorer } from './restorer.js';
import { Saver } from './saver.js';
import { asCheckpointError, missing, placeWords, ShardFolder } from './shard-folder.js';
import type { Checkpoints, CheckpointsOptions, RestoreRequest, Restored, WriteRequest, Written } from './types.js';
import { release, SegmentChanged, ShardWriter, take } from './writer.js';

const writesQueuedMax = 8;
/** Columns are given back once each, and rarely: that it happens during each of so many tries is a fault. */
const takesMax = 8;

interface ShardPlace {
  writer: ShardWriter;
  /** Settled when the last write that was asked for is. Never rejects. */
  tail: Promise<unknown>;
  queued: number;
  lastAtMs: number;
  corrupt: Set<string>;
}

/** Opens nothing yet: places are looked at when they are used. Give it back with `close`. */
export function openCheckpoints(options: CheckpointsOptions): Checkpoints {
  return new LineCheckpoints(options);
}

class LineCheckpoints implements Checkpoints {
  /** A thread for each place, so that a slow volume never keeps the SSD waiting. */
  readonly #savers = { ssd: new Saver(), volume: new Saver() };
  readonly #places = new Map<string, ShardPlace>();
  readonly #startedMs = new Map<string, number>();
  readonly #bytesPerMs: Partial<Record<CheckpointPlace, number>> = {};
  #closing: Promise<void> | undefined;

  constructor(private readonly options: CheckpointsOptions) {}

  async write(request: WriteRequest): Promise<Written> {
    const { place, shardId, pipeline } = request;
    if (this.#closing !== undefined) throw new PodlineError('PDL_INTERNAL', 'the checkpoints are closed');
    const at = this.#at(pipeline.name, shardId, place);
    if (at.queued >= writesQueuedMax) {
      throw new PodlineError(
        'PDL_INTERNAL',
        `${String(at.queued)} checkpoints of shard ${shardId} wait for the ${placeWords[place]} already`,
        { retry: 'later' },
      );
    }
    let taken = take(request);
    const startedMs = this.options.nowMs();
    at.lastAtMs = startedMs;
    at.queued += 1;
    const written = at.tail.then(async () => {
      for (let tries = 1; ; tries += 1) {
        try {
          return await at.writer.write(taken, at.corrupt);
        } catch (error) {
          if (!(error instanceof SegmentChanged) || tries >= takesMax) throw error;
          release(taken);
          taken = take(request);
        }
      }
    });
    at.tail = written.then(
      () => undefined,
      () => undefined,
    );
    try {
      const done = await written;
      const ms = this.options.nowMs() - startedMs;
      const speed = observeWrite(this.#bytesPerMs[place], done.writtenBytes, ms);
      if (speed !== undefined) this.#bytesPerMs[place] = speed;
      this.options.logger.debug({ shardId, place, manifest: done.manifest, bytes: done.writtenBytes, ms }, 'checkpoint written');
      return { ...done, ms };
    } finally {
      at.queued -= 1;
      release(taken);
    }
  }

  state(shardId: string, place: CheckpointPlace): ReturnType<Checkpoints['state']> {
    const at = this.#places.get(keyOf(shardId, place));
    const seenMs = this.#startedMs.get(shardId) ?? this.options.nowMs();
    this.#startedMs.set(shardId, seenMs);
    return {
      lastAtMs: at?.lastAtMs ?? seenMs,
      busy: (at?.queued ?? 0) > 0,
      written: at?.writer.written ?? new Map(),
      bytesPerMs: this.#bytesPerMs[place],
    };
  }

  async inventory(pipeline: string, shardId: string): Promise<Record<CheckpointPlace, Holding>> {
    const [ssd, volume] = await Promise.all(checkpointPlaces.map((place) => this.#holding(pipeline, shardId, place)));
    return { ssd: ssd ?? { streams: [], refused: [] }, volume: volume ?? { streams: [], refused: [] } };
  }

  async #holding(pipeline: string, shardId: string, place: CheckpointPlace): Promise<Holding> {
    const root = this.#root(place);
    if (root === undefined) return { streams: [], refused: [] };
    const at = this.#at(pipeline, shardId, place);
    try {
      const { found, refused } = await at.writer.folder.newest(at.corrupt);
      return { streams: found === undefined ? [] : heldStreams(found.manifest), refused };
    } catch (error) {
      return { streams: [], refused: [asCheckpointError(error, place, root).message] };
    }
  }

  async restore({ shardId, pipeline, scratch, epoch, plan }: RestoreRequest): Promise<Restored> {
    const startedMs = this.options.nowMs();
    const restored: Restored = { streams: [], bytes: noBytes(), ms: 0 };
    for (const place of checkpointPlaces) {
      const streams = plan.decisions.flatMap((decision) =>
        decision.action === 'restore' && decision.from === place ? [decision.stream] : [],
      );
      if (streams.length === 0) continue;
      const at = this.#at(pipeline, shardId, place);
      const { writer, corrupt } = at;
      await this.#enter(writer, epoch);
      const { found } = await writer.folder.newest(corrupt);
      if (found === undefined)
        throw new PodlineError(
          'PDL_CHECKPOINT_CORRUPT',
          `the ${placeWords[place]} holds no checkpoint of shard ${shardId} any more`,
        );
      const restorer = new Restorer({
        scratch,
        shardId,
        folder: writer.folder,
        manifest: found.manifest,
        manifestName: found.name,
        placed: (segment, file, path) => {
          const stored = found.manifest.files[file];
          if (stored !== undefined) writer.restored(segment, file, stored, path);
        },
      });
      try {
        for (const stream of streams) {
          await restorer.restore(stream);
          restored.streams.push(stream);
          const record = found.manifest.streams.find((entry) => entry.record.stream === stream);
          if (record !== undefined) {
            const { sealed, blocks, bytes } = record.record;
            writer.written.set(stream, { sealed, blocks, bytes, workMs: record.workMs });
          }
        }
      } catch (error) {
        if (error instanceof PodlineError && error.code === 'PDL_CHECKPOINT_CORRUPT') {
          corrupt.add(found.name);
          writer.distrust(found.name);
        }
        throw error;
      } finally {
        addBytes(restored.bytes, restorer.bytes);
      }
    }
    restored.ms = this.options.nowMs() - startedMs;
    return restored;
  }

  /** Below a fence nothing may be written, but a place that cannot be written may still be read. */
  async #enter(writer: ShardWriter, epoch: number): Promise<void> {
    try {
      await writer.folder.enter(epoch);
    } catch (error) {
      if (error instanceof PodlineError && error.code === 'PDL_LEASE_LOST') throw error;
      this.options.logger.warn(
        { err: PodlineError.from(error).message },
        'a checkpoint is read from a place that cannot be written',
      );
    }
  }

  async forget(pipeline: string, shardId: string): Promise<void> {
    this.#startedMs.delete(shardId);
    for (const place of checkpointPlaces) {
      const root = this.#root(place);
      if (root === undefined) continue;
      const at = this.#at(pipeline, shardId, place);
      await at.tail;
      this.#places.delete(keyOf(shardId, place));
      try {
        await at.writer.folder.remove();
      } catch (error) {
        this.options.logger.warn(
          { shardId, place, err: asCheckpointError(error, place, root).message },
          'the checkpoints of a finished shard could not be removed',
        );
      }
    }
  }

  async leave(shardId: string): Promise<void> {
    this.#startedMs.delete(shardId);
    for (const place of checkpointPlaces) {
      await this.#places.get(keyOf(shardId, place))?.tail;
      this.#places.delete(keyOf(shardId, place));
    }
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.all([...this.#places.values()].map((at) => at.tail));
      await Promise.all(Object.values(this.#savers).map((saver) => saver.close()));
    })();
    return this.#closing;
  }

  #root(place: CheckpointPlace): string | undefined {
    return place === 'ssd' ? this.options.ssdDir : this.options.volumeDir;
  }

  #at(pipeline: string, shardId: string, place: CheckpointPlace): ShardPlace {
    const key = keyOf(shardId, place);
    const there = this.#places.get(key);
    if (there !== undefined) return there;
    const root = this.#root(place);
    if (root === undefined) throw missing(place, 'volume', 'the line was started without one');
    const writer = new ShardWriter(new ShardFolder(place, root, pipeline, shardId), this.#savers[place]);
    const made = { writer, tail: Promise.resolve(), queued: 0, lastAtMs: this.options.nowMs(), corrupt: new Set<string>() };
    this.#places.set(key, made);
    return made;
  }
}

const keyOf = (shardId: string, place: CheckpointPlace): string => `${place} ${shardId}`;

const heldStreams = ({ streams, files }: CheckpointManifest): HeldStream[] =>
  streams.map((held) =>
    heldStream(
      held.record,
      held.blocks,
      held.progress?.consumed,
      Object.values(held.files).reduce((sum, file) => sum + (files[file]?.bytes ?? 0), 0),
    ),
  );
