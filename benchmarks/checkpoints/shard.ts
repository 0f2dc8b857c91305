/** A shard of plain bytes in a scratch of its own, and what is done with its checkpoints: the workload of these benchmarks. */
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoints } from '../../runtime/checkpoints/checkpoints.js';
import { recover } from '../../runtime/checkpoints/recovery.js';
import type { Checkpoints, Recovery, Written } from '../../runtime/checkpoints/types.js';
import type { Lineage } from '../../runtime/contracts/block.js';
import { silentLogger } from '../../runtime/platform/logger.js';
import { openScratch } from '../../runtime/scratch/scratch.js';
import type { Scratch, StreamWriter } from '../../runtime/scratch/types.js';
import { randomOf } from '../statistics.js';

const pipeline = 'checkpoints';
const stream = 'out';
const blockBytes = 4 * 1024 * 1024;
const lineage: Lineage = { digest: 'd', stage: stream, version: 'v', parameters: 'p', inputs: {} };
const lineages = new Map([[stream, lineage]]);
const nowMs = (): number => performance.now();

export interface Places {
  /** On tmpfs, of this run alone. */
  memoryDir: string;
  /** On the disk that is measured. */
  diskDir: string;
  bytes: number;
}

/** A shard whose only stream is `out`. */
export class BenchedShard {
  #blocks = 0;

  private constructor(
    readonly shardId: string,
    readonly bytes: number,
    readonly ssdDir: string,
    private readonly scratch: Scratch,
    private readonly writer: StreamWriter,
    private readonly checkpoints: Checkpoints,
    private readonly memoryDir: string,
  ) {}

  /** Filled with `places.bytes`; there is room for half as much again. */
  static async make(places: Places): Promise<BenchedShard> {
    const ssdDir = await mkdtemp(join(places.diskDir, 'ssd-'));
    const scratch = await scratchIn(places);
    const shardId = 'shard';
    await scratch.putShard({ shardId, epoch: 1, revision: 1 });
    const run = { runId: 'run', epoch: 1 };
    await scratch.beginRun(shardId, stream, run);
    const writer = await scratch.openWriter({ shardId, stream, kind: 'bytes', schema: [], lineage, run });
    const checkpoints = openCheckpoints({ ssdDir, logger: silentLogger, nowMs });
    const shard = new BenchedShard(shardId, places.bytes, ssdDir, scratch, writer, checkpoints, places.memoryDir);
    await shard.grow(places.bytes);
    return shard;
  }

  async grow(bytes: number): Promise<void> {
    const random = randomOf(this.#blocks + 1);
    for (let left = bytes; left > 0; left -= blockBytes) {
      const block = new Uint32Array(Math.min(blockBytes, left) / 4);
      for (let at = 0; at < block.length; at += 1) block[at] = random() * 0x1_0000_0000;
      this.#blocks += 1;
      await this.writer.appendBytes(new Uint8Array(block.buffer), { consumed: this.#blocks });
    }
  }

  write(): Promise<Written> {
    return this.checkpoints.write({
      place: 'ssd',
      shardId: this.shardId,
      pipeline: { name: pipeline, revision: 1, stages: [] },
      scratch: this.scratch,
      streams: [stream],
      results: [stream],
      lineages,
      epoch: 1,
      retain: 1,
    });
  }

  forget(): Promise<void> {
    return this.checkpoints.forget(pipeline, this.shardId);
  }

  /** Path of the copy of the only segment, after a write. */
  onlyCopy(): string {
    const dir = join(this.ssdDir, pipeline, this.shardId);
    const name = readdirSync(dir).find((file) => file.endsWith('.seg'));
    if (name === undefined) throw new Error(`${dir} holds no segment`);
    return join(dir, name);
  }

  /** Into an empty scratch, which is let go afterwards; `timed` is given the restore alone. */
  async restore<T>(timed: (recover: () => Promise<Recovery>) => Promise<T>): Promise<T> {
    const scratch = await scratchIn({ memoryDir: this.memoryDir, bytes: this.bytes });
    const checkpoints = openCheckpoints({ ssdDir: this.ssdDir, logger: silentLogger, nowMs });
    try {
      await scratch.putShard({ shardId: this.shardId, epoch: 1, revision: 1 });
      return await timed(() =>
        recover({
          shardId: this.shardId,
          epoch: 1,
          pipeline,
          stages: [{ name: stream, after: [] }],
          results: [stream],
          lineages,
          scratch,
          checkpoints,
          logger: silentLogger,
          nowMs,
        }),
      );
    } finally {
      await checkpoints.close();
      await scratch.close();
      await rm(scratch.dir, { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    await this.checkpoints.close();
    await this.writer.close();
    await this.scratch.close();
    await rm(this.scratch.dir, { recursive: true, force: true });
    await rm(this.ssdDir, { recursive: true, force: true });
  }
}

async function scratchIn({ memoryDir, bytes }: Pick<Places, 'memoryDir' | 'bytes'>): Promise<Scratch> {
  const dir = await mkdtemp(join(memoryDir, 'line-'));
  return openScratch({
    dir,
    spillDir: join(dir, 'spill'),
    sizeBytesMax: bytes * 2 + blockBytes * 4,
    medium: 'memory',
    role: 'owner',
  });
}
