/**
 * What happened to one shard under one lease, collected as it happens: what becomes of `ShardReport`.
 *
 * Owns the counting only. Times in ms, what lies between two processes by the clock of the node; bytes by medium; `why` in the words of the
 * resume plan and of failures.
 */
import { addBytes, inputStream, noBytes, type BytesByMedium } from '../../runtime/contracts/block.js';
import type { ShardReport, StageReport } from '../../runtime/contracts/shard.js';
import type { RunEnded } from '../../runtime/contracts/shim-protocol.js';
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import type { Recovery, Written } from '../../runtime/checkpoints/types.js';

/** Checkpoints of which a report tells the reason: the last ones. */
const checkpointWhysMax = 8;

export class ShardReportBuilder {
  readonly #stages = new Map<string, StageReport>();
  readonly #checkpoints = { ssd: 0, major: 0, bytes: noBytes() };
  readonly #checkpointWhys: string[] = [];
  readonly #notWritten = new Map<'ssd' | 'volume', string>();
  readonly #delivery = noBytes();
  readonly #restored = noBytes();
  #load: ShardReport['load'] = { outcome: 'restored', rows: 0, ms: 0, sourceReads: 0, bytes: noBytes() };
  #resumedFrom: ShardReport['resumedFrom'] = 'source';
  #swaps = 0;
  #scratchPeakBytes = 0;
  readonly #inputs = new Map<string, readonly string[]>();
  /** When streams were made whole under this lease, by the clock of the node. */
  readonly #wholeAtMs = new Map<string, number>();

  constructor(stages: readonly ResolvedStage[]) {
    this.revise(stages);
  }

  /** The graph changed while the shard is on the line: stages that are new get a line of their own. */
  revise(stages: readonly ResolvedStage[]): void {
    for (const stage of stages) {
      if (!this.#stages.has(stage.name)) this.#stages.set(stage.name, emptyStage(stage));
      this.#inputs.set(stage.name, stage.after);
    }
    const named = new Set(stages.map((stage) => stage.name));
    for (const name of this.#stages.keys()) if (!named.has(name)) this.#stages.delete(name);
  }

  recovered(recovery: Recovery): void {
    this.#resumedFrom = recovery.resumedFrom;
    addBytes(this.#restored, recovery.bytes);
    for (const decision of recovery.plan.decisions) {
      const stage = this.#stages.get(decision.stream);
      if (stage === undefined) continue;
      stage.why = decision.why;
      if (decision.action === 'skip') stage.outcome = 'skipped';
      else if (decision.action !== 'make' && decision.sealed) stage.outcome = 'restored';
    }
  }

  loaded(load: Omit<ShardReport['load'], 'outcome'>, wholeAtMs: number): void {
    this.#load = { ...load, outcome: 'read' };
    this.#wholeAtMs.set(inputStream, wholeAtMs);
  }

  swapped(stage: string, ms: number): void {
    this.#swaps += 1;
    const report = this.#stages.get(stage);
    if (report !== undefined) report.swapMs += ms;
  }

  started(stage: string, slot: number, why: string | undefined): void {
    const report = this.#stages.get(stage);
    if (report === undefined) return;
    report.outcome = 'ran';
    report.runs += 1;
    report.slot = slot;
    if (why !== undefined) report.why = why;
  }

  /**
   * From the inputs being whole to the first call of the stage's code. `heard`: as far as this process saw it, without the ways between
   * processes; it counts where the inputs were not made here, or were read while they grew.
   */
  handoverMs(stage: string, { calledAtMs }: Pick<RunEnded, 'calledAtMs'>, heardMs: number): number {
    const wholeAtMs = (this.#inputs.get(stage) ?? []).map((input) => this.#wholeAtMs.get(input) ?? Number.NaN);
    const betweenMs = (calledAtMs ?? Number.NaN) - Math.max(...wholeAtMs);
    return betweenMs >= 0 ? betweenMs : heardMs;
  }

  ended(
    stage: string,
    run: Pick<RunEnded, 'outcome' | 'workMs' | 'blocks' | 'rows' | 'bytes' | 'endedAtMs'>,
    handoverMs: number,
  ): void {
    const report = this.#stages.get(stage);
    if (report === undefined) return;
    // Of several runs, the first tells what the line costs; the others are repairs.
    if (report.runs === 1) report.handoverMs = handoverMs;
    report.workMs += run.workMs;
    report.blocksRun += run.blocks;
    addBytes(report.bytes, run.bytes);
    if (run.outcome !== 'committed' || run.endedAtMs === undefined) return;
    this.#wholeAtMs.set(stage, run.endedAtMs);
    const inputAtMs = this.#wholeAtMs.get(inputStream);
    if (inputAtMs !== undefined) report.wholeAfterMs = run.endedAtMs - inputAtMs;
  }

  sealed(stage: string, blocks: number, rows: number): void {
    const report = this.#stages.get(stage);
    if (report !== undefined) Object.assign(report, { blocks, rows });
  }

  checkpointed(place: 'ssd' | 'volume', { bytes, writtenBytes, ms }: Written, why: string): void {
    this.#checkpoints[place === 'ssd' ? 'ssd' : 'major'] += 1;
    addBytes(this.#checkpoints.bytes, bytes);
    this.#checkpointWhys.push(`${place}: ${String(writtenBytes)} bytes in ${ms.toFixed(0)} ms: ${why}`);
    if (this.#checkpointWhys.length > checkpointWhysMax) this.#checkpointWhys.shift();
  }

  /** What the policy last said of a place: of interest while nothing is written. */
  weighed(place: 'ssd' | 'volume', due: boolean, why: string): void {
    if (due) this.#notWritten.delete(place);
    else this.#notWritten.set(place, `${place}: nothing is written yet: ${why}`);
  }

  /** The last checkpoints and what waits to be written, with the numbers by which it was decided. */
  checkpointWhys(): string[] {
    return [...this.#checkpointWhys, ...this.#notWritten.values()];
  }

  delivered(bytes: BytesByMedium): void {
    addBytes(this.#delivery, bytes);
  }

  scratchUsed(peakBytes: number): void {
    this.#scratchPeakBytes = Math.max(this.#scratchPeakBytes, peakBytes);
  }

  workMsOf(stage: string): number {
    return this.#stages.get(stage)?.workMs ?? this.#load.ms;
  }

  build(): ShardReport {
    const stages = [...this.#stages.values()];
    const bytes = noBytes();
    for (const part of [
      this.#load.bytes,
      this.#restored,
      this.#checkpoints.bytes,
      this.#delivery,
      ...stages.map((stage) => stage.bytes),
    ])
      addBytes(bytes, part);
    return {
      stages,
      load: this.#load,
      checkpoints: { ...this.#checkpoints, why: this.checkpointWhys() },
      resumedFrom: this.#resumedFrom,
      bytes,
      swaps: this.#swaps,
      scratchPeakBytes: this.#scratchPeakBytes,
    };
  }
}

const emptyStage = (stage: ResolvedStage): StageReport => ({
  stage: stage.name,
  outcome: 'skipped',
  why: '',
  runs: 0,
  blocksRun: 0,
  blocks: 0,
  rows: 0,
  bytes: noBytes(),
  workMs: 0,
  swapMs: 0,
  handoverMs: 0,
  slot: -1,
  executor: stage.executor,
});
