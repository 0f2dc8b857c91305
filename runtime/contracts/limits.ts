/** Bounds, in one place so that related ones can be held against each other. Times in ms, sizes in bytes. */
export const limits = {
  leaseTtlMs: 15_000,
  heartbeatMs: 1_000,
  leaseWaitMs: 10_000,
  /** Queue of the coordinator: beyond it submitters get 429. */
  pendingShardsMax: 2_000_000,
  submitBatchMax: 10_000,
  requestBytesMax: 16 * 1024 * 1024,
  listPageMax: 1_000,
  /**
   * Swaps that a coordinator sends to the API server in a second, where the installation does not say: a fleet of a hundred lines changes over in
   * two seconds, as long as a kubelet takes for one swap of a pod that was swapped just before.
   */
  swapsPerSecondMax: 50,
  /** Lines that one coordinator knows; each has at most one request for leases waiting. */
  linesMax: 16_384,
  /** Leases of a shard that may end with the loss of their line before the shard is held to be the reason. */
  lostLeasesMax: 100,
  /** Submissions that a stream of them puts into one transaction. */
  submitGroupMax: 256,
  /** The same over HTTP, where a group comes from one piece of the body as the socket gave it: what came together shares a sync. */
  streamedGroupMax: 1_024,
  /** Calls to the coordinator that an agent or client makes before it gives up, and the longest pause between two. */
  callTriesMax: 8,
  callPauseMaxMs: 2_000,
  /** With several coordinators: enough tries to outlast a failover. */
  failoverTriesMax: 20,
  keyBytesMax: 1_600,
  eventsKept: 100_000,
  eventsKeptMs: 7 * 86_400_000,
  /** Shards that completed or were cancelled, and dead letters: how many a journal keeps, and how long. */
  doneShardsKept: 1_000_000,
  doneShardsKeptMs: 30 * 86_400_000,
  failedShardsKept: 1_000_000,
  failedShardsKeptMs: 90 * 86_400_000,
  eventStreamsMax: 256,
  /** Events that wait for a slow reader of the event stream before it is cut off. */
  eventBacklogMax: 10_000,
  logTailBytes: 4_096,
  /** State of an aggregation that is saved with its progress; a larger one is recomputed after a failure. */
  stageStateBytesMax: 1024 * 1024,
  blockBytesMax: 1024 * 1024 * 1024,
  /** From SIGTERM to SIGKILL of a shim or agent. */
  terminationGraceMs: 5_000,
  /** The same of the agent of a line that goes because fewer are wanted: it checkpoints what it has, and nobody is in a hurry. */
  drainGraceMs: 60_000,
  /** Between two looks at how many lines there should be, when nothing else brings one about. */
  scaleLookMs: 1_000,
  /** Shards of a batch, at least and at most, that submitters are asked for. */
  paceBatchMin: 16,
  paceBatchMax: 4_096,
  /** A shim that says nothing this long after it was started is started again. */
  swapTimeoutMs: 30_000,
  /** From a shim's hello to its ready: large models take their time. */
  stageLoadTimeoutMs: 300_000,
  /** Swaps of one stage that may fail in a row before the shards that wait for it fail. */
  swapTriesMax: 5,
  /** Deliveries of one shard that may fail before the shard fails. */
  deliverTriesMax: 3,
  /** A line that works and has room asks for more no sooner than this after it was told that there is nothing. */
  leaseAgainMs: 1_000,
  /** Lines of a line's in-memory event backlog between heartbeats. */
  heartbeatEventsMax: 1_000,
  resultFilesMax: 10_000,
} as const;

if (limits.leaseTtlMs < 5 * limits.heartbeatMs) throw new Error('a lease must outlive several lost heartbeats');
if (limits.terminationGraceMs >= limits.leaseTtlMs) throw new Error('a line must be able to give its lease back while it ends');
