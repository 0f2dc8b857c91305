/** What the agent hands to the delivery of a shard, and gets back. */
import type { BytesByMedium } from '../contracts/block.js';
import type { Pipeline } from '../contracts/manifest.js';
import type { ShardResult } from '../contracts/shard.js';
import type { Lineages } from '../line/types.js';
import type { Scratch, ScratchOptions } from '../scratch/types.js';

export type ResultFormat = 'parquet' | 'arrow' | 'csv' | 'ndjson';

export interface DeliverRequest {
  /** How the delivery's thread opens the scratch for itself; its role there is `stage`. */
  scratchOptions: Omit<ScratchOptions, 'role'>;
  shardId: string;
  shardKey: string;
  pipeline: Pick<Pipeline, 'name' | 'revision'>;
  lineages: Lineages;
  /** Sealed streams that are the result. */
  resultStages: Iterable<string>;
  /** Absolute; the shard's folder is made in it. */
  resultDir: string;
  /** Folders in which it may lie, symlinks resolved; anywhere without them. */
  allowedRoots?: readonly string[] | undefined;
  /** Of tables; bytes and files are written as they are. */
  format: ResultFormat;
  epoch: number;
  signal?: AbortSignal | undefined;
}

export interface Delivered {
  result: ShardResult;
  bytes: BytesByMedium;
  /** The result was there before: same shard, same lineages, and its checksums hold. */
  already: boolean;
}

/** Other threads that make blocks of a table into text. */
export interface TextHelp {
  /** Threads. */
  count: number;
  /** Streams of fewer bytes are made by the delivery's own thread sooner. */
  fromBytes: number;
  /** The text of a block from the thread of that number, below `count`, in pieces. Throws what reading the scratch throws. */
  textOf(
    thread: number,
    block: { shardId: string; stream: string; seq: number; format: 'csv' | 'ndjson' },
  ): Promise<readonly Uint8Array[]>;
  /** Read so far. */
  read: { memory: number; ssd: number };
}

/** A delivery that has the scratch open already; what the thread runs. */
export interface WriteResultRequest extends Omit<DeliverRequest, 'scratchOptions' | 'signal'> {
  scratch: Scratch;
  help?: TextHelp | undefined;
  signal?: Pick<AbortSignal, 'aborted'> | undefined;
}
