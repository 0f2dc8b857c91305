/** What parts that count things call; `telemetry/metrics.ts` is the one that keeps the numbers. */
import type { Complete } from './line-api.js';
import type { PodlineEvent } from './events.js';
import type { ShardState } from './shard.js';

export type ShardCounts = Record<ShardState, number>;

export interface CoordinatorMetrics {
  /** Each event once, after it is durable. */
  event(event: PodlineEvent): void;
  /** The report of a shard that was completed, once. */
  completed(pipeline: string, complete: Complete, timing: { waitedMs: number; ranMs: number }): void;
  /** Where numbers of the moment come from; asked at each scrape. */
  observe(source: () => Promise<CoordinatorGauges>): void;
}

export interface CoordinatorGauges {
  pipelines: { pipeline: string; counts: ShardCounts; lines: number; scratchUsedBytes: number; scratchSizeBytes: number }[];
  leaseWaiters: number;
}

const nothing = (): void => undefined;
export const noMetrics: CoordinatorMetrics = { event: nothing, completed: nothing, observe: nothing };
