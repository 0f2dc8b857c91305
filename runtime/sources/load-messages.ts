/** What the loading thread and its parent say to each other. */
import type { Allowed } from '../contracts/access.js';
import type { Lineage, RunRecord } from '../contracts/block.js';
import type { WireError } from '../contracts/errors.js';
import type { PipelineSpec } from '../contracts/manifest.js';
import type { ShardSource } from '../contracts/shard.js';
import type { ScratchOptions } from '../scratch/types.js';
import type { LoadProgress, LoadResult } from './load.js';

export interface LoadRequest {
  source: ShardSource;
  input: PipelineSpec['input'];
  shardId: string;
  lineage: Lineage;
  /** Begun by the owner of the scratch. */
  run: RunRecord;
  scratch: ScratchOptions;
  /** Where the source may lie; everywhere without it. */
  allowed?: Allowed['sources'] | undefined;
}

export type ToLoader =
  | { type: 'load'; id: number; request: LoadRequest }
  | { type: 'cancel'; id: number }
  | { type: 'room'; id: number; answer: 'memory' | 'ssd' | 'none' }
  | { type: 'close' };

export type FromLoader =
  | { type: 'progress'; id: number; progress: LoadProgress }
  | { type: 'full'; id: number; bytes: number }
  | { type: 'done'; id: number; result: LoadResult }
  | { type: 'failed'; id: number; error: WireError };
