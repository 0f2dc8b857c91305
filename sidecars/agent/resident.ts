/** A shard on the line, as the agent keeps it: its lease, what its streams are made of, what happened to it. */
import type { Lineages } from '../../runtime/line/types.js';
import type { Lease } from '../../runtime/contracts/line-api.js';
import type { Pipeline } from '../../runtime/contracts/manifest.js';
import type { ShardResult } from '../../runtime/contracts/shard.js';
import type { WireError } from '../../runtime/contracts/errors.js';
import { buildGraph } from '../../runtime/line/graph.js';
import { lineages } from '../../runtime/line/lineage.js';
import { ShardReportBuilder } from './report.js';

export interface RunOnSlot {
  runId: string;
  shardId: string;
  stage: string;
  slot: number;
  blocks: number;
  blocksTotal: number;
  rows: number;
  /** Between the stage's inputs being there and `start` being sent. */
  handoverMs: number;
}

export class Resident {
  readonly report: ShardReportBuilder;
  /** Aborts loading and delivery when the lease is lost or the line ends. */
  readonly gone = new AbortController();
  lineages: Lineages;
  results: readonly string[];
  result: ShardResult | undefined;
  /** Why a stage will run again: the failure of the run before. */
  readonly failures = new Map<string, WireError>();
  /** When something of it was last written to a place, or when it was taken in: what time-based policies count from. */
  readonly takenInAtMs: number;
  completed = false;

  constructor(
    /** Its epoch goes up when it is leased to the line again while it is here. */
    public lease: Lease,
    /** The revision under which it is worked on: a newer one is taken over unless its results are on their way. */
    public pipeline: Pipeline,
    nowMs: number,
  ) {
    this.lineages = lineages(pipeline, lease);
    this.results = [...buildGraph(pipeline.stages, pipeline.spec.result.stages).results];
    this.report = new ShardReportBuilder(pipeline.stages);
    this.takenInAtMs = nowMs;
  }

  revise(pipeline: Pipeline): void {
    this.pipeline = pipeline;
    this.results = [...buildGraph(pipeline.stages, pipeline.spec.result.stages).results];
    this.lineages = lineages(pipeline, this.lease);
    this.report.revise(pipeline.stages);
  }
}
