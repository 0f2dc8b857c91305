/** What the journal's part of the benchmark found. Rates are of one round each, in turns with what they are held against. */
export interface CycleRate {
  cyclesPerSecond: number;
  p99Ms: number;
  /** Of this process: what a server of its own takes is not in it. */
  cpuUsEach: number;
}

export interface JournalFigures {
  /** Claim and complete, durable and fenced, by so many at once. */
  clients: number;
  podline: CycleRate[];
  /** Redis with `appendfsync always`. */
  bullmq: CycleRate[];
  /** A completion and the next claim in one call, as lines and workers do it; both. Older records lack it. */
  chained?: { podline: CycleRate[]; bullmq: CycleRate[] };
  /** Why there is none. */
  bullmqMissing?: string | undefined;
  /** One at a time: medians of a round. */
  single: { claimMs: number[]; appendMs: number[]; bytes: number };
  submit: { shards: number; perSecond: number[]; cpuUsEach: number[] };
  /** Claim and complete over kept connections, one call for both: as fast as it goes, then at half that pace. Older records lack it. */
  http?: { lines: number; full: CycleRate[]; half: CycleRate[] };
  /** One stream of submissions over HTTP. `grewBytes`: of this process, while it was read. */
  ndjson?: { perSecond: number; cpuUsEach: number; grewBytes: number }[];
  /** A queue of `shards`, opened in a process of its own. */
  large: { shards: number; reopenMs: number; firstLeaseMs: number; rssBytes: number };
  /** One lease of one shard, without the disk's share: by how many wait. CPU, because the disk's moods are larger than what is looked for. */
  growth: { waiting: number; leaseCpuUs: number }[];
}
