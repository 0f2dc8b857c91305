/** A shard on the line, as the agent keeps it: its lease, what its streams are made of, what happened to it. */
import type { Lineages } from '../../runtime/line/types.js';
import type { Lease } from '../../runtime/contracts/line-api.js';
import type { Pipeline, ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { ShardResult } from '../../runtime/contracts/shard.js';
import type { WireError } from '../../runtime/contracts/errors.js';
import type { Span } from '../../runtime/contracts/telemetry.js';
import { buildGraph, topologicalOrder } from '../../runtime/line/graph.js';
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
  /** Between the stage's inputs being there (where it follows: a first block of each, and a slot) and `start` being sent. */
  handoverMs: number;
  /** Inputs that were not whole when it was last told of them. */
  growing: Set<string>;
  /** The heart knows that it may be followed. */
  leads: boolean;
  span: Span;
}

export class Resident {
  readonly report: ShardReportBuilder;
  /** The scratch has it, and what could be restored of it. */
  readonly entered: Promise<void>;
  #onEntered: (() => void) | undefined;
  /** Aborts loading and delivery when the lease is lost or the line ends. */
  readonly gone = new AbortController();
  lineages: Lineages;
  /** Its stages, each behind what it reads. */
  order: readonly ResolvedStage[];
  results: readonly string[];
  result: ShardResult | undefined;
  /** Why a stage will run again: the failure of the run before. */
  readonly failures = new Map<string, WireError>();
  /** When something of it was last written to a place, or when it was taken in: what time-based policies count from. */
  readonly takenInAtMs: number;
  completed = false;
  /** Streams that nothing reads as they are any more, and to which others refer still. */
  readonly released = new Set<string>();
  /** What could not be given back, so that it is not tried again and again. */
  readonly freedInVain = new Set<string>();

  constructor(
    /** Its epoch goes up when it is leased to the line again while it is here. */
    public lease: Lease,
    /** The revision under which it is worked on: a newer one is taken over unless its results are on their way. */
    public pipeline: Pipeline,
    nowMs: number,
    /** Of its lease: what is done for it is under that. */
    readonly span: Span,
  ) {
    this.gone.signal.addEventListener('abort', () => {
      span.end({ outcome: 'gone' });
    });
    this.entered = new Promise((resolve) => (this.#onEntered = resolve));
    this.lineages = lineages(pipeline, lease);
    this.order = topologicalOrder(pipeline.stages);
    this.results = resultsOf(pipeline);
    this.report = new ShardReportBuilder(pipeline.stages);
    this.takenInAtMs = nowMs;
  }

  enter(): void {
    this.#onEntered?.();
  }

  revise(pipeline: Pipeline): void {
    this.pipeline = pipeline;
    this.order = topologicalOrder(pipeline.stages);
    this.results = resultsOf(pipeline);
    this.lineages = lineages(pipeline, this.lease);
    this.report.revise(pipeline.stages);
  }

  /** Streams that are to be there in the end: the results; or all of them, where any stage may be run again on a completed shard. */
  get wanted(): readonly string[] {
    return this.pipeline.spec.checkpoints.keepCompleted ? this.pipeline.stages.map((stage) => stage.name) : this.results;
  }
}

const resultsOf = (pipeline: Pipeline): readonly string[] => buildGraph(pipeline.stages, pipeline.spec.result.stages).results;
